//! Rules of a disk that a pattern can't say.

mod partitions;

use super::{Disk, Filesystem, MountOption, Scrub, Selector};
use crate::{
    parse::{Code, Path, Violation},
    volume::{machines_own, plain},
};

/// The register into which the kernel's image is measured.
const IMAGE: u8 = 11;

impl Disk {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        check_select(&self.spec.select, Path::spec("select"), "piccolo disk list", &mut out);
        self.mirror(&mut out);
        let spec = &self.spec;
        if spec.partitions.is_empty() {
            mount(spec.mount.as_deref(), spec.filesystem, &Path::default().key("spec"), &mut out);
            options(&spec.options, spec.filesystem, &Path::default().key("spec"), &mut out);
        } else {
            self.partitions(&mut out);
        }
        self.encryption(&mut out);
        if spec.adopt.is_some() && spec.wipe.is_some() {
            let reason = "what is on the disk can't be both used and erased".to_owned();
            note(&mut out, Code::Conflict, Path::spec("wipe"), reason, "keep `adopt` or `wipe`, not both");
        }
        let is_btrfs = |part: &super::Partition| part.filesystem.unwrap_or(spec.filesystem) == Filesystem::Btrfs;
        let compares = spec.filesystem == Filesystem::Btrfs || spec.partitions.iter().any(is_btrfs);
        if spec.scrub.is_some_and(|it| it != Scrub::Never) && !compares {
            let reason = format!("{} keeps no checksums that a scrub could compare with", spec.filesystem.as_str());
            note(&mut out, Code::Conflict, Path::spec("scrub"), reason, "take out `scrub`, or choose `btrfs`");
        }
        if spec.usage.warn > spec.usage.full {
            let reason = format!("{} % is more than the {} % of `full`", spec.usage.warn, spec.usage.full);
            note(&mut out, Code::OutOfRange, Path::spec("usage").key("warn"), reason, "give `warn` the smaller number");
        }
        out
    }

    fn mirror(&self, out: &mut Vec<Violation>) {
        let Some(mirror) = &self.spec.mirror else { return };
        let at = || Path::spec("mirror");
        check_select(&mirror.select, at().key("select"), "piccolo disk list", out);
        if self.spec.filesystem != Filesystem::Btrfs {
            let reason = format!("{} is not kept on two disks; btrfs is, by itself", self.spec.filesystem.as_str());
            note(out, Code::Conflict, at(), reason, "write `filesystem = \"btrfs\"`, or take out `mirror`");
        }
        if mirror.select == self.spec.select {
            let reason = "it chooses the very disk that `select` does".to_owned();
            note(out, Code::Conflict, at().key("select"), reason, "choose another disk");
        }
        if mirror.wipe.is_some() && mirror.wipe == self.spec.wipe {
            let reason = "a ticket is for one disk alone".to_owned();
            let help = "have `piccolo disk wipe-ticket` make one for each of the two";
            note(out, Code::Conflict, at().key("wipe"), reason, help);
        }
    }
}

/// Checks where something is mounted; `at` leads to what asks for it.
fn mount(place: Option<&str>, filesystem: Filesystem, at: &Path, out: &mut Vec<Violation>) {
    let path = at.clone().key("mount");
    match (place, filesystem) {
        (Some(_), Filesystem::Swap) => {
            note(out, Code::Conflict, path, "swap is mounted nowhere".to_owned(), "take out `mount`");
        }
        (None, Filesystem::Swap) => {}
        (None, _) => {
            let help = "add `mount`, a directory of its own such as `/srv/photos`";
            note(out, Code::MissingKey, at.clone(), "`mount` is missing".to_owned(), help);
        }
        (Some(place), _) => {
            if let Some((reason, help)) = misplaced(place) {
                note(out, Code::BadPath, path, reason, help);
            }
        }
    }
}

/// Checks how something is mounted; `at` leads to what asks for it.
fn options(options: &[MountOption], filesystem: Filesystem, at: &Path, out: &mut Vec<Violation>) {
    for (index, option) in options.iter().enumerate() {
        let path = || at.clone().key("options").index(index);
        if !option.is_known_to(filesystem) {
            let reason = format!("{} does not know `{}`", filesystem.as_str(), option.as_str());
            note(out, Code::Conflict, path(), reason, "take it out, or choose another `filesystem`");
        } else if options[..index].contains(option) {
            let reason = format!("`{}` stands here twice", option.as_str());
            note(out, Code::Duplicate, path(), reason, "remove one");
        }
    }
}

impl Disk {
    fn encryption(&self, out: &mut Vec<Violation>) {
        let Some(encryption) = &self.spec.encryption else { return };
        let path = || Path::spec("encryption");
        if !self.spec.partitions.is_empty() && self.spec.partitions.iter().all(|it| it.plain) {
            let reason = "every partition is `plain`, so nothing is encrypted".to_owned();
            return note(
                out,
                Code::Conflict,
                path(),
                reason,
                "take it out, or take `plain` out of those to be encrypted",
            );
        }
        let is_swap = self.spec.partitions.is_empty() && self.spec.filesystem == Filesystem::Swap;
        if is_swap || (!self.spec.partitions.is_empty() && self.spec.locked_parts().next().is_none()) {
            return self.passing(encryption, out);
        }
        let is_opened = encryption.tpm2.is_some() || encryption.tang.is_some();
        match &encryption.passphrase {
            None if !is_opened => {
                let reason = "nothing opens the disk when the machine starts".to_owned();
                let help = "add `tpm2 = {}`, or `passphrase = { secret = \"…\" }`, or several";
                note(out, Code::MissingKey, path(), reason, help);
            }
            None if !encryption.recovery => {
                let reason = match encryption.tpm2 {
                    Some(_) => {
                        "a TPM that is cleared, as an update of firmware may do, would lose all that is on the disk"
                    }
                    None => "a server that is lost would take all that is on the disk along",
                };
                let help = "take out `recovery = false`, or add `passphrase`";
                note(out, Code::Conflict, path().key("recovery"), reason.to_owned(), help);
            }
            _ => {}
        }
        let pcrs = encryption.tpm2.as_ref().map(|it| it.pcrs.as_slice()).unwrap_or_default();
        for (index, pcr) in pcrs.iter().enumerate().filter(|(index, pcr)| pcrs[..*index].contains(pcr)) {
            let path = path().key("tpm2").key("pcrs").index(index);
            note(out, Code::Duplicate, path, format!("register {pcr} stands here twice"), "remove one");
        }
        let is_signed = encryption.tpm2.as_ref().is_some_and(|it| it.signed_pcr11);
        if let Some(index) = pcrs.iter().position(|it| *it == IMAGE).filter(|_| is_signed) {
            let reason = "register 11 would have to stay as it is, and each new image changes it".to_owned();
            let path = path().key("tpm2").key("pcrs").index(index);
            note(out, Code::Conflict, path, reason, "take 11 out of `pcrs`, or take out `signedPcr11`");
        }
    }
}

impl Disk {
    /// Checks encrypted swap, which is written over at each start.
    fn passing(&self, encryption: &super::Encryption, out: &mut Vec<Violation>) {
        let ways = [
            ("tpm2", encryption.tpm2.is_some()),
            ("passphrase", encryption.passphrase.is_some()),
            ("tang", encryption.tang.is_some()),
        ];
        for (key, _) in ways.into_iter().filter(|(_, is_there)| *is_there) {
            let reason =
                "each start encrypts swap with a new key that nobody keeps, so nothing else opens it".to_owned();
            note(out, Code::Conflict, Path::spec("encryption").key(key), reason, "write `encryption = {}`");
        }
        if self.spec.adopt.is_some() {
            let reason = "encrypted swap is made anew at each start, so nothing is taken over".to_owned();
            note(out, Code::Conflict, Path::spec("adopt"), reason, "take out `adopt` or `encryption`");
        }
    }
}

/// Checks the properties by which a disk is chosen; the command lists the disks there are.
pub(crate) fn check_select(select: &Selector, at: Path, command: &str, out: &mut Vec<Violation>) {
    if select.is_empty() {
        let reason = "it chooses no disk, for it would fit every one".to_owned();
        let help = format!("give `serial`, `wwn` or `id` as `{command}` shows them");
        note(out, Code::MissingKey, at.clone(), reason, &help);
    }
    let texts = [("serial", &select.serial), ("wwn", &select.wwn), ("model", &select.model), ("id", &select.id)];
    for (key, text) in texts {
        let Some(text) = text else { continue };
        let path = || at.clone().key(key);
        if text.trim().is_empty() {
            let reason = format!("`{key}` is empty, and a disk without one can't be told from others");
            note(out, Code::WrongLength, path(), reason, &format!("leave it out, or write what `{command}` shows"));
        } else if text.starts_with("/dev/") {
            let reason = format!("`{text}` is a name of the kernel, which another disk may have tomorrow");
            let help = format!("use `serial`, `wwn` or `id` as `{command}` shows them");
            note(out, Code::WrongForm, path(), reason, &help);
        }
    }
    if let (Some(least), Some(most)) = (select.min_size, select.max_size)
        && least > most
    {
        let reason = "`minSize` is greater than `maxSize`, so no disk fits".to_owned();
        note(out, Code::OutOfRange, at.key("minSize"), reason, "give `minSize` the smaller number");
    }
}

/// Says why nothing can be mounted at a path.
fn misplaced(at: &str) -> Option<(String, &'static str)> {
    let help = "choose a directory for this disk alone, such as `/srv/photos`";
    if at.split('/').any(|part| part == "..") {
        return Some(("`mount` goes up with `..`".to_owned(), "write the plain absolute path"));
    }
    if at.contains(|it: char| it.is_control() || it.is_whitespace() || ":,\\".contains(it)) {
        // A volume on it is given to an engine as a mount option, and the kernel's table of mounts parts at blanks.
        let reason = "`mount` holds a blank, a `:`, a `,`, a `\\` or a character that can't be seen";
        return Some((reason.to_owned(), "use another directory"));
    }
    let at = plain(at);
    if at.starts_with("/opt/") {
        let reason = "`/opt` and all below it belongs to extensions of the machine, which a disk would hide";
        return Some((reason.to_owned(), help));
    }
    machines_own(&at).map(|reason| (reason, help))
}

fn note(out: &mut Vec<Violation>, code: Code, path: Path, reason: String, help: &str) {
    out.push(Violation { code, path, on_key: false, reason, help: help.to_owned() });
}
