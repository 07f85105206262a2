//! Partitions in memory.

use std::collections::BTreeMap;

use piccolo_schema::disk::{Filesystem, part_key};

use super::{disks::Slot, world::World};
use crate::host::{HALF_MADE, LUKS, MakeOrder, Mount, Partition, Signature, parted::HALF_TABLE};

impl Slot {
    /// Makes the partitions of an order, half or to the end. What is half made and encrypted is still open.
    pub(super) fn part(&mut self, subject: &str, (order, signer): (&MakeOrder, Option<&str>), half: bool) {
        self.seen.marker = None;
        self.seen.table = Some(if half { HALF_TABLE.to_owned() } else { order.label.clone() });
        self.seen.signatures = vec![Signature { offset: 512, kind: "gpt".to_owned(), ..Signature::default() }];
        self.seen.partitions = Vec::new();
        (self.seen.luks, self.inside, self.seen.holders) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (number, part) in (1..).zip(&order.parts) {
            let one = order.of_part(part, &format!("{}{number}", order.device));
            let short = part.label.trim_start_matches("pic-");
            let label = Some(if half { HALF_MADE.to_owned() } else { part.label.clone() });
            let (kind, uuid) = (part.filesystem.as_str().to_owned(), Some(format!("{:08x}-{short}", order.seq)));
            let mut made = Signature { offset: 1080, kind, uuid, label };
            if one.encryption.is_some() {
                let uuid = format!("1111{:04x}-{short}", order.seq);
                let header = Signature { offset: 0, kind: LUKS.to_owned(), uuid: Some(uuid.clone()), ..made.clone() };
                self.lock(&one, signer, &uuid, Signature { label: Some(part.label.clone()), ..made });
                if half && part.filesystem != Filesystem::Swap {
                    self.open(&part_key(subject, &part.name), &uuid);
                }
                made = header;
            }
            self.seen.partitions.push(Partition {
                device: one.device,
                name: part.name.clone(),
                start: part.start,
                size: part.size,
                joined: Vec::new(),
                signatures: vec![made],
            });
        }
    }
}

impl World {
    /// Lets a partition have the size that what it holds fills. One that would reach behind the disk, or into another one, is a
    /// trespass.
    pub(super) fn extend(&mut self, mount: &Mount) {
        let mut wrong = None;
        for slot in self.shelf.disks.values_mut() {
            let disk = &mut slot.seen;
            let others: Vec<u64> = disk.partitions.iter().map(|it| it.start).collect();
            let inside =
                disk.open_parts().find(|(.., it)| it.device == mount.device).map(|(part, ..)| part.device.clone());
            let is_it = |it: &&mut Partition| {
                inside.as_ref() == Some(&it.device)
                    || it.whole().is_some_and(|it| it.uuid.as_ref() == Some(&mount.uuid))
            };
            let Some(part) = disk.partitions.iter_mut().find(is_it) else { continue };
            let end = part.start.saturating_add(mount.disk_size);
            if end > disk.identity.size || others.iter().any(|it| part.start < *it && *it < end) {
                wrong = Some(format!("extend {}", part.device));
            }
            part.size = part.size.max(mount.disk_size);
        }
        self.trespasses.extend(wrong);
    }
}
