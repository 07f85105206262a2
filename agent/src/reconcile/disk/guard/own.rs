//! What of a disk is the manifest's own, and under which names.

use piccolo_schema::disk::Filesystem;

use super::{Case, Verdict};
use crate::host::{DisksView, HALF_MADE, LUKS, Opened, Signature, label_of, mapped};

impl<'a> Case<'a> {
    /// Returns where what the manifest means is, if it is there.
    pub(super) fn its_own(self) -> Option<(&'a str, &'a Signature)> {
        if !self.spec.partitions.is_empty() {
            return None;
        }
        // Nothing outlives a start there, so nothing is taken over.
        let adopt = self.spec.adopt.as_ref().filter(|_| !self.is_passing());
        match adopt {
            Some(uuid) => {
                let adopted = self.disk.holds(uuid).filter(|(_, it)| it.kind == self.kind());
                // Of two that are encrypted each has a header of its own, and one alone is named.
                adopted.or_else(|| self.labelled().filter(|_| self.pair.is_some() && self.spec.encryption.is_some()))
            }
            None => self.labelled(),
        }
    }

    /// Returns what was made for the manifest on the disk as a whole, and has its label.
    fn labelled(self) -> Option<(&'a str, &'a Signature)> {
        let label = label_of(self.name, self.spec);
        let is_ours =
            |it: &&Signature| it.kind == self.kind() && it.uuid.is_some() && it.label.as_ref() == Some(&label);
        self.disk.whole().filter(is_ours).map(|it| (self.disk.device.as_str(), it))
    }

    /// Returns true for what is made anew at each start: swap behind a key that nobody keeps.
    pub(super) fn is_passing(self) -> bool {
        self.spec.filesystem == Filesystem::Swap && self.spec.encryption.is_some()
    }

    /// Returns the name under which a making on this disk is remembered.
    pub(super) fn making(self) -> String {
        let second = self.pair.is_some_and(|(_, second)| second);
        if second { DisksView::second(self.name) } else { self.name.to_owned() }
    }

    /// Returns what the kernel's tree calls the inside of what this manifest means, while it is open.
    pub(super) fn opened(self) -> Vec<&'a str> {
        if !self.spec.partitions.is_empty() {
            return self.opened_parts();
        }
        let own = self.its_own().filter(|(_, it)| it.kind == LUKS);
        let luks = own.and_then(|(_, found)| self.disk.luks(found.uuid.as_deref()?));
        luks.and_then(|it| it.opened.as_ref()).map(Opened::name).into_iter().collect()
    }

    /// Closes what was half made and is open, if that alone stands on the disk.
    pub(super) fn closes_first(self) -> Option<Verdict> {
        if self.disk.is_half_parted() {
            return self.closes_a_part();
        }
        let (disk, inside) = (self.disk, mapped(&self.making()));
        let half = disk.whole().filter(|it| it.label.as_deref() == Some(HALF_MADE))?;
        let luks = disk.luks(half.uuid.as_deref()?)?;
        let name = luks.opened.as_ref().filter(|it| it.device == inside)?.name();
        let alone = disk.holders.iter().all(|it| it == name) && disk.mounted.is_empty() && !disk.system;
        alone.then(|| Verdict::Close { part: None, device: luks.device.clone(), uuid: luks.uuid.clone() })
    }
}
