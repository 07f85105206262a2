//! Rules of partitions.

use super::{mount, note, options};
use crate::{
    disk::{Disk, Partition},
    parse::{Code, Path, Violation},
    volume::{lies_in, plain},
};

/// How many partitions a disk may have.
const MOST: usize = 16;

impl Disk {
    /// Checks the partitions of a disk that has some.
    pub(super) fn partitions(&self, out: &mut Vec<Violation>) {
        let spec = &self.spec;
        let beside = [
            ("mount", spec.mount.is_some(), "a disk with partitions is mounted nowhere, but each of them is"),
            ("options", !spec.options.is_empty(), "a disk with partitions is mounted nowhere, but each of them is"),
            ("mirror", spec.mirror.is_some(), "what is in partitions is not kept on two disks here yet"),
        ];
        for (key, is_there, reason) in beside {
            if is_there {
                let help = match key {
                    "mount" | "options" => format!("move `{key}` to the partition that is meant"),
                    _ => format!("take out `{key}` or `partitions`"),
                };
                note(out, Code::Conflict, Path::spec(key), reason.to_owned(), &help);
            }
        }
        if spec.partitions.len() > MOST {
            let reason = format!("{} partitions are more than the {MOST} that a disk may have", spec.partitions.len());
            note(out, Code::OutOfRange, Path::spec("partitions"), reason, "put more into fewer");
        }
        for (index, part) in spec.partitions.iter().enumerate() {
            let (at, before) = (Path::spec("partitions").index(index), &spec.partitions[..index]);
            if before.iter().any(|it| it.name == part.name) {
                let reason = format!("two partitions are called `{}`", part.name);
                note(out, Code::Duplicate, at.clone().key("name"), reason, "give each its own name");
            }
            if part.plain && spec.encryption.is_none() {
                let reason = "nothing on this disk is encrypted, so `plain` says nothing".to_owned();
                note(
                    out,
                    Code::Conflict,
                    at.clone().key("plain"),
                    reason,
                    "take it out, or add `encryption` to the disk",
                );
            }
            let filesystem = part.filesystem.unwrap_or(spec.filesystem);
            mount(part.mount.as_deref(), filesystem, &at, out);
            options(&part.options, filesystem, &at, out);
            nests(part, before, &at, out);
            self.sizes(part, index + 1 == spec.partitions.len(), &at, out);
        }
    }

    fn sizes(&self, part: &Partition, is_last: bool, at: &Path, out: &mut Vec<Violation>) {
        let filesystem = part.filesystem.unwrap_or(self.spec.filesystem);
        let is_encrypted = self.spec.of_part(part).encryption.is_some();
        let least = filesystem.least_if(is_encrypted);
        let bounds = [("minSize", part.min_size), ("maxSize", part.max_size)];
        match part.size {
            None if !is_last => {
                let reason = "only the last partition can take what is left".to_owned();
                note(out, Code::MissingKey, at.clone(), reason, "add `size`, such as `size = \"64Gi\"`");
            }
            None => {}
            Some(_) => {
                for (key, _) in bounds.iter().filter(|(_, bound)| bound.is_some()) {
                    let reason = format!("`size` says how large it is, so `{key}` says nothing");
                    note(out, Code::Conflict, at.clone().key(key), reason, "keep one of the two");
                }
            }
        }
        let most = [("size", part.size), ("maxSize", part.max_size)];
        for (key, size) in most.into_iter().filter_map(|(key, size)| Some((key, size?))) {
            if size.get() < least {
                let how = if is_encrypted { "encrypted " } else { "" };
                let reason = format!("{how}{} needs at least {} MiB", filesystem.as_str(), least >> 20);
                note(out, Code::OutOfRange, at.clone().key(key), reason, "give it more room");
            }
        }
        if let (Some(least), Some(most)) = (part.min_size, part.max_size)
            && least > most
        {
            let reason = "`minSize` is greater than `maxSize`, so nothing fits".to_owned();
            note(out, Code::OutOfRange, at.clone().key("minSize"), reason, "give `minSize` the smaller number");
        }
    }
}

/// One partition is not mounted in another one of the same disk.
fn nests(part: &Partition, before: &[Partition], at: &Path, out: &mut Vec<Violation>) {
    let Some(here) = part.mount.as_deref().map(plain) else { return };
    let place = |it: &Partition| it.mount.as_deref().map(plain);
    let other =
        before.iter().find(|it| place(it).is_some_and(|there| lies_in(&here, &there) || lies_in(&there, &here)));
    if let Some(other) = other {
        let reason = format!("`{here}` and the place of `{}` lie in each other", other.name);
        note(out, Code::Conflict, at.clone().key("mount"), reason, "give each partition a place beside the others");
    }
}
