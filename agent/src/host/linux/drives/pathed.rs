//! What root does with the keys of an encrypted disk by its path, which no manifest need know, where the daemon itself is kept
//! from devices.

use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    Drives, beside_the_point,
    encrypt::Worked,
    hands::KeyWork,
    key::Key,
    locks::of,
    owner::{Locked, typed_key},
};
use crate::{
    host::{
        DiskSeen, HostError, LuksSeen, Reason, Signer,
        linux::{Enrolment, luks},
    },
    secrets::RecoveryKey,
};

impl Drives {
    /// Returns true if this process reaches no device itself, so that others have to.
    pub const fn is_outside(&self) -> bool {
        self.outside.is_some()
    }

    /// Lets the TPM open a disk, and returns the slot. Whoever has a key that opens it may do so.
    ///
    /// # Errors
    /// When there is no such disk, the key opens nothing, or the TPM fails; then no slot is left.
    pub async fn enrol_at(
        &self,
        path: &Path,
        typed: &Zeroizing<String>,
        wish: &Enrolment<'_>,
        signer: Option<&Signer>,
    ) -> Result<u8, HostError> {
        let (it, with) = (self.at(path).await?, typed_key(typed)?);
        let (new, token): (Key, Value) = self.keyring()?.seal_as((wish, false), signer).await?;
        let added = self.work(&it.order, KeyWork::Add { with, new, is_chosen: false, token }).await;
        self.slot_of(&it, added)
    }

    /// Makes a recovery key of a disk, and returns it with its slot.
    ///
    /// # Errors
    /// When there is no such disk, or the key opens nothing.
    pub async fn recovery_at(
        &self,
        path: &Path,
        typed: &Zeroizing<String>,
    ) -> Result<(u8, Zeroizing<String>), HostError> {
        let (it, with) = (self.at(path).await?, typed_key(typed)?);
        let made = Key::text(&RecoveryKey::of(&luks::random()?).text(), "The recovery key")?;
        let added = self.work(&it.order, KeyWork::Recovery { with, made: made.clone() }).await;
        let slot = self.slot_of(&it, added)?;
        Ok((slot, Zeroizing::new(String::from_utf8_lossy(made.plain().expose()).into_owned())))
    }

    /// Wipes a slot of a disk. The key has to open another one.
    ///
    /// # Errors
    /// When there is no such disk or slot, or the key opens no other one.
    pub async fn forget_at(&self, path: &Path, typed: &Zeroizing<String>, slot: u8) -> Result<(), HostError> {
        let (it, with) = (self.at(path).await?, typed_key(typed)?);
        let none = || HostError::new(Reason::Gone, format!("{} has no slot {slot}", path.display()));
        let what = it.luks.keys.iter().find(|it| it.slot == slot).ok_or_else(none)?.words();
        let removed = self.work(&it.order, KeyWork::Remove { with, slot, what, proved: false }).await;
        self.slot_of(&it, removed).map(drop)
    }

    /// Finds the encrypted disk or partition that a path leads to.
    pub(super) async fn at(&self, path: &Path) -> Result<Locked, HostError> {
        let view = self.seen().await?;
        let luks = find(&view.disks, path).ok_or_else(|| {
            let message = format!(
                "{} is no encrypted disk or partition of this machine, and the daemon reaches no other file; name it as in \
                 /dev/disk/by-uuid, or run `cryptsetup` on it as root",
                path.display()
            );
            HostError::new(Reason::Gone, message)
        })?;
        Ok(Locked { order: of(luks), luks: luks.clone() })
    }

    fn slot_of(&self, it: &Locked, worked: Result<Worked, HostError>) -> Result<u8, HostError> {
        // Something may be another way also where it failed.
        self.keys_changed(&it.order);
        match worked? {
            Worked::Slot(slot) => Ok(slot),
            _ => Err(beside_the_point()),
        }
    }
}

/// Finds what is encrypted at a path: by what the kernel calls it now, by its UUID, or by a name of its whole disk. Two that have
/// the same UUID are not told apart by it.
fn find<'a>(disks: &'a [DiskSeen], path: &Path) -> Option<&'a LuksSeen> {
    let name = path.strip_prefix("/dev").ok()?.to_str()?;
    let uuid = name.strip_prefix("disk/by-uuid/");
    let id = name.strip_prefix("disk/by-id/");
    let is_it = |disk: &DiskSeen, it: &LuksSeen| {
        it.device == name
            || uuid.is_some_and(|uuid| it.uuid.eq_ignore_ascii_case(uuid))
            || it.device == disk.device && id.is_some_and(|id| disk.ids.iter().any(|it| it == id))
    };
    let mut found = disks.iter().flat_map(|disk| disk.luks.iter().filter(move |it| is_it(disk, it)));
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_disk_is_found_by_each_of_its_paths() {
        let luks = |device: &str, uuid: &str| LuksSeen {
            device: device.to_owned(),
            uuid: uuid.to_owned(),
            ..LuksSeen::default()
        };
        let disk = |device: &str, id: &str, luks: LuksSeen| DiskSeen {
            device: device.to_owned(),
            ids: vec![id.to_owned()],
            luks: vec![luks],
            ..DiskSeen::default()
        };
        let all = [
            disk("sda", "ata-one", luks("sda", "6c1b-1")),
            disk("sdb", "ata-two", luks("sdb3", "6c1b-2")),
            disk("sdc", "ata-three", luks("sdc", "6c1b-3")),
            disk("sdd", "ata-copy", luks("sdd", "6c1b-3")),
        ];
        let found = |path: &str| find(&all, Path::new(path)).map(|it| it.device.as_str());
        for (path, device) in [
            ("/dev/sda", Some("sda")),
            ("/dev/disk/by-id/ata-one", Some("sda")),
            ("/dev/disk/by-uuid/6C1B-2", Some("sdb3")),
            ("/dev/sdb3", Some("sdb3")),
            // What is on the disk as a whole is not what is in its partition.
            ("/dev/sdb", None),
            ("/dev/disk/by-id/ata-two", None),
            ("/dev/disk/by-uuid/6c1b-3", None),
            ("/dev/sdd", Some("sdd")),
            ("/srv/sda", None),
            ("sda", None),
        ] {
            assert_eq!(found(path), device, "{path}");
        }
    }
}
