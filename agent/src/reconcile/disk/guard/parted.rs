//! The guard of disks with partitions: the same rows, with the table in the place of the file system.

use piccolo_schema::disk::{Filesystem, MountOption, part_key};

use super::{Case, Decision, Leave, Verdict};
use crate::{
    host::{DiskSeen, Opened, mapped, parted::is_its_table},
    reconcile::disk::layout::layout,
};

impl<'a> Case<'a> {
    /// Returns the table that the manifest means, if it is there: by what it adopts, or by the GUID of ours.
    pub(super) fn its_table(self) -> Option<&'a str> {
        let id = self.disk.table.as_deref().filter(|_| !self.spec.partitions.is_empty())?;
        is_its_table(self.name, self.spec, id).then_some(id)
    }

    pub(super) fn use_its_table(self, id: &str, leave: Leave<'_>) -> Decision {
        let disk = self.disk;
        let is_here = |it: &&crate::host::MountSeen| it.present && disk.device_of(&it.mount.uuid).is_some();
        if !self.view.mounts.iter().filter(|it| it.is_of(self.name)).any(|it| is_here(&it)) {
            self.is_known()?;
            self.is_free(false)?;
            let shares = |other: &&DiskSeen| other.seq != disk.seq && other.table.as_deref() == Some(id);
            if let Some(twin) = self.view.disks.iter().find(shares) {
                let message =
                    format!("{} holds the same table of partitions {id}, as a copy does; unplug one", twin.name());
                return Err(("DuplicateUuid", message));
            }
        }
        let reads_only = self.spec.partitions.iter().all(|it| it.options.contains(&MountOption::ReadOnly));
        if disk.read_only && !reads_only {
            let message =
                format!("{} can only be read; add `ro` to the `options` of each partition, or unlock it", disk.name());
            return Err(("DiskReadOnly", message));
        }
        let spent = leave.and_then(Result::err).map(|(_, message)| message);
        Ok(Verdict::Use { uuid: id.to_owned(), device: disk.device.clone(), spent })
    }

    /// Returns an error if the partitions that are asked for have no room on the disk.
    pub(super) fn has_room(self) -> Result<(), (&'static str, String)> {
        let (spec, disk) = (self.spec, self.disk);
        layout(spec, disk.identity.size)
            .map(drop)
            .map_err(|why| ("DiskTooSmall", format!("{} is too small: {why}", disk.name())))
    }

    /// Returns what the kernel's tree calls the insides of the partitions that are asked for, while they are open.
    pub(super) fn opened_parts(self) -> Vec<&'a str> {
        let is_asked = |name: &str| self.spec.partitions.iter().any(|it| it.name == name);
        self.disk.open_parts().filter(|(part, ..)| is_asked(&part.name)).map(|(.., opened)| opened.name()).collect()
    }

    /// Closes a partition that was half made and is open, if such alone stand on the disk.
    pub(super) fn closes_a_part(self) -> Option<Verdict> {
        let disk = self.disk;
        let is_ours = |name: &str, opened: &Opened| opened.device == mapped(&part_key(self.name, name));
        let ours = || disk.open_parts().filter(|(part, _, opened)| is_ours(&part.name, opened));
        let alone = disk.holders.iter().all(|it| ours().any(|(.., opened)| opened.name() == it));
        let (part, luks, _) = ours().next().filter(|_| alone && disk.mounted.is_empty() && !disk.system)?;
        let part = Some(part.name.clone());
        Some(Verdict::Close { part, device: luks.device.clone(), uuid: luks.uuid.clone() })
    }

    /// Returns where what the manifest asks for is mounted, and where it was; swap is called so.
    pub(super) fn its_places(self) -> Vec<String> {
        let spec = self.spec;
        let mut places: Vec<String> = spec.places(self.name).into_iter().map(|(_, at)| at).collect();
        let parts = spec.partitions.iter().map(|it| it.filesystem.unwrap_or(spec.filesystem));
        let whole = spec.partitions.is_empty().then_some(spec.filesystem);
        places.extend(parts.chain(whole).any(|it| it == Filesystem::Swap).then(|| "swap".to_owned()));
        let before = self.view.mounts.iter().filter(|it| it.is_of(self.name));
        places.extend(before.map(|it| it.mount.at.clone().unwrap_or_else(|| "swap".to_owned())));
        places
    }

    /// Says that a disk holds no table that the manifest adopts.
    pub(super) fn no_such_table(self, uuid: &str) -> (&'static str, String) {
        let disk = self.disk;
        let there = match disk.table.as_deref() {
            Some(id) => format!("its table of partitions is `{id}`"),
            None => "it has no table of partitions that can be adopted (GPT)".to_owned(),
        };
        let message =
            format!("{} holds {}, and no table `{uuid}`: {there}; correct `adopt`", disk.name(), disk.content());
        ("NothingToAdopt", message)
    }
}
