//! Where the parts of a tar lie. Only the file's own headers are read.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
};

use tar::{EntryType, Header};

use super::error::ArchiveError;

const BLOCK: u64 = 512;
/// The most files, directories and links. An image has a hundred layers or so.
const MOST_PARTS: usize = 20_000;
/// The most bytes of a header that says what does not fit into a plain one.
const LARGEST_EXTENSION: u64 = 64 << 10;
/// The most links that are followed one after the other.
const MOST_LINKS: usize = 8;

/// The parts of an archive by their names.
#[derive(Debug, Default)]
pub(super) struct Parts {
    files: BTreeMap<String, Place>,
    links: BTreeMap<String, String>,
}

/// Where a file lies in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What a header says of the one after it.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    size: Option<u64>,
}

impl Parts {
    /// Looks through a whole archive.
    pub(super) fn read(archive: &mut (impl Read + Seek)) -> Result<Self, ArchiveError> {
        let end = archive.seek(SeekFrom::End(0))?;
        let mut parts = Self::default();
        let (mut at, mut count, mut extension) = (0, 0, Extension::default());
        while let Some(header) = header(archive, at, end)? {
            count += 1;
            if count > MOST_PARTS {
                return Err(ArchiveError::hostile(format!("it has more than {MOST_PARTS} parts")));
            }
            let size = extension.size.unwrap_or(header.entry_size()?);
            let place = Place { offset: at + BLOCK, size };
            at = size
                .checked_next_multiple_of(BLOCK)
                .and_then(|size| size.checked_add(place.offset))
                .unwrap_or(u64::MAX);
            // The zeros that fill the last block may be missing.
            if place.offset.saturating_add(size) > end {
                return Err(ArchiveError::Short);
            }
            if header.entry_type() == EntryType::XHeader {
                extension = read_extension(archive, place)?;
                continue;
            }
            let said = std::mem::take(&mut extension);
            let name = said.path.map_or_else(|| text(&header.path_bytes()), Ok)?;
            parts.add(&header, &name, place)?;
        }
        Ok(parts)
    }

    /// Finds a file, through links if need be.
    pub(super) fn find(&self, name: &str) -> Result<Place, ArchiveError> {
        let mut name = plain(name)?;
        for _ in 0..MOST_LINKS {
            match (self.files.get(&name), self.links.get(&name)) {
                (Some(place), _) => return Ok(*place),
                (None, Some(link)) => name.clone_from(link),
                (None, None) => return Err(ArchiveError::hostile(format!("it has no file `{}`", shown(&name)))),
            }
        }
        Err(ArchiveError::hostile(format!("the links at `{}` lead nowhere", shown(&name))))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    fn add(&mut self, header: &Header, name: &str, place: Place) -> Result<(), ArchiveError> {
        let name = plain(name)?;
        let taken = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => self.files.insert(name.clone(), place).is_some(),
            EntryType::Symlink => {
                let link = text(&header.link_name_bytes().unwrap_or_default())?;
                let target = beside(&name, &link)?;
                self.links.insert(name.clone(), target).is_some()
            }
            EntryType::Directory | EntryType::XGlobalHeader => false,
            other => {
                let what = format!("`{}` is neither a file nor a directory (type {})", shown(&name), shown_type(other));
                return Err(ArchiveError::hostile(what));
            }
        };
        // Readers differ in which of the two they would take.
        let both = self.files.contains_key(&name) && self.links.contains_key(&name);
        if taken || both {
            return Err(ArchiveError::hostile(format!("`{}` is in it twice", shown(&name))));
        }
        Ok(())
    }
}

/// Reads the header at this place, none at the end of the archive.
fn header(archive: &mut (impl Read + Seek), at: u64, end: u64) -> Result<Option<Header>, ArchiveError> {
    if at >= end {
        // Without the two empty blocks at its end it may have lost more than those.
        return Err(if end == 0 { ArchiveError::foreign("it is empty") } else { ArchiveError::Short });
    }
    let mut header = Header::new_old();
    archive.seek(SeekFrom::Start(at))?;
    archive.read_exact(header.as_mut_bytes()).map_err(short)?;
    if header.as_bytes().iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let bytes = header.as_bytes();
    let sum = bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ')
        - bytes[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>();
    if header.cksum().ok() == Some(sum) {
        Ok(Some(header))
    } else if at == 0 && bytes.starts_with(&[0x1f, 0x8b]) {
        Err(ArchiveError::foreign("it is compressed; unpack it first: gunzip"))
    } else {
        Err(ArchiveError::foreign(if at == 0 { "it is no tar" } else { "a header in it is damaged" }))
    }
}

/// Reads the lines `<length> <key>=<value>` that stand before a file whose header had no room for them.
fn read_extension(archive: &mut (impl Read + Seek), place: Place) -> Result<Extension, ArchiveError> {
    let damaged = || ArchiveError::foreign("a header in it is damaged");
    let bytes = whole(archive, place, LARGEST_EXTENSION)?;
    let (mut rest, mut extension) = (bytes.as_slice(), Extension::default());
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
        let length: usize = str::from_utf8(&rest[..space]).ok().and_then(|it| it.parse().ok()).ok_or_else(damaged)?;
        let record = rest.get(space + 1..length).and_then(|it| it.strip_suffix(b"\n")).ok_or_else(damaged)?;
        let (key, value) = str::from_utf8(record).ok().and_then(|it| it.split_once('=')).ok_or_else(damaged)?;
        match key {
            "path" => extension.path = Some(value.to_owned()),
            "size" => extension.size = Some(value.parse().map_err(|_| damaged())?),
            "linkpath" => return Err(ArchiveError::hostile("a link in it has a very long target")),
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(extension)
}

/// Reads a small part whole.
pub(super) fn whole(archive: &mut (impl Read + Seek), place: Place, most: u64) -> Result<Vec<u8>, ArchiveError> {
    if place.size > most {
        return Err(ArchiveError::hostile(format!("a document in it has {} bytes, more than {most}", place.size)));
    }
    archive.seek(SeekFrom::Start(place.offset))?;
    let mut bytes = Vec::new();
    archive.take(place.size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == place.size { Ok(bytes) } else { Err(ArchiveError::Short) }
}

/// Returns the one spelling of a name, if it stays inside.
fn plain(name: &str) -> Result<String, ArchiveError> {
    if name.starts_with('/') {
        return Err(ArchiveError::hostile(format!("`{}` is an absolute path", shown(name))));
    }
    let mut at = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(ArchiveError::hostile(format!("`{}` goes up with `..`", shown(name)))),
            part => at.push(part),
        }
    }
    Ok(at.join("/"))
}

/// Returns where a link leads that stands under this name, if it stays inside.
fn beside(name: &str, link: &str) -> Result<String, ArchiveError> {
    if link.starts_with('/') {
        return Err(ArchiveError::hostile(format!("`{}` is a link to an absolute path", shown(name))));
    }
    let mut folders: Vec<&str> = name.split('/').collect();
    folders.pop();
    let mut at = folders;
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." if at.pop().is_none() => {
                return Err(ArchiveError::hostile(format!("`{}` is a link that leads outside", shown(name))));
            }
            ".." => {}
            part => at.push(part),
        }
    }
    Ok(at.join("/"))
}

fn text(bytes: &[u8]) -> Result<String, ArchiveError> {
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| ArchiveError::hostile("a name in it is no text"))?;
    if text.contains('\0') { Err(ArchiveError::hostile("a name in it holds a NUL")) } else { Ok(text) }
}

/// A name as it may be shown: short, and without anything that moves a terminal.
pub(super) fn shown(name: &str) -> String {
    let short: String = name.chars().take(100).collect();
    short.escape_debug().to_string()
}

fn shown_type(kind: EntryType) -> String {
    char::from(kind.as_byte()).escape_debug().to_string()
}

fn short(error: io::Error) -> ArchiveError {
    if error.kind() == io::ErrorKind::UnexpectedEof { ArchiveError::Short } else { ArchiveError::Io(error) }
}
