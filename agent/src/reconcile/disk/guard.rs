//! The guard: whether a disk is used as it is, is given a file system, or is left alone. Pure, and all of it.

mod leave;
mod own;
mod parted;

use piccolo_schema::{
    DiskSpec,
    disk::{Filesystem, MountOption},
};

use crate::host::{DiskSeen, DisksView, HALF_MADE, LUKS, MountSeen, Signature, disk_label, human};

/// One manifest, and the disk that it means.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The name of the manifest.
    pub name: &'a str,
    /// What it asks for.
    pub spec: &'a DiskSpec,
    /// The disk.
    pub disk: &'a DiskSeen,
    /// All that is seen.
    pub view: &'a DisksView,
    /// Where a file system is on two disks: the other one, if it is there, and whether this is the second.
    pub pair: Option<(Option<u64>, bool)>,
}

/// What is done with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is used as it is.
    Use {
        /// The UUID of what is on it.
        uuid: String,
        /// The disk or partition that holds it.
        device: String,
        /// Why the ticket of the manifest means nothing, if it names one.
        spent: Option<String>,
    },
    /// It is given a file system.
    Make {
        /// The ticket that is used up for that; none where nothing is on it.
        ticket: Option<String>,
        /// The making that this goes on with.
        resumes: Option<String>,
    },
    /// What was half made is closed, so that it can be made to its end.
    Close {
        /// The partition, where it is one of several.
        part: Option<String>,
        /// The encrypted disk or partition.
        device: String,
        /// Its UUID.
        uuid: String,
    },
    /// It is left alone, with the reason in PascalCase and a sentence.
    Leave(&'static str, String),
}

/// Says what is done with a disk.
pub fn guard(case: Case<'_>) -> Verdict {
    case.decide().unwrap_or_else(|(reason, message)| Verdict::Leave(reason, message))
}

type Decision = Result<Verdict, (&'static str, String)>;
/// The ticket that a manifest names, or none, or why it is worth nothing.
type Leave<'a> = Option<Result<&'a str, (&'static str, String)>>;

impl<'a> Case<'a> {
    fn decide(self) -> Decision {
        let leave = self.ticket();
        if let Some(Ok(ticket)) = leave {
            if let Some(first) = self.closes_first() {
                return Ok(first);
            }
            self.may_write(true)?;
            return Ok(Verdict::Make { ticket: Some(ticket.to_owned()), resumes: None });
        }
        // What has its label was made to its end, whatever marks are left of that.
        if let Some(id) = self.its_table() {
            return self.use_its_table(id, leave);
        }
        if let Some((device, found)) = self.its_own() {
            return self.use_as_it_is(device, found, leave);
        }
        if let Some(nonce) = self.goes_on()? {
            if let Some(first) = self.closes_first() {
                return Ok(first);
            }
            self.may_write(false)?;
            return Ok(Verdict::Make { ticket: None, resumes: Some(nonce) });
        }
        self.is_known()?;
        if self.disk.is_blank() {
            return self.blank(leave);
        }
        if let Some(uuid) = &self.spec.adopt {
            return Err(self.not_adopted(uuid));
        }
        self.is_the_same_way()?;
        self.is_free(true)?;
        Err(self.not_blank(leave))
    }

    /// Returns the making that is to be gone on with, if its marks and its record fit each other.
    fn goes_on(self) -> Result<Option<String>, (&'static str, String)> {
        let disk = self.disk;
        let half = disk.whole().is_some_and(|it| it.label.as_deref() == Some(HALF_MADE)) || disk.is_half_parted();
        let subject = self.making();
        let record = self.view.making.iter().find(|it| it.subject == subject && it.identity == disk.identity);
        let Some(record) = record else {
            return if half || disk.marker.is_some() {
                Err(self.half_made("there is no record of it"))
            } else {
                Ok(None)
            };
        };
        let marker = disk.marker.as_ref().filter(|it| it.nonce == record.nonce);
        let nothing_else = half || (disk.signatures.is_empty() && disk.partitions.is_empty());
        let fits = marker.is_some_and(|it| it.first) || ((marker.is_some() || half || disk.is_blank()) && nothing_else);
        if !fits {
            return if half || disk.marker.is_some() {
                Err(self.half_made("its record is of another making"))
            } else {
                Ok(None)
            };
        }
        if record.ticket != self.spec.wipe && !disk.is_blank() {
            let with = match &record.ticket {
                Some(ticket) => format!("with `wipe = \"{ticket}\"`"),
                None => "without `wipe`".to_owned(),
            };
            return Err(self.half_made(&format!("this manifest began it {with}, and as that it can go on")));
        }
        Ok(Some(record.nonce.clone()))
    }

    fn use_as_it_is(self, device: &str, found: &Signature, leave: Leave<'_>) -> Decision {
        let uuid = found.uuid.clone().unwrap_or_default();
        let inside = self.disk.luks(&uuid).and_then(|it| it.opened.as_ref()?.whole()?.uuid.as_ref());
        let own = self.own().filter(|it| it.present && (it.mount.uuid == uuid || Some(&it.mount.uuid) == inside));
        if own.is_none() {
            self.is_known()?;
            self.is_free(false)?;
            // The halves of one file system share its UUID; those of encrypted ones are headers of their own.
            let half = self.pair.and_then(|(other, _)| other).filter(|_| self.spec.encryption.is_none());
            let shares = |other: &&DiskSeen| {
                other.seq != self.disk.seq && Some(other.seq) != half && other.holds(&uuid).is_some()
            };
            if let Some(twin) = self.view.disks.iter().find(shares) {
                let what = if self.spec.encryption.is_some() { "header" } else { "file system" };
                let message = format!("{} holds the same {what} {uuid}, as a copy does; unplug one", twin.name());
                return Err(("DuplicateUuid", message));
            }
            self.has_its_size()?;
        }
        let reads_only = self.spec.options.contains(&MountOption::ReadOnly);
        if self.disk.read_only && !reads_only {
            let message = format!("{} can only be read; add `ro` to `options`, or unlock it", self.disk.name());
            return Err(("DiskReadOnly", message));
        }
        let spent = leave.and_then(Result::err).map(|(_, message)| message);
        Ok(Verdict::Use { uuid, device: device.to_owned(), spent })
    }

    fn blank(self, leave: Leave<'_>) -> Decision {
        if let Some(uuid) = &self.spec.adopt {
            let message = format!("{} is blank, so there is no `{uuid}` to adopt; take `adopt` out", self.disk.name());
            return Err(("NothingToAdopt", message));
        }
        if let Some(Err(worthless)) = leave {
            return Err(worthless);
        }
        self.may_write(false)?;
        Ok(Verdict::Make { ticket: None, resumes: None })
    }

    /// Returns what keeps anything from being written to the disk.
    fn may_write(self, with_ticket: bool) -> Result<(), (&'static str, String)> {
        self.is_known()?;
        self.is_free(true)?;
        let (disk, filesystem) = (self.disk, self.spec.filesystem);
        if !with_ticket {
            self.has_its_size()?;
        }
        if disk.read_only {
            return Err(("DiskReadOnly", format!("{} can only be read; nothing can be made on it", disk.name())));
        }
        if let Some(failing) = &disk.failing {
            return Err(("DiskFailing", format!("{failing}; nothing new is put on it: replace it")));
        }
        if !self.spec.partitions.is_empty() {
            return self.has_room();
        }
        let least = filesystem.least_if(self.spec.encryption.is_some());
        if disk.identity.size < least {
            let least = human(least);
            let message = format!("{} is too small for {}, which needs {least}", disk.name(), filesystem.as_str());
            return Err(("DiskTooSmall", message));
        }
        Ok(())
    }

    /// Returns an error if it is not certain which disk this is, or what is on it.
    fn is_known(self) -> Result<(), (&'static str, String)> {
        let disk = self.disk;
        let serial = &disk.identity.serial;
        let twin = |other: &&DiskSeen| other.seq != disk.seq && !serial.is_empty() && other.identity.serial == *serial;
        if let Some(twin) = self.view.disks.iter().find(twin) {
            let message = format!(
                "Two disks say that they are {serial}: {} and {}; unplug one, or see whether it hangs on two cables",
                disk.name(),
                twin.name()
            );
            return Err(("DuplicateSerial", message));
        }
        match &disk.trouble {
            Some(trouble) => Err(("DiskUnreadable", trouble.clone())),
            None => Ok(()),
        }
    }

    /// Returns an error if something else uses the disk. Its mount by this manifest is no hindrance to using it, but to
    /// writing over it.
    fn is_free(self, for_writing: bool) -> Result<(), (&'static str, String)> {
        let disk = self.disk;
        let busy = |why: String| Err(("DiskInUse", format!("{}: {why}", disk.name())));
        if disk.system {
            return busy("the machine itself runs from it, so it is left alone".to_owned());
        }
        let itself = if for_writing { Vec::new() } else { self.opened() };
        if let Some(holder) = disk.holders.iter().find(|it| !itself.contains(&it.as_str())) {
            return busy(format!("`{holder}` stands on it; take that apart first"));
        }
        let places = self.its_places();
        let is_used = self.view.mounts.iter().any(|it| it.is_of(self.name));
        let its_own = |at: &&String| places.contains(at);
        match disk.mounted.iter().find(|at| for_writing || !its_own(at)) {
            Some(at) if its_own(&at) && is_used => {
                busy(format!("it is mounted at `{at}` for this manifest; remove the manifest first, then add it again"))
            }
            Some(at) if at == "swap" => busy("it is used as swap; `swapoff` frees it".to_owned()),
            Some(at) => busy(format!("it is mounted at `{at}` by somebody else; unmount it first")),
            None => Ok(()),
        }
    }

    /// Returns an error if the disk has another size than when this manifest first used it.
    fn has_its_size(self) -> Result<(), (&'static str, String)> {
        let (now, disk) = (self.disk.identity.size, self.disk);
        if self.pair.is_some() {
            // Each may have a size of its own.
            return Ok(());
        }
        let Some(before) = self.own().map(|it| it.mount.disk_size).filter(|before| *before != now) else {
            return Ok(());
        };
        if now > before && self.spec.adopt.is_some() {
            return Ok(());
        }
        let uuid = disk.whole().and_then(|it| it.uuid.as_deref()).unwrap_or("UUID");
        let help = if now > before {
            format!("if that was you, write `adopt = \"{uuid}\"`")
        } else {
            "what was at its end is gone; look at its cable and its controller".to_owned()
        };
        let message = format!("{} had {} before, and its size has changed; {help}", disk.name(), human(before));
        Err(("SizeChanged", message))
    }

    fn own(self) -> Option<&'a MountSeen> {
        self.view.mounts.iter().find(|it| it.subject == self.name)
    }

    fn not_blank(self, leave: Leave<'_>) -> (&'static str, String) {
        let (disk, wanted) = (self.disk, self.kind());
        let usable = disk.found().find(|(_, it)| it.kind == wanted && it.uuid.is_some());
        let usable = usable.and_then(|(_, it)| it.uuid.as_deref());
        let usable = usable.filter(|_| self.spec.partitions.is_empty() && !self.is_passing());
        let table = disk.table.as_deref().filter(|_| !self.spec.partitions.is_empty() && !disk.is_half_parted());
        let keep = match usable.or(table) {
            Some(uuid) => format!("to use it as it is, write `adopt = \"{uuid}\"`; "),
            None => String::new(),
        };
        let ticket = leave.and_then(Result::err).map(|(_, message)| format!(". {message}")).unwrap_or_default();
        let which = self.by_name();
        let message = format!(
            "{} holds {}, which is kept; {keep}to erase it, run `piccolo disk wipe-ticket {which}`{ticket}",
            disk.name(),
            disk.content()
        );
        ("DiskNotBlank", message)
    }

    fn not_adopted(self, uuid: &str) -> (&'static str, String) {
        let disk = self.disk;
        if !self.spec.partitions.is_empty() {
            return self.no_such_table(uuid);
        }
        if let Some((_, found)) = disk.holds(uuid) {
            if (found.kind == LUKS) != self.spec.encryption.is_some() {
                return self.other_way(found);
            }
            let usable = [Filesystem::Ext4, Filesystem::Xfs, Filesystem::Btrfs, Filesystem::Swap];
            let help = match usable.iter().find(|it| it.as_str() == found.kind) {
                Some(it) => format!("write `filesystem = \"{}\"`", it.as_str()),
                None => "that can't be used".to_owned(),
            };
            return ("WrongFilesystem", format!("`{uuid}` is {}; {help}", found.kind));
        }
        ("NothingToAdopt", format!("{} holds {}, and no `{uuid}`; correct `adopt`", disk.name(), disk.content()))
    }

    /// Returns what the disk, or a partition of it, has to be to be used.
    fn kind(self) -> &'static str {
        if self.spec.encryption.is_some() { LUKS } else { self.spec.filesystem.as_str() }
    }

    /// Returns an error if the disk was made for this manifest, but encrypted and it no longer asks for that, or the other
    /// way round.
    fn is_the_same_way(self) -> Result<(), (&'static str, String)> {
        if !self.spec.partitions.is_empty() {
            // Of each partition it is told for itself.
            return Ok(());
        }
        let label = disk_label(self.name);
        let ours = self.disk.whole().filter(|it| it.label.as_ref() == Some(&label));
        match ours.filter(|it| (it.kind == LUKS) != self.spec.encryption.is_some()) {
            Some(found) => Err(self.other_way(found)),
            None => Ok(()),
        }
    }

    fn other_way(self, found: &Signature) -> (&'static str, String) {
        let name = self.disk.name();
        let message = if found.kind == LUKS {
            format!("{name} is encrypted, and stays so as long as its data does; add `encryption`")
        } else {
            let which = self.by_name();
            format!(
                "{name} is not encrypted, and can't be while its data stays; take out `encryption`, or copy what is on it \
                 elsewhere and run `piccolo disk wipe-ticket {which}`"
            )
        };
        ("EncryptionFixed", message)
    }

    fn half_made(self, why: &str) -> (&'static str, String) {
        let which = self.by_name();
        let message = format!(
            "{} holds a file system that was never made to the end: {why}; `piccolo disk wipe-ticket {which}` lets it be \
             erased",
            self.disk.name()
        );
        ("HalfMade", message)
    }

    fn by_name(self) -> &'a str {
        let identity = &self.disk.identity;
        [identity.serial.as_str(), &identity.wwn].into_iter().find(|it| !it.is_empty()).unwrap_or(&self.disk.device)
    }
}
