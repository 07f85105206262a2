//! Partitions in memory.

use super::{disks::Slot, world::World};
use crate::host::{
    HALF_MADE, MakeOrder, Mount, Partition, Signature,
    parted::{HALF_TABLE, PartOrder},
};

impl Slot {
    /// Makes the partitions of an order, half or to the end.
    pub(super) fn part(&mut self, order: &MakeOrder, half: bool) {
        let seen = &mut self.seen;
        seen.marker = None;
        seen.table = Some(if half { HALF_TABLE.to_owned() } else { order.label.clone() });
        seen.signatures = vec![Signature { offset: 512, kind: "gpt".to_owned(), ..Signature::default() }];
        let one = |(number, part): (usize, &PartOrder)| Partition {
            device: format!("{}{number}", order.device),
            name: part.name.clone(),
            start: part.start,
            size: part.size,
            signatures: vec![Signature {
                offset: 1080,
                kind: part.filesystem.as_str().to_owned(),
                uuid: Some(format!("{:08x}-{}", order.seq, part.label.trim_start_matches("pic-"))),
                label: Some(if half { HALF_MADE.to_owned() } else { part.label.clone() }),
            }],
        };
        seen.partitions = (1..).zip(&order.parts).map(one).collect();
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
            let is_it = |it: &&mut Partition| it.whole().is_some_and(|it| it.uuid.as_ref() == Some(&mount.uuid));
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
