use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;

/// Properties of a disk. The names that the kernel gives, such as `/dev/sdb`, are none: they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// The serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub serial: Option<String>,
    /// The world wide name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub wwn: Option<String>,
    /// The model, as the disk writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub model: Option<String>,
    /// A name of it in `/dev/disk/by-id`, without the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        regex(pattern = r"^[^/]+$"),
        extend("patternErrorMessage" = "write a name of `/dev/disk/by-id` alone: `ata-WDC_WD40EFRX-68N32N0_WD-WCC7K1234567`")
    )]
    pub id: Option<String>,
    /// How it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The least size, `3T`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_size: Option<Bytes>,
    /// The greatest size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Bytes>,
    /// True for one that turns, false for flash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
}

/// How a disk is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// SATA, or its older form.
    Sata,
    /// SAS and other SCSI.
    Scsi,
    /// NVMe.
    Nvme,
    /// USB.
    Usb,
    /// A memory card, or memory that is soldered on.
    Mmc,
    /// A disk of a virtual machine.
    Virtio,
    /// A file of this machine as a disk; its serial number is the path of the file.
    Loop,
}

impl Selector {
    /// Returns true if it asks for nothing, so that any disk would do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Transport {
    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sata => "sata",
            Self::Scsi => "scsi",
            Self::Nvme => "nvme",
            Self::Usb => "usb",
            Self::Mmc => "mmc",
            Self::Virtio => "virtio",
            Self::Loop => "loop",
        }
    }
}
