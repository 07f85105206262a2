//! One of two disks, and what is said of it.

use piccolo_schema::disk::Selector;

use super::{Refusal, Verdict, locked::Lock};
use crate::host::{Alone, DiskSeen, Half, HalfOrder, LuksSeen, OpenHalf, PairSeen};

/// One of the two disks and what is done with it, or why there is none.
pub(super) struct Side<'a> {
    pub(super) select: &'a Selector,
    pub(super) disk: Result<&'a DiskSeen, Refusal>,
    pub(super) verdict: Result<Verdict, Refusal>,
    /// What is behind its encryption, if it is encrypted.
    pub(super) lock: Option<Lock<'a>>,
}

/// A disk that is a half of what the manifest means.
#[derive(Clone, Copy)]
pub(super) struct Used<'a> {
    pub(super) disk: &'a DiskSeen,
    pub(super) half: &'a Half,
    pub(super) uuid: &'a str,
    pub(super) device: &'a str,
}

impl<'a> Side<'a> {
    /// Returns the half that it is; none if there is no disk, or it is none yet.
    pub(super) fn used(&self) -> Result<Option<Used<'_>>, Refusal> {
        let (Ok(disk), Ok(Verdict::Use { uuid, device, .. })) = (&self.disk, &self.verdict) else { return Ok(None) };
        let (uuid, device) = match &self.lock {
            None => (uuid.as_str(), device.as_str()),
            Some(Lock::Holds(found, opened)) => (*found, opened.device.as_str()),
            Some(Lock::Empty(_) | Lock::Shut(_)) => return Ok(None),
        };
        match Used::of(disk, uuid).filter(|it| it.half.of == 2) {
            Some(used) => Ok(Some(Used { uuid, device, ..used })),
            None => {
                let message = format!(
                    "{} holds a file system for itself, which does not become a half of two; give it away ({}), or take \
                     `mirror` out",
                    disk.name(),
                    ways_of(&[disk])
                );
                Err(("NotMirrored", message))
            }
        }
    }

    /// Returns the disk that may be filled in the place of a lost half, and how that is ordered; not yet where it has to be
    /// encrypted first.
    pub(super) fn fillable(&self) -> Option<(&'a DiskSeen, &Verdict, Option<HalfOrder>)> {
        let (Ok(disk), Ok(verdict)) = (&self.disk, &self.verdict) else { return None };
        match (verdict, &self.lock) {
            (Verdict::Make { .. }, _) => Some((disk, verdict, half_order(disk, verdict))),
            (_, Some(Lock::Empty(open))) => {
                Some((disk, verdict, Some(HalfOrder { open: Some(open.clone()), ..order_of(disk) })))
            }
            _ => None,
        }
    }

    pub(super) fn is_there(&self) -> Result<(&'a DiskSeen, &Verdict), Refusal> {
        match (&self.disk, &self.verdict) {
            (Err(refusal), _) | (_, Err(refusal)) => {
                Err((refusal.0, format!("{}; both disks are made at once", refusal.1)))
            }
            (_, Ok(Verdict::Leave(reason, message))) => Err((*reason, message.clone())),
            (Ok(disk), Ok(verdict)) => Ok((disk, verdict)),
        }
    }

    /// Says why this half is not there.
    pub(super) fn missing(&self) -> String {
        match (&self.disk, &self.verdict) {
            (Ok(_), Ok(Verdict::Leave(_, message))) => message.clone(),
            (Err((reason, message)), _) if *reason != "NoSuchDisk" => message.clone(),
            _ => format!("The half on {} is missing", words(self.select)),
        }
    }
}

impl<'a> Used<'a> {
    /// Returns the half that is on a disk, or inside of it where that is encrypted and open.
    pub(super) fn of(disk: &'a DiskSeen, uuid: &'a str) -> Option<Self> {
        let plain = disk.half.as_ref().map(|half| Self { disk, half, uuid, device: &disk.device });
        let mut opened = disk.luks.iter().filter_map(|it| it.opened.as_ref());
        plain.or_else(|| opened.find_map(|it| Some(Self { disk, half: it.half.as_ref()?, uuid, device: &it.device })))
    }

    /// Returns how it is ordered that it is filled anew itself.
    pub(super) fn anew(self) -> HalfOrder {
        let open = |luks: &LuksSeen| {
            let opened = luks.opened.as_ref().filter(|it| it.device == self.device)?;
            let (disk, header) = (luks.device.clone(), luks.uuid.clone());
            Some(OpenHalf { disk, header, device: opened.device.clone() })
        };
        HalfOrder { open: self.disk.luks.iter().find_map(open), ..order_of(self.disk) }
    }
}

impl Used<'_> {
    pub(super) fn is_in(self, pair: &PairSeen) -> bool {
        pair.devices.contains(&self.disk.device)
    }

    pub(super) fn newest(self, other: Option<Self>) -> u64 {
        self.half.generation.max(other.map_or(0, |it| it.half.generation))
    }

    pub(super) fn alone(self, from: u64) -> Alone {
        Alone { half: self.half.uuid.clone(), from }
    }
}

pub(super) fn order_of(disk: &DiskSeen) -> HalfOrder {
    HalfOrder {
        device: disk.device.clone(),
        seq: disk.seq,
        identity: disk.identity.clone(),
        digest: disk.digest(),
        ..HalfOrder::default()
    }
}

pub(super) fn half_order(disk: &DiskSeen, verdict: &Verdict) -> Option<HalfOrder> {
    let Verdict::Make { ticket, resumes } = verdict else { return None };
    Some(HalfOrder { ticket: ticket.clone(), resumes: resumes.clone(), ..order_of(disk) })
}

pub(super) fn seqs(one: Used<'_>, other: Option<Used<'_>>) -> Vec<u64> {
    let mut seqs: Vec<u64> = [Some(one), other].into_iter().flatten().map(|it| it.disk.seq).collect();
    seqs.sort_unstable();
    seqs
}

pub(super) fn written_apart(one: Used<'_>, other: Used<'_>) -> Refusal {
    let said = |it: Used<'_>| format!("{} (generation {})", it.disk.name(), it.half.generation);
    let message = format!(
        "{} and {} may each have been written to without the other, so neither stands for both; look at each alone, then give \
         one away: {}",
        said(one),
        said(other),
        ways(&[one, other])
    );
    ("HalvesApart", message)
}

/// Says how one of these is given away. There is no ticket for one that is open, and it is closed with its manifest.
pub(super) fn ways(disks: &[Used<'_>]) -> String {
    ways_of(&disks.iter().map(|it| it.disk).collect::<Vec<_>>())
}

fn ways_of(disks: &[&DiskSeen]) -> String {
    let is_open = disks.iter().flat_map(|it| &it.luks).any(|it| it.opened.is_some());
    let first = if is_open { "take this manifest out, which closes what is open, then run " } else { "" };
    let ways: Vec<String> = disks.iter().map(|it| format!("`piccolo disk wipe-ticket {}`", by_name(it))).collect();
    format!("{first}{}", ways.join(" or "))
}

fn by_name(disk: &DiskSeen) -> &str {
    let identity = &disk.identity;
    [identity.serial.as_str(), &identity.wwn].into_iter().find(|it| !it.is_empty()).unwrap_or(&disk.device)
}

fn words(select: &Selector) -> String {
    let known = [("serial number", &select.serial), ("world wide name", &select.wwn), ("name", &select.id)];
    let told = known.into_iter().find_map(|(what, it)| Some(format!("the disk with the {what} `{}`", it.as_ref()?)));
    told.unwrap_or_else(|| "the disk that is asked for".to_owned())
}

pub(super) fn of_the_mirror((reason, message): Refusal) -> Refusal {
    (reason, message.replace("`select`", "`mirror.select`"))
}
