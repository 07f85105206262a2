//! What is remembered of disks, in small files that are there whole or not at all.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    clock, file,
    host::{DiskSeen, DisksView, HostError, Making, Mount, Reason, Standing, Ticket, parted::manifest_of},
};

/// How long a ticket is remembered after it was made, so that a manifest that names it is told why it means nothing.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How many halves of one manifest are remembered to be filled.
const MOST_FILLING: usize = 8;
/// How many tickets are remembered.
const MOST_TICKETS: usize = 64;

/// The file of what is remembered.
pub(super) struct Book {
    path: PathBuf,
    writing: Mutex<()>,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Page {
    pub(super) mounts: BTreeMap<String, Mount>,
    pub(super) tickets: Vec<Ticket>,
    pub(super) making: Vec<Making>,
    /// When disks were mounted, by subject.
    pub(super) since: BTreeMap<String, Timestamp>,
    /// When disks were told what is free of them, by subject.
    pub(super) trimmed: BTreeMap<String, Timestamp>,
    /// What we opened of encrypted disks, below `/dev`, by subject.
    pub(super) unlocked: BTreeMap<String, String>,
    /// When scrubs were begun, by subject.
    pub(super) scrubbed: BTreeMap<String, Timestamp>,
    /// The headers of encrypted halves inside of which we write over what says that they are to be filled, by subject.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) filling: BTreeMap<String, Vec<String>>,
}

impl Book {
    pub(super) fn new(directory: &std::path::Path) -> Self {
        Self { path: directory.join("book.json"), writing: Mutex::default() }
    }

    /// Reads all of it. Nothing is written over what can't be read.
    pub(super) fn read(&self) -> Result<Page, HostError> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Page::default()),
            other => other.map_err(|error| self.trouble(&error))?,
        };
        serde_json::from_str(&text).map_err(|error| self.trouble(&error))
    }

    pub(super) fn mounted(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        self.change(|page| {
            page.mounts.insert(subject.to_owned(), mount.clone());
            page.trimmed.entry(subject.to_owned()).or_insert_with(clock::now);
            page.scrubbed.entry(subject.to_owned()).or_insert_with(clock::now);
            // What is mounted was made to its end.
            let (second, manifest) = (DisksView::second(subject), manifest_of(subject));
            // One that is made for the place of a lost half is not, and that may be the first or the second.
            if mount.mirror.as_ref().is_some_and(|it| it.device.is_none()) {
                return Ok(());
            }
            page.making.retain(|it| it.subject != manifest && it.subject != second);
            page.filling.remove(manifest);
            Ok(())
        })
    }

    /// Writes down that what is inside of these halves is written over, before that is done.
    pub(super) fn fills(&self, subject: &str, headers: &[&str]) -> Result<(), HostError> {
        self.change(|page| {
            let all = page.filling.entry(subject.to_owned()).or_default();
            all.retain(|it| !headers.contains(&it.as_str()));
            all.extend(headers.iter().map(|it| (*it).to_owned()));
            // A half may have been exchanged before it was whole, again and again.
            let many = all.len();
            all.drain(..many.saturating_sub(MOST_FILLING));
            Ok(())
        })
    }

    /// Returns true if that is written down of a half.
    pub(super) fn is_filled(&self, subject: &str, header: &str) -> Result<bool, HostError> {
        Ok(self.read()?.filling.get(subject).is_some_and(|all| all.iter().any(|it| it == header)))
    }

    /// Erases that: they are whole.
    pub(super) fn filled(&self, subject: &str) -> Result<(), HostError> {
        self.change(|page| {
            page.filling.remove(subject);
            Ok(())
        })
    }

    /// Writes down that a disk becomes a part of what is mounted.
    pub(super) fn joined(&self, subject: &str, seq: u64) -> Result<(), HostError> {
        self.change(|page| {
            if let Some(mirror) = page.mounts.get_mut(subject).and_then(|it| it.mirror.as_mut()) {
                mirror.seqs.push(seq);
            }
            Ok(())
        })
    }

    /// Writes down what is about to be mounted. That comes first: who stands on it sees no mount before.
    pub(super) fn mounts(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        self.mounted(subject, mount)?;
        self.change(|page| {
            page.since.insert(subject.to_owned(), clock::now());
            Ok(())
        })
    }

    pub(super) fn forget(&self, subject: &str) -> Result<(), HostError> {
        self.change(|page| {
            page.mounts.remove(subject);
            page.since.remove(subject);
            page.trimmed.remove(subject);
            page.scrubbed.remove(subject);
            Ok(())
        })
    }

    pub(super) fn trimmed(&self, subject: &str, when: Timestamp) -> Result<(), HostError> {
        self.change(|page| {
            page.trimmed.insert(subject.to_owned(), when);
            Ok(())
        })
    }

    pub(super) fn scrubbed(&self, subject: &str, when: Timestamp) -> Result<(), HostError> {
        self.change(|page| {
            page.scrubbed.insert(subject.to_owned(), when);
            Ok(())
        })
    }

    pub(super) fn unlocked(&self, subject: &str, device: &str) -> Result<(), HostError> {
        self.change(|page| {
            page.unlocked.insert(subject.to_owned(), device.to_owned());
            Ok(())
        })
    }

    pub(super) fn closed(&self, subject: &str) -> Result<(), HostError> {
        self.change(|page| {
            page.unlocked.remove(subject);
            Ok(())
        })
    }

    pub(super) fn add_ticket(&self, ticket: &Ticket) -> Result<(), HostError> {
        self.change(|page| {
            page.tickets.retain(|it| ticket.made.duration_since(it.made) < REMEMBERED);
            page.tickets.sort_by_key(|it| it.made);
            let many = page.tickets.len();
            page.tickets.drain(..many.saturating_sub(MOST_TICKETS - 1));
            page.tickets.push(ticket.clone());
            Ok(())
        })
    }

    /// Writes down that a making begins, and uses its ticket up, in one stroke.
    pub(super) fn begin(
        &self,
        making: &Making,
        leave: Option<&str>,
        disk: &DiskSeen,
        now: Timestamp,
    ) -> Result<(), HostError> {
        self.change(|page| {
            if let Some(name) = leave {
                let ticket = page.tickets.iter_mut().find(|it| it.ticket == name);
                let standing = ticket.as_ref().map(|it| it.standing(disk, now));
                match (ticket, standing) {
                    (Some(ticket), Some(Standing::Valid)) => ticket.used = Some(now),
                    (_, Some(standing)) => {
                        let message = format!("The ticket `{name}` {}", standing.words());
                        return Err(HostError::new(Reason::Refused, message));
                    }
                    _ => return Err(HostError::new(Reason::Refused, format!("There is no ticket `{name}`"))),
                }
            }
            page.making.retain(|it| it.subject != making.subject);
            page.making.push(making.clone());
            page.making.sort_by(|one, other| one.subject.cmp(&other.subject));
            Ok(())
        })
    }

    pub(super) fn end(&self, subject: &str) -> Result<(), HostError> {
        self.change(|page| {
            page.making.retain(|it| it.subject != subject);
            Ok(())
        })
    }

    fn change(&self, change: impl FnOnce(&mut Page) -> Result<(), HostError>) -> Result<(), HostError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A process that the daemon before this one asked may still write.
        let _alone = self.lock().map_err(|error| self.trouble(&error))?;
        let mut page = self.read()?;
        change(&mut page)?;
        let bytes = serde_json::to_vec_pretty(&page).map_err(|error| self.trouble(&error))?;
        file::replace(&self.path, &bytes).map_err(|error| self.trouble(&error))
    }

    fn lock(&self) -> io::Result<fs::File> {
        let home = self.path.parent().unwrap_or(std::path::Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(home)?;
        let path = self.path.with_extension("lock");
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    fn trouble(&self, error: &dyn std::fmt::Display) -> HostError {
        let message = format!("What is remembered of disks in `{}` can't be used ({error})", self.path.display());
        HostError::new(Reason::Failed, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Identity, Mirrored};

    fn mount(device: Option<&str>) -> Mount {
        let mirror = Mirrored { device: device.map(str::to_owned), ..Mirrored::default() };
        Mount { mirror: Some(mirror), ..Mount::default() }
    }

    #[test]
    fn what_is_made_for_a_lost_half_is_remembered_until_both_are_mounted() {
        let home = tempfile::tempdir().unwrap();
        let book = Book::new(home.path());
        for subject in ["album", "album/mirror", "other"] {
            let (subject, identity) = (subject.to_owned(), Identity::default());
            let making = Making { nonce: subject.clone(), subject, identity, ticket: None };
            book.begin(&making, None, &DiskSeen::default(), clock::now()).unwrap();
        }
        book.fills("album", &["one", "two"]).unwrap();
        book.fills("album", &["two"]).unwrap();
        let left = || book.read().unwrap().making.into_iter().map(|it| it.subject).collect::<Vec<_>>();
        book.mounts("album", &mount(None)).unwrap();
        assert_eq!(left(), ["album", "album/mirror", "other"]);
        assert_eq!(book.read().unwrap().filling["album"], ["one", "two"]);
        assert!(book.is_filled("album", "two").unwrap() && !book.is_filled("other", "two").unwrap());
        book.mounts("album", &mount(Some("sdb"))).unwrap();
        assert_eq!(left(), ["other"]);
        assert!(!book.is_filled("album", "two").unwrap());
    }

    #[test]
    fn what_is_mounted_alone_by_its_manifest_was_made_to_its_end() {
        let home = tempfile::tempdir().unwrap();
        let book = Book::new(home.path());
        let making = Making { subject: "media".to_owned(), ..Making::default() };
        book.begin(&making, None, &DiskSeen::default(), clock::now()).unwrap();
        book.mounts("media", &Mount::default()).unwrap();
        assert_eq!(book.read().unwrap().making, []);
    }
}
