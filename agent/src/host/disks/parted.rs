//! Disks with partitions of ours: by what such a table is known, and how it is to be made.

use piccolo_schema::{
    DiskSpec,
    disk::{Filesystem, Partition as Asked, part_key},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{DiskSeen, LUKS, LuksSeen, MakeOrder, MountSeen, Opened, Partition, Signature, Unlocked, label};

/// The GUID of a table whose partitions are being made and were not looked over yet.
pub const HALF_TABLE: &str = "7069636f-6861-8c66-a10d-2f3b9d0c5e71";

/// A partition that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PartOrder {
    /// Its name in the table.
    pub name: String,
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What is made in it.
    pub filesystem: Filesystem,
    /// The label that this gets at last.
    pub label: String,
    /// True if it is made so that what is stored in directories can be limited.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quotas: bool,
    /// True if it is encrypted, as the order for the disk says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
}

/// Returns the GUID by which a table of ours is known: that of its manifest's name.
pub fn table_id(subject: &str) -> String {
    let hash = Sha256::digest(format!("table of {subject}").as_bytes());
    let mut bytes: Vec<u8> = hash.iter().take(16).copied().collect();
    // A GUID of version 8, which is for whoever makes them, in the one variant.
    for (at, keep, set) in [(6, 0x0f, 0x80), (8, 0x3f, 0x80)] {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = *byte & keep | set;
        }
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let cuts = [0..8, 8..12, 12..16, 16..20, 20..32];
    cuts.into_iter().filter_map(|cut| hex.get(cut)).collect::<Vec<_>>().join("-")
}

/// Returns true if a table is the one that a manifest means.
pub fn is_its_table(name: &str, spec: &DiskSpec, id: &str) -> bool {
    match &spec.adopt {
        Some(uuid) => uuid.eq_ignore_ascii_case(id) && id != HALF_TABLE,
        None => id == table_id(name),
    }
}

/// Returns the manifest that something is mounted for: a partition has a name of its own behind a stroke.
pub fn manifest_of(subject: &str) -> &str {
    subject.split_once('/').map_or(subject, |(name, _)| name)
}

/// Returns the partition that something is mounted from, if it is one of ours.
pub fn part_of(subject: &str) -> Option<&str> {
    subject.split_once('/').map(|(_, part)| part)
}

impl DiskSeen {
    /// Returns true if its table was never made to the end.
    pub fn is_half_parted(&self) -> bool {
        self.table.as_deref() == Some(HALF_TABLE)
    }

    /// Returns its partitions that are encrypted and open, with what is inside.
    pub fn open_parts(&self) -> impl Iterator<Item = (&Partition, &LuksSeen, &Opened)> {
        let luks = |part: &Partition| self.luks.iter().find(|it| it.device == part.device);
        self.partitions.iter().filter_map(move |part| Some((part, luks(part)?, luks(part)?.opened.as_ref()?)))
    }

    /// Returns those that a manifest asks for and that have keys, with their headers as they are.
    pub fn locked_parts<'a>(
        &'a self,
        name: &str,
        spec: &'a DiskSpec,
    ) -> impl Iterator<Item = (&'a Asked, &'a LuksSeen)> {
        let is_its = self.table.as_deref().is_some_and(|id| is_its_table(name, spec, id));
        let luks = move |asked: &Asked| {
            let seen = self.partitions.iter().find(|it| it.name == asked.name)?;
            let is_ours = spec.adopt.is_some() || seen.whole()?.label == Some(label(&part_key(name, &asked.name)));
            self.luks.iter().find(|it| it.device == seen.device).filter(|_| is_ours)
        };
        spec.locked_parts().filter(move |_| is_its).filter_map(move |asked| Some((asked, luks(asked)?)))
    }

    /// Returns its encrypted partitions that were made for a manifest and have keys: those that it asks for, and those that it
    /// asks for no more, or as something else.
    pub fn kept_parts<'a>(&'a self, name: &str, spec: &DiskSpec) -> impl Iterator<Item = &'a Partition> {
        let is_its = self.table.as_deref().is_some_and(|id| is_its_table(name, spec, id));
        let is_ours = move |part: &&Partition| {
            part.whole().is_some_and(|it| it.kind == LUKS && it.label == Some(label(&part_key(name, &part.name))))
        };
        self.partitions.iter().filter(move |_| is_its).filter(is_ours)
    }

    /// Returns the first partition of a manifest that has keys which are none of those that can be changed, with what is to be
    /// done about that. Its recovery key would be another one than that of the rest.
    pub fn left_out<'a>(&'a self, name: &str, spec: &DiskSpec) -> Option<(&'a Partition, &'static str)> {
        let is_among = |part: &Partition| self.locked_parts(name, spec).any(|(_, luks)| luks.device == part.device);
        let part = self.kept_parts(name, spec).find(|it| !is_among(it))?;
        let asked = spec.partitions.iter().find(|it| it.name == part.name);
        Some((part, asked.map_or("put it into `partitions` again", |asked| how_again(spec, asked))))
    }

    /// Returns its partitions as they lie on it.
    pub fn in_order(&self) -> Vec<&Partition> {
        let mut parts: Vec<&Partition> = self.partitions.iter().collect();
        parts.sort_by_key(|it| it.start);
        parts
    }
}

/// Says what lets the keys of a partition be changed that a manifest asks for.
fn how_again(spec: &DiskSpec, asked: &Asked) -> &'static str {
    match spec.of_part(asked).filesystem {
        _ if asked.plain => "take `plain` out of it",
        Filesystem::Swap => "ask for the file system in it again, and not for swap",
        _ => "its header can't be read, so look at the disk",
    }
}

impl Partition {
    /// Returns the one thing that it holds, if it is one thing alone.
    pub fn whole(&self) -> Option<&Signature> {
        let first = self.signatures.first()?;
        self.signatures.iter().all(|it| it.kind == first.kind && it.uuid == first.uuid).then_some(first)
    }

    /// Says what it holds, for people.
    pub fn content(&self) -> String {
        self.signatures.first().map_or_else(|| "nothing known".to_owned(), Signature::words)
    }
}

impl MountSeen {
    /// Returns true if it is of this manifest, as a whole or a partition of it.
    pub fn is_of(&self, manifest: &str) -> bool {
        manifest_of(&self.subject) == manifest
    }
}

impl Unlocked {
    /// Returns the partition that it is the inside of, if it was opened for one and that is there.
    pub fn part<'a>(&self, disks: &'a [DiskSeen]) -> Option<&'a Partition> {
        let own = part_of(&self.subject)?;
        let is_it =
            |(part, _, opened): &(&Partition, &LuksSeen, &Opened)| part.name == own && opened.device == self.device;
        disks.iter().flat_map(DiskSeen::open_parts).find(is_it).map(|(part, ..)| part)
    }
}

impl MakeOrder {
    /// Returns the orders for what is in its partitions that have keys of their own, without their devices.
    pub fn locked_parts(&self) -> impl Iterator<Item = Self> {
        let has_keys = |it: &&PartOrder| it.encrypted && it.filesystem != Filesystem::Swap;
        self.parts.iter().filter(has_keys).map(|it| self.of_part(it, ""))
    }

    /// Returns the order for what is in one partition.
    pub fn of_part(&self, part: &PartOrder, device: &str) -> Self {
        Self {
            device: device.to_owned(),
            filesystem: part.filesystem,
            label: part.label.clone(),
            quotas: part.quotas,
            encryption: self.encryption.clone().filter(|_| part.encrypted),
            parts: Vec::new(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use piccolo_schema::disk::Encryption;

    use super::*;

    #[test]
    fn a_table_is_known_by_the_name_of_its_manifest() {
        let id = table_id("media");
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!((&id[14..15], id == table_id("media"), id == table_id("music")), ("8", true, false));
        assert_eq!((manifest_of("media/films"), part_of("media/films")), ("media", Some("films")));
        assert_eq!((manifest_of("media"), part_of("media")), ("media", None));
    }

    #[test]
    fn a_partition_that_has_keys_and_is_not_asked_for_so_is_left_out() {
        let asked = |name: &str| Asked { name: name.to_owned(), ..Asked::default() };
        let seen = |(number, name): (usize, &str)| {
            let label = Some(label(&part_key("media", name)));
            let uuid = Some(format!("uuid-{number}"));
            let signatures = vec![Signature { kind: LUKS.to_owned(), uuid, label, ..Signature::default() }];
            Partition { device: format!("sda{number}"), name: name.to_owned(), signatures, ..Partition::default() }
        };
        let luks = |part: &Partition| LuksSeen { device: part.device.clone(), ..LuksSeen::default() };
        let partitions: Vec<Partition> = (1..).zip(["films", "papers"]).map(seen).collect();
        let luks = partitions.iter().map(luks).collect();
        let mut disk = DiskSeen { table: Some(table_id("media")), partitions, luks, ..DiskSeen::default() };
        let both = DiskSpec {
            encryption: Some(Encryption::default()),
            partitions: vec![asked("films"), asked("papers")],
            ..DiskSpec::default()
        };
        let told = |disk: &DiskSeen, change: &dyn Fn(&mut DiskSpec)| {
            let mut spec = both.clone();
            change(&mut spec);
            disk.left_out("media", &spec).map(|(part, help)| (part.name.clone(), help))
        };
        let papers = |help| Some(("papers".to_owned(), help));
        assert_eq!(told(&disk, &|_| {}), None);
        assert_eq!(told(&disk, &|it| it.partitions.truncate(1)), papers("put it into `partitions` again"));
        assert_eq!(told(&disk, &|it| it.partitions[1].plain = true), papers("take `plain` out of it"));
        let swap = "ask for the file system in it again, and not for swap";
        assert_eq!(told(&disk, &|it| it.partitions[1].filesystem = Some(Filesystem::Swap)), papers(swap));
        let unread = disk.luks.pop();
        assert_eq!(told(&disk, &|_| {}), papers("its header can't be read, so look at the disk"));
        // Neither the partition of others nor the table of others is meant.
        disk.luks.extend(unread);
        disk.partitions[1].signatures[0].label = Some("photos".to_owned());
        assert_eq!(told(&disk, &|it| it.partitions.truncate(1)), None);
        disk.partitions[1].signatures[0].label = Some(label(&part_key("media", "papers")));
        disk.table = Some(table_id("music"));
        assert_eq!(told(&disk, &|it| it.partitions.truncate(1)), None);
    }
}
