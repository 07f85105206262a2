//! Archives in the making.

use std::io::{Read, Seek, SeekFrom, Write};

use tar::{EntryType, Header};

use super::{error::ArchiveError, layout::Found, model::Saved, parts::Place};

const BLOCK: u64 = 512;
/// The two empty blocks at the end.
const END: u64 = 2 * BLOCK;

/// Writes an image as every engine loads it: what `docker save` would write, without a name, so that a name that is taken
/// goes to nobody.
///
/// # Errors
/// When it can't be read or written.
pub fn for_engine(image: &Found, archive: &mut (impl Read + Seek), out: &mut impl Write) -> Result<(), ArchiveError> {
    let mut tar = Tar::new(out);
    let (config, layers) = names(image);
    tar.copy(&config, archive, image.config.place)?;
    for (name, layer) in layers.iter().zip(&image.layers) {
        tar.copy(name, archive, layer.place)?;
    }
    tar.small("manifest.json", &list(config, layers)?)?;
    tar.end()
}

/// Returns how many bytes [`for_engine`] will write.
pub fn size_for_engine(image: &Found) -> u64 {
    let (config, layers) = names(image);
    let list = list(config, layers).map_or(0, |it| it.len() as u64);
    let parts = std::iter::once(&image.config).chain(&image.layers).map(|it| it.place.size);
    size_of(parts.chain([list]))
}

/// Returns how large a tar of files of these sizes is.
pub(super) fn size_of(files: impl Iterator<Item = u64>) -> u64 {
    files.map(|size| BLOCK + size.next_multiple_of(BLOCK)).sum::<u64>() + END
}

fn names(image: &Found) -> (String, Vec<String>) {
    let id = image.id().and_then(|it| it.strip_prefix("sha256:")).unwrap_or("config");
    (format!("{id}.json"), (0..image.layers.len()).map(|layer| format!("{layer}/layer.tar")).collect())
}

fn list(config: String, layers: Vec<String>) -> Result<Vec<u8>, ArchiveError> {
    let list = [Saved { config, repo_tags: None, layers }];
    serde_json::to_vec(&list).map_err(|error| ArchiveError::foreign(error.to_string()))
}

/// A tar in the making.
pub(super) struct Tar<'a, W> {
    out: &'a mut W,
}

impl<'a, W: Write> Tar<'a, W> {
    pub(super) const fn new(out: &'a mut W) -> Self {
        Self { out }
    }

    pub(super) fn copy(
        &mut self,
        name: &str,
        archive: &mut (impl Read + Seek),
        place: Place,
    ) -> Result<(), ArchiveError> {
        let Place { offset, size } = place;
        self.head(name, size)?;
        archive.seek(SeekFrom::Start(offset))?;
        if std::io::copy(&mut archive.take(size), self.out)? < size {
            return Err(ArchiveError::Short);
        }
        self.fill(size)
    }

    pub(super) fn small(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let size = bytes.len() as u64;
        self.head(name, size)?;
        self.out.write_all(bytes)?;
        self.fill(size)
    }

    fn head(&mut self, name: &str, size: u64) -> Result<(), ArchiveError> {
        let mut header = Header::new_gnu();
        header.set_path(name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_mtime(0);
        header.set_cksum();
        Ok(self.out.write_all(header.as_bytes())?)
    }

    fn fill(&mut self, size: u64) -> Result<(), ArchiveError> {
        let whole = size.next_multiple_of(BLOCK);
        let missing = usize::try_from(whole - size).unwrap_or_default();
        self.out.write_all(&[0; BLOCK as usize][..missing])?;
        Ok(())
    }

    pub(super) fn end(self) -> Result<(), ArchiveError> {
        self.out.write_all(&[0; END as usize])?;
        Ok(self.out.flush()?)
    }
}
