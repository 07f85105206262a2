//! The tree of block devices, as `lsblk` writes it.

use std::collections::BTreeSet;

use piccolo_schema::disk::Transport;
use serde::Deserialize;

use crate::host::{DiskSeen, Identity};

/// What `lsblk` is asked.
pub(super) const ARGUMENTS: [&str; 4] =
    ["--json", "--bytes", "--output", "NAME,MAJ:MIN,TYPE,SIZE,RO,ROTA,TRAN,MODEL,SERIAL,WWN"];

/// A device, and what stands on it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) name: String,
    #[serde(rename = "maj:min")]
    number: String,
    #[serde(rename = "type")]
    kind: String,
    pub(super) size: u64,
    ro: bool,
    rota: bool,
    tran: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    wwn: Option<String>,
    children: Vec<Node>,
}

#[derive(Deserialize)]
struct Whole {
    blockdevices: Vec<Node>,
}

/// A device that is a whole disk.
#[derive(Clone, Debug)]
pub(super) struct Drive {
    pub(super) node: Node,
}

/// Reads what `lsblk` wrote.
pub(super) fn parse(text: &str) -> Result<Vec<Drive>, String> {
    let whole: Whole = serde_json::from_str(text).map_err(|error| format!("`lsblk` can't be understood ({error})"))?;
    let is_disk = |node: &Node| matches!(node.kind.as_str(), "disk" | "loop") && is_name(&node.name) && node.size > 0;
    let no_memory = |node: &Node| !["zram", "ram", "fd", "sr"].iter().any(|it| node.name.starts_with(it));
    Ok(whole.blockdevices.into_iter().filter(|it| is_disk(it) && no_memory(it)).map(|node| Drive { node }).collect())
}

/// Returns true if this can be a name of the kernel, and so a part of a path.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_!".contains(c))
}

/// Lists what these partitions are joined with. Where that changes, so may what they hold together.
pub(super) fn fellows(partitions: &[&Node]) -> BTreeSet<String> {
    let arrays = partitions.iter().flat_map(|it| it.joined());
    let members = arrays.flat_map(|it| std::fs::read_dir(format!("/sys/block/{it}/slaves")).into_iter().flatten());
    members.flatten().filter_map(|it| it.file_name().into_string().ok()).collect()
}

impl Node {
    /// Returns what it is joined to with others.
    pub(super) fn joined(&self) -> Vec<String> {
        let arrays = self.children.iter().filter(|it| it.kind.starts_with("raid") && is_name(&it.name));
        arrays.map(|it| it.name.clone()).collect()
    }
}

impl Drive {
    /// Returns the disk by its properties, those that `attribute` reads of the kernel among them.
    pub(super) fn seen(&self, attribute: &dyn Fn(&str) -> String) -> Option<DiskSeen> {
        let node = &self.node;
        let told = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
        let kernel = |path: &str| attribute(path).trim().to_owned();
        let mut serial = [told(&node.serial), kernel("serial"), kernel("device/serial")];
        let mut transport = transport(node);
        if node.kind == "loop" {
            let file = kernel("loop/backing_file");
            // A file that is gone from its place is no disk to be found again.
            if file.is_empty() || file.ends_with(" (deleted)") {
                return None;
            }
            (serial, transport) = ([file, String::new(), String::new()], Some(Transport::Loop));
        }
        let (major, minor) = node.number.split_once(':').unwrap_or_default();
        let number =
            major.trim().parse::<u64>().unwrap_or_default() << 32 | minor.trim().parse::<u64>().unwrap_or_default();
        Some(DiskSeen {
            device: node.name.clone(),
            seq: kernel("diskseq").parse().unwrap_or(number),
            identity: Identity {
                serial: serial.into_iter().find(|it| !it.is_empty()).unwrap_or_default(),
                wwn: told(&node.wwn),
                size: node.size,
            },
            model: told(&node.model),
            transport,
            rotational: node.rota,
            read_only: node.ro,
            ..DiskSeen::default()
        })
    }

    /// Returns its partitions.
    pub(super) fn partitions(&self) -> Vec<&Node> {
        self.node.children.iter().filter(|it| it.kind == "part" && is_name(&it.name)).collect()
    }

    /// Returns those of its partitions that nothing stands on and nobody uses.
    pub(super) fn idle_partitions(&self, is_used: impl Fn(&str, &str) -> bool) -> BTreeSet<String> {
        let all = self.partitions().into_iter();
        let idle = all.filter(|it| it.children.is_empty() && !is_used(&it.name, it.number.trim()));
        idle.map(|it| it.name.clone()).collect()
    }

    /// Returns the disk and all that stands on it.
    pub(super) fn nodes(&self) -> Vec<&Node> {
        let mut nodes = vec![&self.node];
        let mut at = 0;
        while let Some(node) = nodes.get(at).copied() {
            nodes.extend(&node.children);
            at += 1;
        }
        nodes
    }

    /// Returns the kernel's numbers of all of these, `8:16`.
    pub(super) fn numbers(&self) -> Vec<&str> {
        self.nodes().into_iter().map(|node| node.number.trim()).collect()
    }

    /// Returns what stands on it that is no partition.
    pub(super) fn holders(&self) -> Vec<String> {
        let others = self.nodes().into_iter().skip(1).filter(|node| node.kind != "part");
        others.map(|node| node.name.clone()).collect()
    }
}

fn transport(node: &Node) -> Option<Transport> {
    match node.tran.as_deref() {
        Some("sata" | "ata") => Some(Transport::Sata),
        Some("nvme") => Some(Transport::Nvme),
        Some("usb") => Some(Transport::Usb),
        Some("virtio") => Some(Transport::Virtio),
        Some("mmc") => Some(Transport::Mmc),
        Some("sas" | "fc" | "iscsi" | "spi") => Some(Transport::Scsi),
        _ if node.name.starts_with("vd") => Some(Transport::Virtio),
        _ if node.name.starts_with("mmcblk") => Some(Transport::Mmc),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const TEXT: &str = r#"{"blockdevices": [
        {"name":"sda","maj:min":"8:0","type":"disk","size":4000,"ro":false,"rota":true,"tran":"sata","model":"WD ","serial":" A1","wwn":"0x5",
         "children":[{"name":"sda1","maj:min":"8:1","type":"part","size":3000,"ro":false,"rota":true,"tran":null,"model":null,"serial":null,"wwn":null,
           "children":[{"name":"md0","maj:min":"9:0","type":"raid1","size":3000,"ro":false,"rota":true}]}]},
        {"name":"sr0","maj:min":"11:0","type":"rom","size":4000},
        {"name":"zram0","maj:min":"252:0","type":"disk","size":4000},
        {"name":"loop3","maj:min":"7:3","type":"loop","size":0},
        {"name":"../x","maj:min":"7:4","type":"disk","size":5}]}"#;

    #[test]
    fn whole_disks_are_found_with_what_stands_on_them() {
        let drives = parse(TEXT).unwrap();
        assert_eq!(drives.len(), 1);
        let disk = drives[0].seen(&|path| if path == "diskseq" { "9\n".to_owned() } else { String::new() }).unwrap();
        assert_eq!((disk.identity.serial.as_str(), disk.seq, disk.model.as_str()), ("A1", 9, "WD"));
        assert_eq!(drives[0].holders(), ["md0"]);
        assert_eq!(drives[0].partitions()[0].joined(), ["md0"]);
        assert_eq!(drives[0].numbers(), ["8:0", "8:1", "9:0"]);
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_text_breaks_it(text in malformed(TEXT), told in malformed("9\n")) {
            for drive in parse(&text).unwrap_or_default() {
                let names = drive.partitions().iter().map(|it| it.name.clone()).collect::<BTreeSet<_>>();
                prop_assert!(names.iter().chain([&drive.node.name]).all(|it| is_name(it)), "{:?}", text);
                prop_assert!(drive.idle_partitions(|_, _| false).is_subset(&names), "{:?}", text);
                prop_assert_eq!(drive.numbers().len(), drive.nodes().len());
                prop_assert!(drive.holders().len() < drive.nodes().len());
                drop((drive.seen(&|_| told.clone()), drive.node.joined()));
            }
        }
    }
}
