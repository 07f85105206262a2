//! A start by GRUB, with other files and another command line of the kernel: what it would measure into registers 4 and 9.
//!
//! GRUB measures each file that it reads into register 9 and each command that it runs into register 8; the firmware measures
//! the kernel into register 4 as it starts it, and the kernel's own stub its command line and its initrd into register 9.
//! What commands a script runs is not worked out here.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Event, NotNext, Part, Story, Sum};

/// What GRUB writes before the command line, and what comes before that when the kernel gets it.
const TOLD: &str = "kernel_cmdline: ";
const FIRST_WORD: &str = "BOOT_IMAGE=";

/// What GRUB starts next in the place of what it started this time.
#[derive(Debug)]
pub struct Grub {
    /// What the firmware measures of the kernel.
    pub kernel: Sum,
    /// The digest of its file.
    pub content: Sum,
    /// Other files: by which path GRUB reads them, and their digests.
    pub files: Vec<(String, Sum)>,
    /// The command line of the kernel, whole, if it is another one.
    pub cmdline: Option<String>,
}

impl Grub {
    /// Works out the next start.
    ///
    /// # Errors
    /// When this start was not by GRUB and one kernel, or what was measured can't be told from its log.
    pub(super) fn after(&self, now: &Story) -> Result<Story, NotNext> {
        let started = one(now, |it| it.pcr == 4 && it.part == Part::Kernel).ok_or(NotNext::NotGrub)?;
        let read = one(now, |it| it.pcr == 9 && it.part == Part::Kernel).ok_or(NotNext::NotGrub)?;
        let mut others = BTreeMap::from([(read, self.content)]);
        for (name, digest) in &self.files {
            let before = one(now, |it| it.pcr == 9 && is_called(&it.detail, name));
            others.insert(before.ok_or_else(|| NotNext::NotRead(name.clone()))?, *digest);
        }
        others.extend(self.options(now)?);
        if is_initrd_of_several(now, &others) {
            return Err(NotNext::Initrds);
        }
        let events = now.events.iter().map(|event| {
            let digest = match event.pcr {
                4 if event.digest == started => self.kernel,
                9 => others.get(&event.digest).copied().unwrap_or(event.digest),
                _ => event.digest,
            };
            Event { digest, ..event.clone() }
        });
        Ok(now.with(events.collect()))
    }

    /// Returns what was measured of the command line, and what will be. The way of writing it is the one that comes to what was
    /// measured this time.
    fn options(&self, now: &Story) -> Result<Option<(Sum, Sum)>, NotNext> {
        let Some(next) = &self.cmdline else { return Ok(None) };
        let measured = one(now, |it| it.pcr == 9 && it.part == Part::CommandLine).ok_or(NotNext::Options)?;
        let told = now.events.iter().filter(|it| it.pcr == 8).find_map(|it| it.detail.strip_prefix(TOLD));
        let before = format!("{FIRST_WORD}{}", told.ok_or(NotNext::Options)?);
        let ends = [&b""[..], &[0, 0]];
        let end = ends.into_iter().find(|end| wide(&before, end) == measured).ok_or(NotNext::Options)?;
        Ok(Some((measured, wide(next, end))))
    }
}

/// Returns the digest of what is chosen; none if there is nothing, or several that differ.
fn one(now: &Story, is_chosen: impl Fn(&Event) -> bool) -> Option<Sum> {
    let mut all = now.events.iter().filter(|it| is_chosen(it)).map(|it| it.digest);
    let first = all.next()?;
    all.all(|it| it == first).then_some(first)
}

/// GRUB names a file with or without the device in front: `(hd0,gpt1)/vmlinuz`.
fn is_called(detail: &str, name: &str) -> bool {
    detail == name || detail.strip_prefix('(').and_then(|it| it.split_once(')')).is_some_and(|(_, path)| path == name)
}

/// The kernel measures what it is given as its initrd. Made of several files, that is the digest of none of them.
fn is_initrd_of_several(now: &Story, others: &BTreeMap<Sum, Sum>) -> bool {
    let all = || now.events.iter().filter(|it| it.pcr == 9 && it.part == Part::Initrd);
    let is_file = |sum: &Sum| all().any(|it| !it.detail.is_empty() && it.digest == *sum);
    let changes = all().any(|it| !it.detail.is_empty() && others.contains_key(&it.digest));
    changes && all().any(|it| it.detail.is_empty() && !is_file(&it.digest))
}

/// The digest of a text in two bytes a letter.
fn wide(text: &str, end: &[u8]) -> Sum {
    let letters = text.encode_utf16().flat_map(u16::to_le_bytes);
    Sha256::digest(letters.chain(end.iter().copied()).collect::<Vec<u8>>()).into()
}
