//! File systems on two disks: what each half says of itself, how a mounted one stands, and how one is made, mounted without
//! a half, and filled anew.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use piccolo_schema::disk::Filesystem;

use super::{
    LOOK, blocking,
    content::{clear_mark, later_marks},
    hands::{Hands, nonce},
    make::{erase, failed, mark, take},
    place::mounted_of,
    program,
    table::{Table, inside_of, kernel_name},
};
use crate::{
    clock,
    host::{
        DiskSeen, DisksView, Half, HalfOrder, HostError, MakeOrder, Making, Mount, PairSeen, Reason, RebuildOrder,
        Signature,
    },
};

/// Where the kernel tells of mounted file systems.
const MOUNTED: &str = "/sys/fs/btrfs";
/// How long it may take to begin something that goes on by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns what the half on a device says of itself.
pub(super) async fn half(name: &str) -> Result<Half, HostError> {
    let path = format!("/dev/{name}");
    let text = program::run("btrfs", ["inspect-internal", "dump-super", &path], LOOK).await?;
    let none = || HostError::new(Reason::Failed, format!("`btrfs` does not say of what `{path}` is a part"));
    parse_half(&text).ok_or_else(none)
}

/// Does so where a device holds one of several.
///
/// # Errors
/// When that can't be told, which is another thing than that it holds one for itself.
pub(super) async fn half_of(name: &str, signatures: &[Signature]) -> Result<Option<Half>, HostError> {
    if !signatures.iter().any(|it| it.kind == Filesystem::Btrfs.as_str()) {
        return Ok(None);
    }
    match half(name).await {
        Ok(half) => Ok(Some(half).filter(|it| it.of > 1)),
        // Without its program there are no halves on this machine, and the kernel mounts the others all the same.
        Err(error) if error.reason == Reason::Refused => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_half(text: &str) -> Option<Half> {
    let word = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim())
    };
    let number = |key| word(key)?.parse::<u64>().ok();
    Some(Half {
        uuid: word("dev_item.uuid")?.to_owned(),
        number: number("dev_item.devid")?,
        of: number("num_devices")?,
        generation: number("generation")?,
    })
}

/// Returns the devices of each mounted btrfs, by its UUID.
pub(super) fn mounted() -> BTreeMap<String, Vec<String>> {
    let names = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let all = names(Path::new(MOUNTED)).into_iter().filter(|it| it.len() == 36);
    let called = |name: String| inside_of(&name).unwrap_or(name);
    let devices = |uuid: &str| names(&Path::new(MOUNTED).join(uuid).join("devices")).into_iter().map(called).collect();
    all.map(|uuid| (uuid.clone(), devices(&uuid))).collect()
}

/// Returns true if a device is a part of a mounted btrfs.
fn carries(uuid: &str, name: &str) -> bool {
    Path::new(MOUNTED).join(uuid).join("devices").join(kernel_name(name)).symlink_metadata().is_ok()
}

/// Returns true if what is mounted at the place of a mount is what it should be. The kernel calls one on two disks by
/// either of them.
pub(super) fn is_at(mount: &Mount, table: &Table) -> bool {
    let Some(device) = mount.at.as_ref().and_then(|at| table.at(at)) else { return false };
    let Some(name) = device.strip_prefix("/dev/") else { return false };
    if mount.mirror.is_some() { carries(&mount.uuid, name) } else { name == mount.device }
}

/// Returns how a mounted file system on two disks stands.
pub(super) async fn seen(mount: &Mount, disks: &[DiskSeen]) -> Option<PairSeen> {
    let (at, mirror) = mount.at.as_ref().zip(mount.mirror.as_ref())?;
    let text = program::run("btrfs", ["filesystem", "show", "--raw", at], LOOK).await.ok()?;
    let progress = program::run("btrfs", ["replace", "status", "-1", at], LOOK).await.unwrap_or_default();
    let home = Path::new(MOUNTED).join(&mount.uuid);
    let told = |path: &str| fs::read_to_string(home.join(path)).unwrap_or_default().trim().to_owned();
    let once = |kind: &str, way: &str| {
        told(&format!("allocation/{kind}/{way}/total_bytes")).parse::<u64>().is_ok_and(|bytes| bytes > 0)
    };
    let members: BTreeMap<u64, Option<String>> = parse_members(&text)
        .into_iter()
        .map(|(number, name)| (number, name.map(|it| disk_below(&it, disks))))
        .collect();
    // One that was pulled out may be back under its name, but is no part of it any more.
    let joined = |disk: &DiskSeen| mirror.seqs.is_empty() || mirror.seqs.contains(&disk.seq);
    let is_here = |name: &Option<String>| {
        name.as_ref().is_some_and(|name| disks.iter().any(|disk| disk.device == *name && joined(disk)))
    };
    let mut devices: Vec<String> = members.values().filter(|it| is_here(it)).filter_map(Option::clone).collect();
    devices.sort();
    Some(PairSeen {
        devices,
        lacks: members.iter().find(|(number, name)| **number > 0 && !is_here(name)).map(|(number, _)| *number),
        generation: told("generation").parse().unwrap_or_default(),
        rebuilt: parse_progress(&progress),
        uneven: ["data", "metadata", "system"].iter().any(|kind| once(kind, "single") || once(kind, "dup")),
        moves: !matches!(told("exclusive_operation").as_str(), "" | "none"),
    })
}

/// Returns what the kernel calls the disk that a member is on: it may be what is inside of an encrypted one.
fn disk_below(member: &str, disks: &[DiskSeen]) -> String {
    let inside = inside_of(member).unwrap_or_else(|| member.to_owned());
    let is_it = |disk: &&DiskSeen| disk.luks.iter().any(|it| it.opened.as_ref().is_some_and(|it| it.device == inside));
    disks.iter().find(is_it).map_or(inside, |it| it.device.clone())
}

/// Reads which device has which number; none where it is missing.
fn parse_members(text: &str) -> BTreeMap<u64, Option<String>> {
    let member = |line: &str| {
        let mut words = line.split_whitespace();
        let number = (words.next()? == "devid").then(|| words.next()?.parse().ok()).flatten()?;
        Some((number, words.last()?.strip_prefix("/dev/").map(str::to_owned)))
    };
    text.lines().filter_map(member).collect()
}

/// Reads how much of a new half is filled, while one is.
fn parse_progress(text: &str) -> Option<u8> {
    let (percent, _) = text.split_once("% done")?;
    let whole = percent.trim().split('.').next()?;
    whole.parse().ok().filter(|it| *it <= 100)
}

/// Returns the options by which the halves are mounted that are to be.
pub(super) fn options(mount: &Mount) -> Vec<String> {
    let mut options = mount.options.clone();
    if let Some(mirror) = &mount.mirror {
        options.extend(mirror.device.iter().map(|it| format!("device=/dev/{it}")));
        options.extend((mirror.device.is_none() || mirror.degraded).then(|| "degraded".to_owned()));
    }
    options
}

/// Makes the kernel forget of halves that somebody has told it of: it would take one in that is out of date.
pub(super) async fn forget_strays(mount: &Mount) {
    if mount.mirror.as_ref().is_some_and(|it| it.device.is_none()) {
        drop(program::run("btrfs", ["device", "scan", "--forget"], PATIENCE).await);
    }
}

/// Looks whether a half that is mounted alone is alone, and unmounts it if it is not.
pub(super) async fn is_alone(mount: &Mount) -> Result<(), HostError> {
    let (Some(at), Some(mirror)) = (&mount.at, &mount.mirror) else { return Ok(()) };
    let others = mounted().remove(&mount.uuid).unwrap_or_default();
    if mirror.device.is_some() || others.iter().all(|it| *it == mount.device) {
        return Ok(());
    }
    program::run("umount", [at], PATIENCE).await?;
    Err(HostError::new(Reason::Refused, "The kernel took in a half that is out of date; it was unmounted again"))
}

/// Begins to fill a device in the place of a lost half. It goes on by itself.
pub(super) async fn replace(lost: u64, path: &str, at: &str) -> Result<(), HostError> {
    let lost = lost.to_string();
    program::begun("btrfs", ["replace", "start", "-r", "-f", &lost, path, at], PATIENCE).await
}

/// Begins to keep everything twice again. Dropped before its end, it began or did not.
pub(super) async fn even(hands: &Hands, subject: &str) -> Result<(), HostError> {
    let (_, at) = mounted_of(&hands.book, subject)?;
    let words = ["balance", "start", "--background", "-dconvert=raid1,soft", "-mconvert=raid1,soft", &at];
    program::begun("btrfs", words, PATIENCE).await
}

impl Hands {
    /// Makes a file system on two disks: both are locked and looked at again before either is written to.
    pub(super) async fn make_two(&self, subject: &str, order: &MakeOrder, half: &HalfOrder) -> Result<(), HostError> {
        let its = order.of_half(half);
        let paths = [format!("/dev/{}", order.device), format!("/dev/{}", its.device)];
        let [one, two] = paths.clone();
        let locks = blocking(move || Ok([take(&one)?, take(&two)?])).await?;
        let disks = [self.as_ordered(order).await?, self.as_ordered(&its).await?];
        let nonces = [order.resumes.clone().map_or_else(nonce, Ok)?, half.resumes.clone().map_or_else(nonce, Ok)?];
        let second = DisksView::second(subject);
        let names = [subject, &second];
        for number in 0..2 {
            let ticket = [&order.ticket, &half.ticket][number];
            self.write_down(names[number], &nonces[number], ticket.as_deref(), &disks[number])?;
        }
        for number in 0..2 {
            mark(&locks[number], vec![0], &nonces[number]).await?;
        }
        for number in 0..2 {
            erase(&disks[number], &paths[number]).await?;
            mark(&locks[number], later_marks(disks[number].identity.size), &nonces[number]).await?;
        }
        self.make_on(order, &paths, &locks, &disks).await?;
        self.book.end(&second)?;
        self.book.end(subject)
    }

    /// Writes down what begins on a disk, with the ticket that is used up for it.
    fn write_down(&self, name: &str, nonce: &str, leave: Option<&str>, disk: &DiskSeen) -> Result<(), HostError> {
        let before = self.book.read()?.making.into_iter().find(|it| it.subject == name && it.nonce == nonce);
        let ticket = leave.map(str::to_owned).or_else(|| before.and_then(|it| it.ticket));
        let (subject, identity) = (name.to_owned(), disk.identity.clone());
        let making = Making { subject, identity, nonce: nonce.to_owned(), ticket };
        self.book.begin(&making, leave, disk, clock::now())
    }

    /// Fills a disk in the place of the lost half of what is mounted.
    ///
    /// Dropped before the end, the disk has our mark and its record, and it is begun anew; or it is being filled already.
    pub(super) async fn rebuild(&self, subject: &str, order: &RebuildOrder) -> Result<(), HostError> {
        let (mount, at) = mounted_of(&self.book, subject)?;
        if mount.uuid != order.uuid || at != order.at {
            return Err(HostError::new(Reason::Gone, format!("Another file system is mounted at `{at}` by now")));
        }
        if let Some(open) = &order.onto.open {
            return self.rebuild_inside(subject, (order, open), &at).await;
        }
        let path = format!("/dev/{}", order.onto.device);
        let lock = blocking({
            let path = path.clone();
            move || take(&path)
        })
        .await?;
        let one = MakeOrder { second: None, ..MakeOrder::default() };
        let disk = self.as_ordered(&one.of_half(&order.onto)).await?;
        if let Some(stale) = &order.stale
            && disk.half.as_ref() != Some(stale)
        {
            let message = format!("{} was written to since this was planned; nothing was written", disk.name());
            return Err(HostError::new(Reason::Refused, message));
        }
        let nonce = order.onto.resumes.clone().map_or_else(nonce, Ok)?;
        let second = DisksView::second(subject);
        self.write_down(&second, &nonce, order.onto.ticket.as_deref(), &disk)?;
        mark(&lock, vec![0], &nonce).await?;
        erase(&disk, &path).await?;
        self.book.joined(subject, order.onto.seq)?;
        replace(order.lost, &path, &at).await?;
        blocking(move || {
            let mut lock = lock;
            clear_mark(&mut lock, 0).and_then(|()| lock.sync_all()).map_err(|error| failed(&error))
        })
        .await?;
        self.book.end(&second)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUPER: &str = "superblock: bytenr=65536, device=/dev/loop4\n\
        ---------------------------------------------------------\ncsum\t\t\t0x1 [match]\nlabel\t\t\thalf\n\
        generation\t\t8\nchunk_root_generation\t7\nnum_devices\t\t2\nuuid_tree_generation\t6\n\
        dev_item.uuid\t\t4db396fc-bcf1-4b8c-bffb-42d903e81d15\ndev_item.devid\t\t2\ndev_item.generation\t0\n";
    const SHOWN: &str = "Label: 'half'  uuid: 245af54d-402a-462a-a07e-a9824d96226e\n\
        \tTotal devices 2 FS bytes used 21147648\n\tdevid    1 size 268435456 used 142606336 path /dev/loop0\n\
        \tdevid    2 size 0 used 0 path  MISSING\n";

    #[test]
    fn a_half_tells_of_itself() {
        let half = parse_half(SUPER).unwrap();
        assert_eq!((half.number, half.of, half.generation), (2, 2, 8));
        assert_eq!(half.uuid, "4db396fc-bcf1-4b8c-bffb-42d903e81d15");
        assert_eq!(parse_half("generation 8"), None);
    }

    #[test]
    fn what_is_missing_is_told_from_what_is_there() {
        let members = parse_members(SHOWN);
        assert_eq!(members, [(1, Some("loop0".to_owned())), (2, None)].into());
        assert_eq!(parse_progress("12.3% done, 0 write errs, 0 uncorr. read errs\n"), Some(12));
        assert_eq!(parse_progress("Never started\n"), None);
        assert_eq!(parse_progress("Started on 28.Nov 23:00:10, finished on 28.Nov 23:00:10, 0 write errs\n"), None);
    }

    #[test]
    fn a_half_alone_is_mounted_as_such() {
        let with = |device: Option<&str>| {
            let mirror = crate::host::Mirrored { device: device.map(str::to_owned), ..Default::default() };
            Mount { options: vec!["nodev".to_owned()], mirror: Some(mirror), ..Mount::default() }
        };
        assert_eq!(options(&with(Some("sdc"))), ["nodev", "device=/dev/sdc"]);
        assert_eq!(options(&with(None)), ["nodev", "degraded"]);
        assert_eq!(options(&Mount { mirror: None, ..with(None) }), ["nodev"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..SHOWN.len(), what in "[\\PC \n]{0,12}") {
            let text = format!("{}{what}{}", &SHOWN[..at], &SHOWN[at..]);
            drop((parse_members(&text), parse_progress(&text), parse_half(&text)));
            let text = format!("{}{what}", &SUPER[..at.min(SUPER.len())]);
            drop((parse_half(&text), parse_progress(&format!("{what}% done"))));
        }
    }
}
