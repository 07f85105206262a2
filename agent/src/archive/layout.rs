//! The images in an archive.

use std::io::{Read, Seek, SeekFrom};

use piccolo_schema::image::Reference;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::{
    error::ArchiveError,
    model::{Descriptor, Index, Manifest, Saved},
    parts::{Parts, Place, shown, whole},
};

/// The most bytes of a document.
const LARGEST_DOCUMENT: u64 = 4 << 20;
/// The most images, counting those for other platforms.
const MOST_IMAGES: usize = 100;
/// The most layers of an image; engines take no more than 127.
const MOST_LAYERS: usize = 512;
/// How deep lists of manifests may lie in one another.
const DEPTH: usize = 2;
/// How much is read at a time.
const CHUNK: usize = 64 << 10;

/// The images in an archive.
#[derive(Debug)]
pub struct Layout {
    /// Each image, in the order of the archive.
    pub images: Vec<Found>,
}

/// An image in an archive.
#[derive(Clone, Debug)]
pub struct Found {
    /// The names that it had where it comes from.
    pub names: Vec<String>,
    /// The digests by which it can be asked for: of its manifest, and of the list that this stands in. None in an archive
    /// of Docker, which has no manifest.
    pub digests: Vec<String>,
    /// Its configuration, whose digest is the identifier that an engine gives it.
    pub config: Blob,
    /// Its layers, the lowest first.
    pub layers: Vec<Blob>,
}

/// A part of an image.
#[derive(Clone, Debug)]
pub struct Blob {
    pub(super) place: Place,
    /// The digest that it has to have; none where nothing says so but the configuration, by which the engine checks it.
    pub(super) digest: Option<String>,
}

impl Layout {
    /// Reads what is in an archive. Documents are checked by their digests, layers are not yet.
    ///
    /// # Errors
    /// When it is none, or one that nobody means well with.
    pub fn read(archive: &mut (impl Read + Seek)) -> Result<Self, ArchiveError> {
        let parts = Parts::read(archive)?;
        let images = if parts.has("index.json") {
            Reader { parts: &parts, archive, images: Vec::new(), seen: 0 }.layout()?
        } else if parts.has("manifest.json") {
            saved(&parts, archive)?
        } else {
            return Err(ArchiveError::foreign("it has neither `index.json` nor `manifest.json`"));
        };
        let most = archive.seek(SeekFrom::End(0))?.saturating_mul(2);
        match images.iter().find(|it| it.layers.iter().map(|layer| layer.place.size).sum::<u64>() > most) {
            // A few empty layers may be the same; a large one that is used again and again would fill the disk.
            Some(_) => Err(ArchiveError::hostile("an image in it uses the same layers again and again")),
            None => Ok(Self { images }),
        }
    }

    /// Finds the image that is meant by a reference: that of its digest if it has one, or else that of its name, or the
    /// only one.
    ///
    /// # Errors
    /// When there is none, or nothing says which one is meant.
    pub fn find(&self, reference: &Reference) -> Result<&Found, ArchiveError> {
        let names = || self.images.iter().flat_map(|it| &it.names).map(|it| shown(it)).collect::<Vec<_>>().join(", ");
        if let Some(digest) = reference.digest() {
            let digests = || self.images.iter().flat_map(|it| &it.digests).cloned().collect::<Vec<_>>().join(", ");
            let none = || {
                let has = match digests() {
                    none if none.is_empty() => {
                        "an archive of Docker, which has no digests; write it as an OCI archive".to_owned()
                    }
                    some => format!("it has {some}"),
                };
                ArchiveError::Missing(format!("no image in it has the digest {digest}: {has}"))
            };
            return self.images.iter().find(|it| it.digests.iter().any(|it| it == digest)).ok_or_else(none);
        }
        let called = |it: &&Found| it.names.iter().any(|name| Reference::parse(name).is_ok_and(|it| it == *reference));
        match (self.images.iter().find(called), self.images.as_slice()) {
            (Some(found), _) | (None, [found]) => Ok(found),
            (None, []) => Err(ArchiveError::Missing("it has no image for this machine".to_owned())),
            (None, several) => {
                let (count, names) = (several.len(), names());
                Err(ArchiveError::Missing(format!("it has {count} images and none of them is {reference}: {names}")))
            }
        }
    }
}

impl Found {
    /// Returns the identifier that an engine of the old kind gives the image.
    pub fn id(&self) -> Option<&str> {
        self.config.digest.as_deref()
    }

    /// Returns the digest of its manifest, if it has one.
    pub fn digest(&self) -> Option<&str> {
        self.digests.first().map(String::as_str)
    }

    /// Counts up the digests of all its parts.
    ///
    /// # Errors
    /// When one is another than it says.
    pub fn verify(&self, archive: &mut (impl Read + Seek)) -> Result<(), ArchiveError> {
        for blob in std::iter::once(&self.config).chain(&self.layers) {
            let Some(wanted) = &blob.digest else { continue };
            let found = digest(archive, blob.place)?;
            if found != *wanted {
                return Err(lying(wanted, &found));
            }
        }
        Ok(())
    }
}

/// Reads an OCI image layout.
struct Reader<'a, R> {
    parts: &'a Parts,
    archive: &'a mut R,
    images: Vec<Found>,
    seen: usize,
}

impl<R: Read + Seek> Reader<'_, R> {
    fn layout(mut self) -> Result<Vec<Found>, ArchiveError> {
        let index: Index = document(self.archive, self.parts.find("index.json")?, "index.json")?;
        for descriptor in &index.manifests {
            let names = descriptor.name().cloned().into_iter().collect::<Vec<_>>();
            self.follow(descriptor, &names, &[], 0)?;
        }
        Ok(self.images)
    }

    /// Reads the image, or the list of images, that a descriptor leads to.
    fn follow(
        &mut self,
        it: &Descriptor,
        names: &[String],
        above: &[String],
        depth: usize,
    ) -> Result<(), ArchiveError> {
        self.seen += 1;
        if self.seen > MOST_IMAGES {
            return Err(ArchiveError::hostile(format!("it has more than {MOST_IMAGES} images")));
        }
        if !it.runs_here() {
            return Ok(());
        }
        let blob = self.blob(it)?;
        let found = digest(self.archive, blob.place)?;
        if found != it.digest {
            return Err(lying(&it.digest, &found));
        }
        let digests: Vec<String> = std::iter::once(it.digest.clone()).chain(above.iter().cloned()).collect();
        if it.is_list() {
            if depth >= DEPTH {
                return Err(ArchiveError::hostile("its lists of images lie too deep in one another"));
            }
            let list: Index = document(self.archive, blob.place, &it.digest)?;
            return list.manifests.iter().try_for_each(|it| self.follow(it, names, &digests, depth + 1));
        }
        let manifest: Manifest = document(self.archive, blob.place, &it.digest)?;
        bound(manifest.layers.len())?;
        let config = self.blob(&manifest.config)?;
        let layers = manifest.layers.iter().map(|layer| self.blob(layer)).collect::<Result<_, _>>()?;
        self.images.push(Found { names: names.to_vec(), digests, config, layers });
        Ok(())
    }

    fn blob(&self, it: &Descriptor) -> Result<Blob, ArchiveError> {
        let hex = it
            .digest
            .strip_prefix("sha256:")
            .filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        let hex = hex.ok_or_else(|| ArchiveError::hostile(format!("`{}` is no sha256 digest", shown(&it.digest))))?;
        let place = self.parts.find(&format!("blobs/sha256/{hex}"))?;
        if place.size != it.size {
            let what = format!("{} shall have {} bytes and has {}", it.digest, it.size, place.size);
            return Err(ArchiveError::hostile(what));
        }
        Ok(Blob { place, digest: Some(it.digest.clone()) })
    }
}

/// Reads what `docker save` writes.
fn saved(parts: &Parts, archive: &mut (impl Read + Seek)) -> Result<Vec<Found>, ArchiveError> {
    let all: Vec<Saved> = document(archive, parts.find("manifest.json")?, "manifest.json")?;
    if all.len() > MOST_IMAGES {
        return Err(ArchiveError::hostile(format!("it has more than {MOST_IMAGES} images")));
    }
    let mut images = Vec::new();
    for saved in all {
        bound(saved.layers.len())?;
        let config = parts.find(&saved.config)?;
        if config.size > LARGEST_DOCUMENT {
            return Err(ArchiveError::hostile("a configuration in it is too large"));
        }
        let id = digest(archive, config)?;
        let layers = saved.layers.iter().map(|layer| Ok(Blob { place: parts.find(layer)?, digest: None }));
        images.push(Found {
            names: saved.repo_tags.unwrap_or_default(),
            digests: Vec::new(),
            config: Blob { place: config, digest: Some(id) },
            layers: layers.collect::<Result<_, ArchiveError>>()?,
        });
    }
    Ok(images)
}

fn bound(layers: usize) -> Result<(), ArchiveError> {
    let too_many = || ArchiveError::hostile(format!("an image in it has {layers} layers"));
    if layers > MOST_LAYERS { Err(too_many()) } else { Ok(()) }
}

fn document<T: DeserializeOwned>(
    archive: &mut (impl Read + Seek),
    place: Place,
    name: &str,
) -> Result<T, ArchiveError> {
    let bytes = whole(archive, place, LARGEST_DOCUMENT)?;
    let wrong = |error| ArchiveError::foreign(format!("`{}` can't be understood ({error})", shown(name)));
    serde_json::from_slice(&bytes).map_err(wrong)
}

/// Counts up the digest of a part.
pub(super) fn digest(archive: &mut (impl Read + Seek), place: Place) -> Result<String, ArchiveError> {
    archive.seek(SeekFrom::Start(place.offset))?;
    let (mut hash, mut left, mut chunk) = (Sha256::new(), place.size, vec![0; CHUNK]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let count = archive.read(&mut chunk[..most])?;
        if count == 0 {
            return Err(ArchiveError::Short);
        }
        hash.update(&chunk[..count]);
        left -= count as u64;
    }
    Ok(name_of(hash))
}

/// Writes a digest as it is written everywhere.
pub(super) fn name_of(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn lying(wanted: &str, found: &str) -> ArchiveError {
    ArchiveError::hostile(format!("what calls itself {} is {found}", shown(wanted)))
}
