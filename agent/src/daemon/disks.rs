//! What the API shows of disks.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc};

use futures_util::future::BoxFuture;
use piccolo_schema::{DiskSpec, Kind, Mode};
use zeroize::Zeroizing;

use super::trust::Keys;
use crate::{
    api::{DiskDoor, DiskShown, WipeTicket},
    clock,
    host::{
        DiskSeen, Disks as _, HostError, human,
        linux::{self, Drives, is_rescue},
    },
    store::{Event, Writer},
    trust::{Meant, Rebound, Undone},
};

/// What is told when keys are others now.
const CHANGED: &str = "DiskKeysChanged";
/// What is told when only some of them are, also where a key that was typed opened all and another one was not added.
const UNFINISHED: &str = "DiskKeysUnfinished";
/// What is told when a key that was typed opened only some of what it was to open.
const PARTLY: &str = "DiskPartlyUnlocked";

/// The disks of the machine as the API has them.
pub(super) struct Door {
    drives: Arc<Drives>,
    store: Arc<Writer>,
    keys: Arc<Keys>,
    mode: Mode,
}

impl Door {
    pub(super) const fn new(drives: Arc<Drives>, store: Arc<Writer>, keys: Arc<Keys>, mode: Mode) -> Self {
        Self { drives, store, keys, mode }
    }

    /// Turns a key to the end, for whoever asked for it may be gone, and writes down that it was turned.
    async fn turned<T: Send + 'static>(
        &self,
        name: Option<&str>,
        turn: impl Future<Output = Result<T, HostError>> + Send + 'static,
        told: impl FnOnce(&T) -> (&'static str, String) + Send + 'static,
    ) -> Result<T, String> {
        let (store, name) = (Arc::clone(&self.store), name.map(str::to_owned));
        let turned = tokio::spawn(async move {
            let turned = turn.await;
            if let Ok(it) = &turned {
                let (reason, message) = told(it);
                let event = match name {
                    Some(name) => Event::new(reason, message).about(Kind::Disk, name),
                    None => Event::new(reason, format!("the system's own disk: {message}")),
                };
                store.event(if [UNFINISHED, PARTLY].contains(&reason) { event.warning() } else { event });
            }
            turned
        });
        turned.await.map_err(|_| "the daemon ends".to_owned())?.map_err(|error| error.message)
    }
}

impl Door {
    /// Does so with keys of the disk of a manifest, or of the system's own.
    async fn turned_of<T: Send + 'static>(
        &self,
        meant: &Meant,
        turn: impl Future<Output = Result<T, HostError>> + Send + 'static,
        told: impl FnOnce(&T) -> (&'static str, String) + Send + 'static,
    ) -> Result<T, String> {
        match meant {
            Meant::Declared { name, .. } => self.turned(Some(name), turn, told).await,
            // Whoever came up in the rescue may want just this.
            Meant::State if self.mode == Mode::Observe && !is_rescue() => {
                Err("this machine is only observed, and no disk is changed".to_owned())
            }
            Meant::State => self.turned(None, turn, told).await,
        }
    }
}

impl DiskDoor for Door {
    fn list(&self) -> BoxFuture<'_, Result<Vec<DiskShown>, String>> {
        Box::pin(async move {
            let view = self.drives.disks().await.map_err(|error| error.message)?;
            Ok(view.disks.iter().map(shown).collect())
        })
    }

    fn wipe_ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<WipeTicket, String>> {
        Box::pin(async move {
            let (disk, ticket) = self.drives.wipe_ticket(disk, typed).await.map_err(|error| error.message)?;
            let until = clock::text(ticket.until());
            Ok(WipeTicket { ticket: ticket.ticket, name: disk.name(), holds: disk.content(), until })
        })
    }

    fn unlock<'a>(
        &'a self,
        name: &'a str,
        spec: &'a DiskSpec,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<Option<Undone>, String>> {
        let (drives, own, spec, key) = (Arc::clone(&self.drives), name.to_owned(), spec.clone(), key.clone());
        let turn = async move { drives.unlock(&own, &spec, &key).await };
        Box::pin(self.turned(Some(name), turn, |left| unlocked(left.as_ref())))
    }

    fn recovery_key<'a>(
        &'a self,
        meant: &'a Meant,
        key: Option<&'a Zeroizing<String>>,
    ) -> BoxFuture<'a, Result<(Option<u8>, Zeroizing<String>), String>> {
        let (drives, own, key) = (Arc::clone(&self.drives), meant.clone(), key.cloned());
        let turn = async move { drives.recovery_key(&own, key.as_ref()).await };
        let told = |(slot, _): &(Option<u8>, Zeroizing<String>)| {
            (
                CHANGED,
                slot.map_or_else(
                    || "there is a new recovery key".to_owned(),
                    |it| format!("a new recovery key opens slot {it}"),
                ),
            )
        };
        Box::pin(self.turned_of(meant, turn, told))
    }

    fn prove_recovery<'a>(
        &'a self,
        meant: &'a Meant,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<Option<u8>, String>> {
        let (drives, own, key) = (Arc::clone(&self.drives), meant.clone(), key.clone());
        let turn = async move { drives.prove_recovery(&own, &key).await };
        let told = |slot: &Option<u8>| {
            let place = slot.map(|it| format!(" in slot {it}")).unwrap_or_default();
            (CHANGED, format!("the recovery key{place} was typed, and counts"))
        };
        Box::pin(self.turned_of(meant, turn, told))
    }

    fn rebind<'a>(&'a self, meant: &'a Meant, key: &'a Zeroizing<String>) -> BoxFuture<'a, Result<Rebound, String>> {
        let (drives, own, key) = (Arc::clone(&self.drives), meant.clone(), key.clone());
        let keys = Arc::clone(&self.keys);
        let turn = async move {
            let rebound = drives.rebind(&own, &key).await?;
            // The slots are bound by now, whatever becomes of the memory of this start.
            if rebound.failed.is_none() {
                keys.mean_this_start().await;
            }
            Ok(rebound)
        };
        let told = |rebound: &Rebound| match rebound.failed {
            Some(_) => (UNFINISHED, format!("{rebound}; `piccolo disk reseal` once more goes on")),
            None => (CHANGED, rebound.to_string()),
        };
        Box::pin(self.turned_of(meant, turn, told))
    }
}

/// Says that a key was typed, and what it left undone.
fn unlocked(left: Option<&Undone>) -> (&'static str, String) {
    match left {
        Some(Undone::Partly(left)) => (PARTLY, format!("a key that was typed opened only a part of the disk: {left}")),
        Some(Undone::NotAdded(left)) => (UNFINISHED, format!("a key that was typed opened the disk: {left}")),
        None => ("DiskUnlocked", "a key that was typed opened the disk".to_owned()),
    }
}

/// Does to disks what the daemon asks at the standard input, outside of its bounds: `piccolod disks STATE`.
///
/// # Errors
/// When nothing can be understood of it.
pub async fn answer_for_disks(state: Option<OsString>) -> anyhow::Result<ExitCode> {
    let state = state.map_or_else(|| PathBuf::from("/var/lib/piccolo"), PathBuf::from);
    linux::answer_for_disks(&state).await?;
    Ok(ExitCode::SUCCESS)
}

fn shown(disk: &DiskSeen) -> DiskShown {
    DiskShown {
        device: disk.device.clone(),
        name: disk.name(),
        serial: disk.identity.serial.clone(),
        wwn: disk.identity.wwn.clone(),
        ids: disk.ids.clone(),
        model: disk.model.clone(),
        transport: disk.transport.map(|it| it.as_str().to_owned()),
        size: disk.identity.size,
        size_text: human(disk.identity.size),
        holds: disk.content(),
        uuid: disk.found().find_map(|(_, it)| it.uuid.clone()),
        table: disk.table.clone(),
        used_at: disk.mounted.iter().chain(&disk.holders).cloned().collect(),
        failing: disk.failing.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_typed_is_told_of_with_what_it_left_undone() {
        assert_eq!(unlocked(None).0, "DiskUnlocked");
        let (reason, message) = unlocked(Some(&Undone::Partly("/dev/sdb2 stays shut".to_owned())));
        assert_eq!(reason, PARTLY);
        assert!(message.ends_with("opened only a part of the disk: /dev/sdb2 stays shut"), "{message}");
        let (reason, message) = unlocked(Some(&Undone::NotAdded("/dev/sdb is open".to_owned())));
        assert_eq!(reason, UNFINISHED);
        assert!(message.ends_with("opened the disk: /dev/sdb is open"), "{message}");
    }
}
