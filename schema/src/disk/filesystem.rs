use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the header takes of a disk or partition that is encrypted.
const HEADER: u64 = 16 << 20;

/// What a disk holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// The one for most; volumes can be limited with `prjquota`.
    #[default]
    Ext4,
    /// For large files and many writers; copies share blocks.
    Xfs,
    /// With checksums and compression.
    Btrfs,
    /// Room for memory that is not used just now.
    Swap,
}

/// How a file system is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum MountOption {
    /// Programs on it can't be run.
    #[serde(rename = "noexec")]
    NoExec,
    /// Nothing can be written.
    #[serde(rename = "ro")]
    ReadOnly,
    /// Reading a file leaves no mark on it.
    #[serde(rename = "noatime")]
    NoAtime,
    /// Marks of time are written late.
    #[serde(rename = "lazytime")]
    LazyTime,
    /// Every write waits for the disk.
    #[serde(rename = "sync")]
    Sync,
    /// Volumes on it can be limited. For ext4 and xfs.
    #[serde(rename = "prjquota")]
    ProjectQuota,
    /// What is written is compressed. For btrfs.
    #[serde(rename = "compress=zstd")]
    Compress,
}

impl Filesystem {
    /// Returns its word, which is also the kernel's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Swap => "swap",
        }
    }

    /// Returns the fewest bytes that it can be made on.
    pub const fn least(self) -> u64 {
        match self {
            Self::Ext4 => 16 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 128 << 20,
            Self::Swap => 1 << 20,
        }
    }

    /// Returns the fewest bytes that it can be made on where it is encrypted or not: a header lies before what is encrypted.
    pub const fn least_if(self, encrypted: bool) -> u64 {
        if encrypted { self.least() + HEADER } else { self.least() }
    }
}

impl MountOption {
    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoExec => "noexec",
            Self::ReadOnly => "ro",
            Self::NoAtime => "noatime",
            Self::LazyTime => "lazytime",
            Self::Sync => "sync",
            Self::ProjectQuota => "prjquota",
            Self::Compress => "compress=zstd",
        }
    }

    /// Returns true if a file system knows it.
    pub const fn is_known_to(self, filesystem: Filesystem) -> bool {
        match self {
            Self::ProjectQuota => matches!(filesystem, Filesystem::Ext4 | Filesystem::Xfs),
            Self::Compress => matches!(filesystem, Filesystem::Btrfs),
            _ => !matches!(filesystem, Filesystem::Swap),
        }
    }
}
