//! Where partitions lie on a disk. Pure, and told before anything is written.

use piccolo_schema::{DiskSpec, disk::Partition, quantity::Bytes};

use crate::host::human;

/// Partitions begin and end at whole mebibytes, which suits every disk.
const UNIT: u64 = 1 << 20;

/// Where a partition lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) size: u64,
}

/// Lays partitions out on a disk of this size, in their order; or says what does not fit.
pub(super) fn layout(spec: &DiskSpec, disk: u64) -> Result<Vec<Extent>, String> {
    let mut start = UNIT;
    let mut extents = Vec::new();
    for part in &spec.partitions {
        let room = end(disk).saturating_sub(start);
        let size = match part.size {
            Some(size) => whole(size.get()),
            None => rest(part, start, disk),
        };
        let alone = spec.of_part(part);
        let least = alone.filesystem.least_if(alone.encryption.is_some()).max(part.min_size.map_or(0, Bytes::get));
        let needs = if part.size.is_some() { size } else { least };
        if size > room || size < needs {
            let (needs, room) = (human(needs), human(room));
            return Err(format!("partition `{}` needs {needs}, and there is room for {room}", part.name));
        }
        extents.push(Extent { start, size });
        start += size;
    }
    Ok(extents)
}

/// Returns what is left for a partition that begins here, and that takes what is left.
pub(super) fn rest(part: &Partition, start: u64, disk: u64) -> u64 {
    let room = end(disk).saturating_sub(start);
    part.max_size.map_or(room, |most| whole(most.get()).min(room))
}

/// Returns a size as it can be had.
pub(super) fn whole(size: u64) -> u64 {
    size.div_ceil(UNIT).saturating_mul(UNIT)
}

/// Returns where the room for partitions ends: the copy of their table lies behind it.
fn end(disk: u64) -> u64 {
    (disk / UNIT).saturating_sub(1) * UNIT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use piccolo_schema::disk::Encryption;

    use super::*;

    fn spec(partitions: &[Partition]) -> DiskSpec {
        DiskSpec { partitions: partitions.to_vec(), ..DiskSpec::default() }
    }

    fn part(size: Option<u64>) -> Partition {
        Partition { name: "it".to_owned(), size: size.map(Bytes::new), ..Partition::default() }
    }

    #[test]
    fn the_last_takes_what_is_left() {
        let parts = [part(Some(100 * UNIT + 1)), part(None)];
        let [first, last] = layout(&spec(&parts), 1000 * UNIT + 5).unwrap().try_into().unwrap();
        assert_eq!((first.start, first.size), (UNIT, 101 * UNIT));
        assert_eq!((last.start, last.size), (102 * UNIT, 897 * UNIT));
        let most = Partition { max_size: Some(Bytes::new(20 * UNIT)), ..part(None) };
        assert_eq!(layout(&spec(&[most]), 1000 * UNIT).unwrap()[0].size, 20 * UNIT);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let least = Partition { min_size: Some(Bytes::new(50 * UNIT)), ..part(None) };
        for parts in
            [vec![part(Some(99 * UNIT))], vec![part(Some(60 * UNIT)), least], vec![part(Some(90 * UNIT)), part(None)]]
        {
            let told = layout(&spec(&parts), 100 * UNIT).unwrap_err();
            assert!(told.starts_with("partition `it` needs "), "{told}");
        }
    }

    #[test]
    fn what_is_encrypted_needs_room_for_its_header_too() {
        let plain = spec(&[part(None)]);
        let encrypted = DiskSpec { encryption: Some(Encryption::default()), ..plain.clone() };
        assert!(layout(&plain, 32 * UNIT).is_ok() && layout(&encrypted, 34 * UNIT).is_ok());
        let told = layout(&encrypted, 32 * UNIT).unwrap_err();
        assert_eq!(told, "partition `it` needs 33.5 MB, and there is room for 31.4 MB");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn partitions_lie_beside_each_other_on_the_disk(
            sizes in proptest::collection::vec(any::<u64>().prop_map(|it| it >> 24), 0..6),
            rest in any::<bool>(),
            disk in any::<u64>(),
        ) {
            let mut parts: Vec<Partition> = sizes.into_iter().map(|it| part(Some(it.max(1)))).collect();
            parts.extend(rest.then(|| part(None)));
            let Ok(extents) = layout(&spec(&parts), disk) else { return Ok(()) };
            let mut before = UNIT;
            for it in extents {
                prop_assert!(it.start == before && it.size > 0 && it.size % UNIT == 0);
                before = it.start + it.size;
            }
            prop_assert!(before <= disk || parts.is_empty());
        }
    }
}
