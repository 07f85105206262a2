//! What the installer needs of disks: leave to erase one, and a mark on it before anything else is written.

use std::{fs::File, time::Duration};

use super::{
    Drives, blocking,
    content::write_mark,
    hands::in_use,
    make::{failed, take},
    program,
};
use crate::{
    clock,
    host::{DiskSeen, HostError, Making, Reason},
};

/// How long signatures may take to be taken away.
const PATIENCE: Duration = Duration::from_secs(120);

impl Drives {
    /// Uses a ticket up, if the disk is still what it was made for.
    ///
    /// # Errors
    /// When it is not, or the ticket is worth nothing.
    pub(in crate::host::linux) async fn use_up(&self, ticket: &str, disk: &DiskSeen) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let making = Making { subject: "install".to_owned(), identity: disk.identity.clone(), ..Making::default() };
        self.hands.book.begin(&making, Some(ticket), disk, clock::now())
    }

    /// Leaves a mark with this word at the beginning of a disk, if it is still as it was seen and nothing uses it, and takes
    /// away what else tells of its content. Returns the disk, open: as long as it is, its name leads to no other.
    ///
    /// It is not opened for us alone: the kernel would then refuse to read its partitions, and to mount them.
    ///
    /// # Errors
    /// When it is another one, or can't be written to.
    pub(in crate::host::linux) async fn mark(&self, disk: &DiskSeen, word: &str) -> Result<File, HostError> {
        let refuse =
            |why: &str| Err(HostError::new(Reason::Refused, format!("{}: {why}; nothing was written", disk.name())));
        let _turn = self.turn.lock().await;
        let path = format!("/dev/{}", disk.device);
        let (lock, held) = blocking({
            let path = path.clone();
            move || Ok((take(&path)?, File::open(&path).map_err(|error| failed(&error))?))
        })
        .await?;
        let now = self.hands.look(None).await?.into_iter().find(|it| it.device == disk.device && it.seq == disk.seq);
        let Some(now) = now.filter(|it| it.identity == disk.identity && it.digest() == disk.digest()) else {
            return refuse("it is not as it was seen");
        };
        if let Some(why) = in_use(&now) {
            return refuse(&why);
        }
        let word = word.to_owned();
        let lock = blocking(move || {
            let mut lock = lock;
            write_mark(&mut lock, 0, &word).and_then(|()| lock.sync_all()).map_err(|error| failed(&error))?;
            Ok(lock)
        })
        .await?;
        // A mark beside the signature of something is one that was left behind, and the disk somebody else's by now.
        program::run("wipefs", ["--all", "--force", &path], PATIENCE).await?;
        blocking(move || lock.sync_all().map_err(|error| failed(&error))).await?;
        Ok(held)
    }
}
