//! An image as an OCI archive that older engines load as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Seek, SeekFrom, Write},
};

use piccolo_schema::image::Reference;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    error::ArchiveError,
    layout::{Found, digest, name_of},
    model::{Descriptor, Index, Manifest, Platform, Saved},
    parts::{Place, whole},
    write::{Tar, size_of},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The most bytes of a configuration.
const LARGEST_CONFIG: u64 = 4 << 20;

/// An image that is about to be written as an OCI archive. The same image is always written with the same bytes.
#[derive(Debug)]
pub struct Export {
    digest: String,
    blobs: Vec<(String, Place)>,
    documents: Vec<(String, Vec<u8>)>,
}

impl Export {
    /// Prepares an image of an archive, under this name.
    ///
    /// # Errors
    /// When the archive can't be read, or a layer is not what the configuration says.
    pub fn new(image: &Found, name: &Reference, archive: &mut (impl Read + Seek)) -> Result<Self, ArchiveError> {
        let (config, place) = (image.id().unwrap_or_default().to_owned(), image.config.place);
        let document: Value = serde_json::from_slice(&whole(archive, place, LARGEST_CONFIG)?)
            .map_err(|error| ArchiveError::foreign(format!("its configuration can't be understood ({error})")))?;
        let mut blobs = vec![(blob(&config), place)];
        let mut layers = Vec::new();
        for (number, layer) in image.layers.iter().enumerate() {
            let described = describe(archive, layer.place)?;
            let wanted = document["rootfs"]["diff_ids"][number].as_str();
            if described.media_type == LAYER && wanted.is_some_and(|wanted| wanted != described.digest) {
                let what = format!("layer {number} is {} and not {}", described.digest, wanted.unwrap_or_default());
                return Err(ArchiveError::hostile(what));
            }
            blobs.push((blob(&described.digest), layer.place));
            layers.push(described);
        }
        // Empty layers are often the same one.
        let mut seen = BTreeSet::new();
        blobs.retain(|(path, _)| seen.insert(path.clone()));
        let saved = saved(&config, &layers, name);
        let config = descriptor(CONFIG, config, place.size);
        let manifest = json(&Manifest { schema_version: 2, media_type: MANIFEST.to_owned(), config, layers })?;
        let digest = name_of(Sha256::new().chain_update(&manifest));
        let index = index(&digest, manifest.len() as u64, name, &document);
        let documents = vec![
            (blob(&digest), manifest),
            ("index.json".to_owned(), json(&index)?),
            ("manifest.json".to_owned(), json(&saved)?),
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ];
        Ok(Self { digest, blobs, documents })
    }

    /// Returns the digest by which the image can be asked for where the archive goes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns how many bytes it will have.
    pub fn size(&self) -> u64 {
        let blobs = self.blobs.iter().map(|(_, place)| place.size);
        size_of(blobs.chain(self.documents.iter().map(|(_, bytes)| bytes.len() as u64)))
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it can't be read or written.
    pub fn write(&self, archive: &mut (impl Read + Seek), out: &mut impl Write) -> Result<(), ArchiveError> {
        let mut tar = Tar::new(out);
        self.blobs.iter().try_for_each(|(path, place)| tar.copy(path, archive, *place))?;
        self.documents.iter().try_for_each(|(path, bytes)| tar.small(path, bytes))?;
        tar.end()
    }
}

fn describe(archive: &mut (impl Read + Seek), place: Place) -> Result<Descriptor, ArchiveError> {
    let mut head = [0; 4];
    archive.seek(SeekFrom::Start(place.offset))?;
    let known = usize::try_from(place.size.min(4)).unwrap_or_default();
    archive.read_exact(&mut head[..known])?;
    let ending = match head {
        [0x1f, 0x8b, ..] => "+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
        _ => "",
    };
    Ok(descriptor(&format!("{LAYER}{ending}"), digest(archive, place)?, place.size))
}

fn index(digest: &str, size: u64, name: &Reference, config: &Value) -> Index {
    let text = |key: &str| config[key].as_str().map(str::to_owned);
    let platform = text("architecture").zip(text("os")).map(|(architecture, os)| Platform { architecture, os });
    let annotations = tag(name).map(|tag| {
        let whole = format!("{}/{}:{tag}", name.domain(), name.path());
        [("io.containerd.image.name", whole), ("org.opencontainers.image.ref.name", tag.to_owned())]
            .map(|(key, value)| (key.to_owned(), value))
    });
    let annotations = annotations.into_iter().flatten().collect();
    let manifest = Descriptor { annotations, platform, ..descriptor(MANIFEST, digest.to_owned(), size) };
    Index { schema_version: 2, manifests: vec![manifest] }
}

fn saved(config: &str, layers: &[Descriptor], name: &Reference) -> [Saved; 1] {
    let repo_tags = tag(name).map(|tag| vec![format!("{}/{}:{tag}", name.domain(), name.path())]);
    [Saved { config: blob(config), repo_tags, layers: layers.iter().map(|it| blob(&it.digest)).collect() }]
}

/// What is asked for by its digest alone has no tag.
fn tag(name: &Reference) -> Option<&str> {
    name.tag().or_else(|| name.digest().is_none().then_some("latest"))
}

fn descriptor(media_type: &str, digest: String, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new(), platform: None }
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn json(document: &impl Serialize) -> Result<Vec<u8>, ArchiveError> {
    serde_json::to_vec(document).map_err(|error| ArchiveError::foreign(error.to_string()))
}
