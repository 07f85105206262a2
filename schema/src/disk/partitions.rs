use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DiskSpec, Encryption, EncryptionStatus, Filesystem, MountOption};
use crate::{quantity::Bytes, volume::plain};

/// A part of a disk, with a file system and a place of its own.
///
/// Partitions lie on the disk in the order in which they stand here. None is moved, made smaller or taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Partition {
    /// The name of it, which is written into the table of partitions (GPT), and by which it is found again.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write a short name of lower-case letters, digits and `-`: `films`")
    )]
    pub name: String,
    /// Its size, in whole mebibytes. The last one may have none: it takes what is left, and grows with the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// The least that has to be left for the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_size: Option<Bytes>,
    /// The most that the last one takes of what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Bytes>,
    /// What it holds. The `filesystem` of the disk when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
    /// Leaves this one as it is on a disk with `encryption`, for what may be read by everybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
    /// The directory at which it is mounted. Swap has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub mount: Option<String>,
    /// How it is mounted, beside `nosuid` and `nodev`, which always hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<MountOption>,
}

/// How a partition stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatus {
    /// Its name.
    pub name: String,
    /// True where the table was made for the manifest, which does not have it: it has it no more, or somebody else added it. It
    /// stays on the disk as it is, with the keys that it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
    /// What the kernel calls it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// The UUID of its file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// How it is encrypted, where it is and a key of it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionStatus>,
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// How much is stored on it, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<u8>,
}

impl DiskSpec {
    /// Returns what is asked of a partition, as if it were a disk alone.
    pub fn of_part(&self, part: &Partition) -> Self {
        let filesystem = part.filesystem.unwrap_or(self.filesystem);
        let encryption = self.encryption.clone().filter(|_| !part.plain);
        Self {
            filesystem,
            // Of swap nobody keeps the key, so nothing opens it but a new one.
            encryption: encryption.map(|it| if filesystem == Filesystem::Swap { Encryption::default() } else { it }),
            mount: part.mount.clone(),
            options: part.options.clone(),
            partitions: Vec::new(),
            ..self.clone()
        }
    }

    /// Returns its partitions that are encrypted and have keys that are kept.
    pub fn locked_parts(&self) -> impl Iterator<Item = &Partition> {
        let has_keys = |part: &&Partition| {
            let spec = self.of_part(part);
            spec.encryption.is_some() && spec.filesystem != Filesystem::Swap
        };
        self.partitions.iter().filter(has_keys)
    }

    /// Returns how many headers with keys it has, once all that it asks for is there.
    pub fn locks(&self) -> usize {
        if self.partitions.is_empty() { self.selectors().count() } else { self.locked_parts().count() }
    }

    /// Returns the names under which what a disk holds is mounted: that of its manifest, or one for each partition.
    pub fn keys(&self, name: &str) -> Vec<String> {
        if self.partitions.is_empty() {
            return vec![name.to_owned()];
        }
        self.partitions.iter().map(|part| part_key(name, &part.name)).collect()
    }

    /// Returns the mount points of a disk, by the names of what is mounted there.
    pub fn places(&self, name: &str) -> Vec<(String, String)> {
        let whole = self.mount.iter().filter(|_| self.partitions.is_empty()).map(|at| (name.to_owned(), plain(at)));
        let parts =
            self.partitions.iter().filter_map(|it| Some((part_key(name, &it.name), plain(it.mount.as_deref()?))));
        whole.chain(parts).collect()
    }
}

/// Returns the name under which a partition of a disk is known. No manifest has such a one.
pub fn part_key(disk: &str, part: &str) -> String {
    format!("{disk}/{part}")
}
