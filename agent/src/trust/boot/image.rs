//! A kernel's image in a file, as the firmware and its own stub would measure it.

use std::ops::Range;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{Event, NotNext, Part, Story, Sum, little::Little, next::LARGEST};

/// Where Linux writes that it is a kernel (its boot protocol for x86).
const KERNEL: Range<usize> = 0x202..0x206;
/// The sections that the stub of systemd measures, in its order.
const MEASURED: [&str; 11] =
    [".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile"];
/// What starts another way than by one set of sections is not worked out here.
const SEVERAL: [&str; 3] = [".dtbauto", ".hwids", ".efifw"];
/// The most sections.
const MOST: u64 = 96;
/// The sizes of the headers.
const FILE_HEADER: usize = 24;
const SECTION: usize = 40;
/// Where the size of all headers, the sum over the file and the place of its signatures stand in the optional header.
const HEADERS: usize = 60;
const CHECKSUM: usize = 64;
const SIGNATURES: usize = 4 * 8;

/// A kernel's image.
#[derive(Debug)]
pub struct Image {
    /// What the firmware measures of it.
    digest: Sum,
    /// What it measures of the kernel inside.
    inner: Sum,
    /// What the stub measures: a name and a digest for each section.
    sections: Vec<(&'static str, Sum)>,
}

impl Image {
    /// Reads an image.
    ///
    /// # Errors
    /// When it is none, or can start in several ways.
    pub fn read(bytes: &[u8]) -> Result<Self, NotNext> {
        let file = Pe::read(bytes).ok_or(NotNext::Form)?;
        let digest = file.digest().ok_or(NotNext::Form)?;
        let named = |name: &str| file.sections.iter().filter(|it| it.name == name).count();
        if SEVERAL.iter().any(|name| named(name) > 0)
            || MEASURED.iter().any(|name| named(name) > 1)
            || named(".profile") > 0
        {
            return Err(NotNext::Several);
        }
        let mut sections = Vec::new();
        for name in MEASURED {
            let Some(section) = file.sections.iter().find(|it| it.name == name) else { continue };
            sections.push((name, Sha256::digest(section.data).into()));
        }
        let kernel = file.sections.iter().find(|it| it.name == ".linux").ok_or(NotNext::Kernel)?;
        let inner = Pe::read(kernel.data).and_then(|it| it.digest()).ok_or(NotNext::Kernel)?;
        Ok(Self { digest, inner, sections })
    }

    /// Reads a kernel that is no part of an image, and returns what the firmware measures of it.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn of_kernel(bytes: &[u8]) -> Result<Sum, NotNext> {
        let is_kernel = bytes.get(KERNEL).is_some_and(|it| it == b"HdrS");
        Pe::read(bytes).filter(|_| is_kernel).and_then(|it| it.digest()).ok_or(NotNext::Kernel)
    }

    /// Works out the next start, in which this image starts in the place of the one that did. What the kernel measures of its
    /// initrd (register 9) is not known before.
    ///
    /// # Errors
    /// When this start was by no such image.
    pub fn next(&self, now: &Story) -> Result<Story, NotNext> {
        let is_kernel = |it: &&Event| it.pcr == 4 && it.part == Part::Kernel;
        let kernels = now.events.iter().filter(is_kernel).count();
        let is_stub = now.events.iter().any(|it| it.pcr == 11 && it.detail == ".linux");
        // Under Secure Boot the kernel inside is not measured for itself: it was with its image.
        if !(1..=2).contains(&kernels) || !is_stub {
            return Err(NotNext::NotImage);
        }
        let is_section = |it: &Event| it.pcr == 11 && it.part != Part::Phase && MEASURED.contains(&it.detail.as_str());
        let mut events = Vec::with_capacity(now.events.len());
        let (mut digests, mut is_told) = ([self.digest, self.inner].into_iter(), false);
        for event in &now.events {
            if is_section(event) {
                if !is_told {
                    events.extend(self.measured());
                }
                is_told = true;
            } else if is_kernel(&event) {
                let digest = digests.next().unwrap_or(event.digest);
                events.push(Event { digest, ..event.clone() });
            } else {
                events.push(event.clone());
            }
        }
        Ok(now.with(events))
    }

    /// Returns what the stub measures: of each section its name, then what is in it.
    fn measured(&self) -> impl Iterator<Item = Event> {
        self.sections.iter().flat_map(|(name, digest)| {
            let of_name = Sha256::new().chain_update(name).chain_update([0]).finalize().into();
            let event = |digest| Event { pcr: 11, part: Part::Kernel, detail: (*name).to_owned(), digest };
            [event(of_name), event(*digest)]
        })
    }

    /// Returns the digest by which the firmware knows it, in hexadecimal.
    pub fn digest(&self) -> String {
        HEXLOWER.encode(&self.digest)
    }
}

struct Section<'a> {
    name: String,
    /// What is loaded of it.
    data: &'a [u8],
    /// Where it begins in the file, and all of it there.
    begins: usize,
    whole: &'a [u8],
}

/// A program for the firmware.
struct Pe<'a> {
    bytes: &'a [u8],
    sections: Vec<Section<'a>>,
    /// Where its checksum stands, where the place of its signatures does, and the end of its headers.
    checksum: usize,
    place: usize,
    headers: usize,
    /// The end of what is signed.
    end: usize,
}

impl<'a> Pe<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > LARGEST || !bytes.starts_with(b"MZ") {
            return None;
        }
        let at = offset(bytes, 0x3c)?;
        let header = bytes.get(at..)?;
        if !header.starts_with(b"PE\0\0") {
            return None;
        }
        let many = Little(header.get(6..)?).number::<2>().filter(|it| *it <= MOST)?;
        let size = usize::try_from(Little(header.get(20..)?).number::<2>()?).ok()?;
        let optional = header.get(FILE_HEADER..)?;
        // The table of directories stands behind fields that have another size in programs of 64 bits.
        let directories = match Little(optional).number::<2>()? {
            0x10b => 96,
            0x20b => 112,
            _ => return None,
        };
        let (checksum, place) = (at + FILE_HEADER + CHECKSUM, at + FILE_HEADER + directories + SIGNATURES);
        let headers = offset(optional, HEADERS)?;
        let end = bytes.len().checked_sub(offset(bytes, place + 4)?)?;
        let mut table = optional.get(size..)?;
        let mut sections = Vec::new();
        for _ in 0..many {
            let (one, rest) = table.split_at_checked(SECTION)?;
            sections.push(section(bytes, one)?);
            table = rest;
        }
        (place + 8 <= headers && headers <= end).then_some(Self { bytes, sections, checksum, place, headers, end })
    }

    /// Returns what the firmware measures: all but the checksum and the signatures, section by section.
    fn digest(&self) -> Option<Sum> {
        let mut digest = Sha256::new();
        for part in [0..self.checksum, self.checksum + 4..self.place, self.place + 8..self.headers] {
            digest.update(self.bytes.get(part)?);
        }
        let mut in_order: Vec<_> = self.sections.iter().filter(|it| !it.whole.is_empty()).collect();
        in_order.sort_by_key(|it| it.begins);
        let mut sum = self.headers;
        for section in in_order {
            digest.update(section.whole);
            sum = sum.checked_add(section.whole.len())?;
        }
        // Sections that overlap make a sum that is none of the file's.
        digest.update(self.bytes.get(sum.min(self.end)..self.end).filter(|_| sum <= self.bytes.len())?);
        Some(digest.finalize().into())
    }
}

/// Reads the entry of a section, which may be smaller in memory than in the file.
fn section<'a>(bytes: &'a [u8], entry: &[u8]) -> Option<Section<'a>> {
    let name = entry.get(..8)?;
    let end = name.iter().position(|it| *it == 0).unwrap_or(8);
    let name = String::from_utf8_lossy(&name[..end]).into_owned();
    let (used, size, begins) = (offset(entry, 8)?, offset(entry, 16)?, offset(entry, 20)?);
    let whole = if size == 0 { &[][..] } else { bytes.get(begins..begins.checked_add(size)?)? };
    let data = &whole[..used.min(whole.len())];
    Some(Section { name, data, begins, whole })
}

/// Reads a place in the file, or a size.
fn offset(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(Little(bytes.get(at..)?).number::<4>()?).ok()
}
