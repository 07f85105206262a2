//! Which part of a machine a record of its log speaks of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    firmware::{NO_ACTION, Record},
    little::{self, Little},
};

const SEPARATOR: u32 = 0x04;
const ACTION: u32 = 0x05;
const TAGGED: u32 = 0x06;
const CRTM_CONTENTS: u32 = 0x07;
const CRTM_VERSION: u32 = 0x08;
const MICROCODE: u32 = 0x09;
const LOADER: u32 = 0x0d;
const VARIABLE_CONFIG: u32 = 0x8000_0001;
const VARIABLE_BOOT: u32 = 0x8000_0002;
const APPLICATION: u32 = 0x8000_0003;
const BOOT_DRIVER: u32 = 0x8000_0004;
const RUNTIME_DRIVER: u32 = 0x8000_0005;
const PARTITIONS: u32 = 0x8000_0006;
const EFI_ACTION: u32 = 0x8000_0007;
const VARIABLE_BOOT_2: u32 = 0x8000_000c;
const AUTHORITY: u32 = 0x8000_00e0;
/// What Linux writes before what it measures of its command line, and of its initrd.
const OPTIONS: u64 = 0x8f3b_22ed;
const INITRD: u64 = 0x8f3b_22ec;
/// A node of a device path that is a path in a file system.
const FILE_PATH: (u64, u64) = (4, 4);
/// The most nodes of such a path.
const MOST_NODES: usize = 32;

/// A part of what starts a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// The firmware itself, microcode included.
    Firmware,
    /// How the firmware is set up, and the tables that it makes.
    FirmwareSettings,
    /// What cards and devices bring along to be run.
    Cards,
    /// From what the machine starts, and in which order.
    BootOrder,
    /// Steps that the firmware took.
    Steps,
    /// Whether Secure Boot is on.
    SecureBoot,
    /// Who may change what Secure Boot allows.
    SecureBootKeys,
    /// What Secure Boot allows.
    Allowed,
    /// What Secure Boot forbids.
    Forbidden,
    /// The key by which something that was started is signed.
    Signer,
    /// The table of partitions.
    Partitions,
    /// What the firmware starts.
    BootLoader,
    /// How that is set up.
    BootLoaderSettings,
    /// The kernel, or the image that holds it.
    Kernel,
    /// What the kernel is told.
    CommandLine,
    /// The first file system.
    Initrd,
    /// What the image says of the release that it is.
    Release,
    /// The rest of the image.
    ImageRest,
    /// What was added to the image: credentials, extensions.
    Extras,
    /// Keys that the owner gave to shim.
    OwnerKeys,
    /// How far the start has come.
    Phase,
    /// Which machine, with which file systems, it is.
    Identity,
    /// The mark where one who measures hands on to the next.
    Mark,
    /// The order in which the same things were measured.
    Order,
    /// What is measured by whom nobody here knows.
    Other,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firmware => "the firmware",
            Self::FirmwareSettings => "the settings or tables of the firmware",
            Self::Cards => "the firmware of a card or device",
            Self::BootOrder => "the order of what the firmware starts",
            Self::Steps => "the steps that the firmware took",
            Self::SecureBoot => "whether Secure Boot is on",
            Self::SecureBootKeys => "the keys of Secure Boot",
            Self::Allowed => "what Secure Boot allows (db)",
            Self::Forbidden => "what Secure Boot forbids (dbx)",
            Self::Signer => "the key that signed what was started",
            Self::Partitions => "the table of partitions",
            Self::BootLoader => "the boot loader",
            Self::BootLoaderSettings => "the settings of the boot loader",
            Self::Kernel => "the kernel",
            Self::CommandLine => "the kernel's command line",
            Self::Initrd => "the initrd",
            Self::Release => "the release of the system",
            Self::ImageRest => "another part of the kernel's image",
            Self::Extras => "credentials or extensions",
            Self::OwnerKeys => "the owner's keys (MOK)",
            Self::Phase => "how far the start has come",
            Self::Identity => "the machine's identifier or its file systems",
            Self::Mark => "the mark behind what the firmware measures",
            Self::Order => "the order in which things were measured",
            Self::Other => "something that is not known here",
        })
    }
}

/// Says what a record speaks of, and what is known of it; nothing if it measures nothing. `started` counts what the firmware
/// started before.
pub(super) fn told(record: &Record<'_>, started: usize) -> Option<(Part, String)> {
    let (pcr, data) = (record.pcr, record.data);
    let told = match record.kind {
        NO_ACTION => return None,
        SEPARATOR => (Part::Mark, if data.iter().all(|it| *it == 0) { String::new() } else { "an error".to_owned() }),
        ACTION | EFI_ACTION => (Part::Steps, little::narrow(data)),
        CRTM_VERSION => (Part::Firmware, format!("version {}", little::text(data)).trim_end().to_owned()),
        CRTM_CONTENTS => (Part::Firmware, String::new()),
        MICROCODE => (Part::Firmware, "microcode".to_owned()),
        VARIABLE_CONFIG | VARIABLE_BOOT | VARIABLE_BOOT_2 | AUTHORITY => variable(record)?,
        APPLICATION if pcr == 4 => application(&path(data), started),
        APPLICATION | BOOT_DRIVER | RUNTIME_DRIVER => (if pcr == 0 { Part::Firmware } else { Part::Cards }, path(data)),
        PARTITIONS => (Part::Partitions, String::new()),
        LOADER => loader(pcr, &little::text(data)),
        TAGGED => tagged(pcr, data),
        _ => (by_register(pcr), String::new()),
    };
    Some(told)
}

/// Returns which part is usually measured into a register.
fn by_register(pcr: u8) -> Part {
    match pcr {
        0 => Part::Firmware,
        1 => Part::FirmwareSettings,
        2 | 3 => Part::Cards,
        4 => Part::BootLoader,
        5 => Part::Partitions,
        7 => Part::SecureBootKeys,
        11 => Part::ImageRest,
        12 | 13 => Part::Extras,
        14 => Part::OwnerKeys,
        15 => Part::Identity,
        _ => Part::Other,
    }
}

/// What the firmware, or what it started, started from a file or from memory.
fn application(path: &str, started: usize) -> (Part, String) {
    let lower = path.to_ascii_lowercase();
    let is_image = lower.contains("\\efi\\linux\\") || lower.contains("vmlinuz");
    // The boot loader comes first, and what comes from memory was in an image: the kernel.
    let is_kernel = is_image || (started > 0 && path.is_empty());
    let path = if path.is_empty() && is_kernel { "inside its image" } else { path };
    (if is_kernel { Part::Kernel } else { Part::BootLoader }, path.to_owned())
}

fn variable(record: &Record<'_>) -> Option<(Part, String)> {
    let mut left = Little(record.data);
    let read = |left: &mut Little<'_>| {
        let (_vendor, letters, size) = (left.bytes(16)?, left.number::<8>()?, left.number::<8>()?);
        let name = little::wide(left.bytes(letters.checked_mul(2)?)?);
        Some((name, left.bytes(size)?.first() == Some(&1)))
    };
    // A variable that can't be read still counts by its digest.
    let Some((name, is_on)) = read(&mut left) else { return Some((by_register(record.pcr), String::new())) };
    let part = match name.as_str() {
        _ if record.kind == AUTHORITY => Part::Signer,
        "SecureBoot" => return Some((Part::SecureBoot, if is_on { "on" } else { "off" }.to_owned())),
        "SetupMode" | "AuditMode" | "DeployedMode" => Part::SecureBoot,
        "PK" | "KEK" => Part::SecureBootKeys,
        "db" => Part::Allowed,
        "dbx" => Part::Forbidden,
        name if name.starts_with("Boot") => Part::BootOrder,
        _ => by_register(record.pcr),
    };
    Some((part, name))
}

/// What a boot loader, or the stub of an image, writes down.
fn loader(pcr: u8, text: &str) -> (Part, String) {
    let is_file = |words: [&str; 2]| pcr == 9 && words.iter().any(|word| text.contains(word));
    let part = match (pcr, text) {
        (11, ".osrel") => Part::Release,
        (11, ".cmdline") => Part::CommandLine,
        (11, ".initrd") => Part::Initrd,
        (11, ".linux") => Part::Kernel,
        (8, text) if text.starts_with("kernel_cmdline") => Part::CommandLine,
        (9, _) if is_file(["vmlinuz", "bzImage"]) => Part::Kernel,
        (9, _) if is_file(["initrd", "initramfs"]) => Part::Initrd,
        (5 | 8 | 9, _) => Part::BootLoaderSettings,
        (12, text) if !text.ends_with(".cred") => Part::CommandLine,
        _ => by_register(pcr),
    };
    (part, text.to_owned())
}

fn tagged(pcr: u8, data: &[u8]) -> (Part, String) {
    let mut left = Little(data);
    let tag = left.number::<4>().unwrap_or_default();
    let length = left.number::<4>().unwrap_or_default();
    let said = little::text(left.bytes(length).unwrap_or_default());
    match (tag, pcr) {
        (OPTIONS, _) => (Part::CommandLine, String::new()),
        (INITRD, _) => (Part::Initrd, String::new()),
        (_, 5) => (Part::BootLoaderSettings, said),
        _ => (by_register(pcr), said),
    }
}

/// Returns the file that something was started from, if it was one.
fn path(data: &[u8]) -> String {
    let mut left = Little(data);
    let read = |left: &mut Little<'_>| {
        let (_at, _length, _linked) = (left.number::<8>()?, left.number::<8>()?, left.number::<8>()?);
        let size = left.number::<8>()?;
        let mut nodes = Little(left.bytes(size)?);
        let mut path = String::new();
        for _ in 0..MOST_NODES {
            let Some((kind, sub)) = nodes.number::<1>().zip(nodes.number::<1>()) else { break };
            let node = nodes.number::<2>()?.checked_sub(4).and_then(|size| nodes.bytes(size))?;
            if (kind, sub) == FILE_PATH {
                path.push_str(&little::wide(node));
            }
        }
        Some(path)
    };
    read(&mut left).unwrap_or_default()
}
