//! Tables of partitions, as `sfdisk` reads and writes them (GPT), and as `partx` makes them known to the kernel.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use piccolo_schema::disk::{Filesystem, part_key};
use serde::{Deserialize, Serialize};

use super::{
    LOOK, blocking,
    content::later_marks,
    hands::Hands,
    key::FirstKeys,
    make::{clear, failed, label, make, run, verify},
    program,
    table::stands_on,
};
use crate::host::{
    DiskSeen, HALF_MADE, HostError, MakeOrder, Mount, Reason,
    linux::{partition, program::fed},
    mapped_name,
    parted::{HALF_TABLE, PartOrder, manifest_of, part_of, table_id},
};

/// How long a table may take to be written.
const PATIENCE: Duration = Duration::from_secs(120);
/// What all partitions are said to hold: data of Linux.
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

/// A table of partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Parted {
    /// Its GUID, in small letters.
    pub(super) id: String,
    /// Its partitions, by the kernel's names.
    pub(super) parts: BTreeMap<String, Place>,
}

/// Where a partition lies, in bytes, and what it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) size: u64,
}

#[derive(Deserialize)]
struct Told {
    partitiontable: Listed,
}

#[derive(Deserialize)]
struct Listed {
    label: String,
    #[serde(default)]
    id: String,
    #[serde(default = "sector")]
    sectorsize: u64,
    #[serde(default)]
    partitions: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    node: String,
    start: u64,
    size: u64,
    #[serde(default)]
    name: String,
}

/// Reads the table of a disk; none where it has no GPT, or where nothing reads it.
pub(super) async fn read(device: &str) -> Option<Parted> {
    let text = program::run("sfdisk", ["--json", &format!("/dev/{device}")], LOOK).await.ok()?;
    parse(&text).ok().flatten()
}

fn parse(text: &str) -> Result<Option<Parted>, String> {
    let told: Told = serde_json::from_str(text).map_err(|error| format!("`sfdisk` can't be understood ({error})"))?;
    let Listed { label, id, sectorsize, partitions } = told.partitiontable;
    if label != "gpt" || id.is_empty() {
        return Ok(None);
    }
    let place = |it: Entry| {
        let device = it.node.strip_prefix("/dev/").unwrap_or(&it.node).to_owned();
        let bytes = |sectors: u64| sectors.checked_mul(sectorsize).ok_or("`sfdisk` tells of more than there is");
        Ok((device, Place { name: it.name, start: bytes(it.start)?, size: bytes(it.size)? }))
    };
    let parts = partitions.into_iter().map(place).collect::<Result<BTreeMap<_, _>, &str>>()?;
    Ok(Some(Parted { id: id.to_ascii_lowercase(), parts }))
}

const fn sector() -> u64 {
    512
}

/// Returns the size of a sector of a disk, in bytes.
fn sector_of(disk: &str) -> u64 {
    let text = fs::read_to_string(format!("/sys/class/block/{disk}/queue/logical_block_size"));
    text.ok().and_then(|it| it.trim().parse().ok()).filter(|it| *it > 0).unwrap_or_else(sector)
}

/// Writes down the table of an order for `sfdisk`. All of it lies at whole mebibytes; it is told in sectors, as `sfdisk` moves
/// what is told otherwise to where the disk says that it is fastest.
fn script(parts: &[PartOrder], sector: u64) -> String {
    let first = (1 << 20) / sector;
    let mut lines = format!("label: gpt\nlabel-id: {HALF_TABLE}\nunit: sectors\nfirst-lba: {first}\n");
    for it in parts {
        let (start, size) = (it.start / sector, it.size / sector);
        lines += &format!("start={start}, size={size}, type={LINUX}, name=\"{}\"\n", it.name);
    }
    lines
}

impl Hands {
    /// Makes the partitions of a disk that is marked, and what is in each; the GUID of the table is ours at last.
    ///
    /// Dropped before the end, the disk has our mark at its beginning or the GUID of a table that is half made.
    pub(super) async fn make_parts(
        &self,
        (subject, keys): (&str, &[FirstKeys]),
        order: &MakeOrder,
        disk: &DiskSeen,
        lock: &fs::File,
    ) -> Result<(), HostError> {
        let path = format!("/dev/{}", order.device);
        let words =
            ["--quiet", "--wipe", "never", "--wipe-partitions", "never", "--no-reread", "--no-tell-kernel", &path];
        fed("sfdisk", words, &script(&order.parts, sector_of(&order.device)), PATIENCE).await?;
        // The table tells by now that it is half made. A mark that is taken away later would be written over what is there.
        clear(lock, later_marks(disk.identity.size)).await?;
        sync(lock).await?;
        program::run("partx", ["--update", &path], PATIENCE).await?;
        let table = read(&order.device).await.unwrap_or_default();
        let mut made = Vec::new();
        for part in &order.parts {
            let is_it = |it: &&Place| it.name == part.name && it.start == part.start && it.size == part.size;
            let found = table.parts.iter().find(|(_, it)| is_it(it)).filter(|_| table.id == HALF_TABLE);
            let Some((device, _)) = found else {
                let message = format!("The table that was made on `{path}` is not what was asked for");
                return Err(HostError::new(Reason::Failed, message));
            };
            made.push((order.of_part(part, device), vec![format!("/dev/{device}")]));
        }
        let mut keys = keys.iter();
        for ((order, paths), part) in made.iter().zip(&order.parts) {
            // What was there before may begin where the partition does.
            program::run("wipefs", ["--all", "--force", &paths[0]], PATIENCE).await?;
            if order.encryption.is_some() {
                let own = if order.filesystem == Filesystem::Swap { None } else { keys.next() };
                self.encrypt_one(&part_key(subject, &part.name), order, own, None).await?;
            } else {
                run(make(order, paths, HALF_MADE)).await?;
                verify(order, &order.device, HALF_MADE).await?;
                run(label(order, &paths[0])).await?;
            }
            program::run("blockdev", ["--flushbufs", &paths[0]], PATIENCE).await?;
        }
        // What makes a table keeps the beginning of the disk, where programs that start a machine are.
        clear(lock, vec![0]).await?;
        let words = ["--quiet", "--no-reread", "--no-tell-kernel", "--disk-id", &path, &order.label];
        program::run("sfdisk", words, PATIENCE).await?;
        sync(lock).await
    }
}

/// Lets the last partition of ours have the size that its mount is to fill, if it has less.
pub(super) async fn extend(subject: &str, mount: &Mount) -> Result<(), HostError> {
    let (manifest, Some(part)) = (manifest_of(subject), part_of(subject)) else { return Ok(()) };
    let refuse = |what: &str| Err(HostError::new(Reason::Refused, format!("`/dev/{}` {what}", mount.device)));
    // What is inside of an encrypted partition stands on it.
    let below =
        if mapped_name(&mount.device).is_some() { stands_on(&mount.device) } else { Some(mount.device.clone()) };
    let Some(device) = below else { return refuse("stands on no partition by now") };
    let Some(place) = partition::place(Path::new(&format!("/dev/{device}"))) else {
        return refuse("is no partition by now");
    };
    let (path, number, disk) = (format!("/dev/{}", place.disk), place.number.to_string(), place.disk);
    let table = read(&disk).await.filter(|it| it.id == table_id(manifest)).unwrap_or_default();
    let Some(place) = table.parts.get(&device).filter(|it| it.name == part) else {
        return refuse("is not the partition that was meant; nothing was written");
    };
    if place.size < mount.disk_size {
        if table.parts.values().any(|it| it.start > place.start) {
            return refuse("has another partition behind it, so it can't grow");
        }
        // The copy of the table lies where the disk ended before.
        let quietly = ["--quiet", "--no-reread", "--no-tell-kernel"];
        program::run("sfdisk", quietly.into_iter().chain(["--relocate", "gpt-bak-std", &path]), PATIENCE).await?;
        let line = format!(", {}\n", mount.disk_size / sector_of(&disk));
        fed("sfdisk", quietly.into_iter().chain(["-N", &number, &path]), &line, PATIENCE).await?;
    }
    program::run("partx", ["--update", "--nr", &number, &path], PATIENCE).await.map(drop)
}

async fn sync(lock: &fs::File) -> Result<(), HostError> {
    let lock = lock.try_clone().map_err(|error| failed(&error))?;
    blocking(move || lock.sync_all().map_err(|error| failed(&error))).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = r#"{"partitiontable": {"label":"gpt", "id":"AFC63DAF-8483-4772-8E79-3D69D8477DE5",
        "device":"/dev/sda", "unit":"sectors", "firstlba":2048, "lastlba":196574, "sectorsize":512, "partitions": [
        {"node":"/dev/sda1", "start":2048, "size":40960, "type":"0FC63DAF-8483-4772-8E79-3D69D8477DE4", "name":"films"},
        {"node":"/dev/sda2", "start":43008, "size":61440, "type":"0FC63DAF-8483-4772-8E79-3D69D8477DE4"}]}}"#;

    #[test]
    fn a_table_is_read_in_bytes() {
        let table = parse(TEXT).unwrap().unwrap();
        assert_eq!(table.id, "afc63daf-8483-4772-8e79-3d69d8477de5");
        let films = Place { name: "films".to_owned(), start: 1 << 20, size: 20 << 20 };
        assert_eq!(table.parts.get("sda1"), Some(&films));
        assert_eq!(table.parts["sda2"].name, "");
        assert_eq!(parse(r#"{"partitiontable": {"label":"dos", "id":"0x1"}}"#), Ok(None));
    }

    #[test]
    fn a_table_is_written_in_sectors() {
        let part = PartOrder { name: "films".to_owned(), start: 1 << 20, size: 20 << 20, ..PartOrder::default() };
        let lines = script(&[part], sector());
        assert_eq!(lines.lines().last(), Some(&*format!("start=2048, size=40960, type={LINUX}, name=\"films\"")));
        assert!(lines.contains(HALF_TABLE), "{lines}");
        let lines = script(&[], 8 * sector());
        assert!(lines.contains("first-lba: 256\n"), "{lines}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..TEXT.len(), what in "\\PC{0,8}", number in any::<u64>(), cut in any::<bool>()) {
            let rest = if cut { "" } else { &TEXT[at..] };
            drop(parse(&format!("{}{what}{rest}", &TEXT[..at])));
            drop(parse(&TEXT.replace("61440", &number.to_string())));
        }
    }
}
