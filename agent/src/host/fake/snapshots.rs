use super::{FakeEngine, Verb, world::gone};
use crate::host::{HostError, Reason, SnapshotSeen, Snapshots};

/// When every snapshot of a machine in memory was taken.
const TAKEN: &str = "2026-01-01T00:00:00Z";

impl Snapshots for FakeEngine {
    async fn snapshot(&self, volume: &str, label: &str) -> Result<(), HostError> {
        self.verb(Verb::Snapshot, |world| {
            let key = (volume.to_owned(), label.to_owned());
            if !world.snapshots.contains_key(&key) {
                let place = world.place(volume)?.clone();
                world.snapshots.insert(key, place);
                world.count(None);
            }
            Ok(())
        })
        .await
    }

    async fn restore(&self, volume: &str, label: &str) -> Result<(), HostError> {
        self.verb(Verb::Restore, |world| {
            let key = (volume.to_owned(), label.to_owned());
            let then = world.snapshots.get(&key).cloned().ok_or_else(|| gone(label))?;
            if world.runs_on(volume) {
                return Err(HostError::new(Reason::InUse, format!("A container runs on volume `{volume}`")));
            }
            let replaced = std::mem::replace(world.place(volume)?, then);
            world.put_aside.push(replaced.data.clone());
            world.snapshots.insert((volume.to_owned(), format!("{label}.replaced")), replaced);
            world.count(None);
            Ok(())
        })
        .await
    }

    async fn drop_snapshot(&self, volume: &str, label: &str) -> Result<(), HostError> {
        self.verb(Verb::DropSnapshot, |world| {
            if world.snapshots.remove(&(volume.to_owned(), label.to_owned())).is_some() {
                world.count(None);
            }
            Ok(())
        })
        .await
    }

    async fn snapshots(&self, volume: &str) -> Result<Vec<SnapshotSeen>, HostError> {
        let world = self.look();
        let of = world.snapshots.keys().filter(|(of, _)| of == volume);
        let all = of.map(|(_, label)| SnapshotSeen { label: label.clone(), taken: TAKEN.to_owned() }).collect();
        self.verb_of_looking(Verb::Snapshots, all).await
    }
}
