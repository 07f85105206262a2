use piccolo_schema::{DiskSpec, disk::Filesystem};
use sha2::{Digest, Sha256};

/// Returns the label by which a disk of ours is known: short enough for every file system.
pub fn label(subject: &str) -> String {
    let hash = Sha256::digest(subject.as_bytes());
    let short: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("pic-{short}")
}

/// Returns the label of what a manifest has on a disk as a whole. What is written over at each start is never taken for what is
/// kept, nor the other way round.
pub fn label_of(subject: &str, spec: &DiskSpec) -> String {
    let is_passing = spec.filesystem == Filesystem::Swap && spec.encryption.is_some();
    if is_passing { swap_label(subject) } else { label(subject) }
}

/// Returns the label of a header of ours behind which swap is made anew at each start.
pub fn swap_label(subject: &str) -> String {
    label(subject).replace("pic-", "pic-swap-")
}

/// Writes a size as people say it.
pub fn human(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000_u64), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((word, unit)) => {
            let tenths = (bytes / (unit / 10)).min(u64::MAX - 1);
            if tenths.is_multiple_of(10) || tenths >= 1000 {
                format!("{} {word}", tenths / 10)
            } else {
                format!("{}.{} {word}", tenths / 10, tenths % 10)
            }
        }
        None => format!("{bytes} B"),
    }
}
