//! Images from archives: files of this machine that are looked at from outside, and loaded when they are others.

mod feed;
mod spool;
mod travel;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    sync::Weak,
    time::Duration,
};

use bollard::{
    body_try_stream,
    query_parameters::{ImportImageOptionsBuilder, TagImageOptionsBuilder},
};
use futures_util::{Stream, StreamExt};
use piccolo_schema::image::Reference;
use rustix::fs::OFlags;
use tokio::sync::watch::Receiver;

use self::feed::{Checked, Reading};
pub(super) use self::spool::Spool;
use super::{docker::Docker, error, images::Declared, images::whole, volumes::blocking};
use crate::{
    archive::{ArchiveError, Layout},
    host::{ArchiveSeen, Brought, Fingerprint, FromArchive, HostError, Reason},
};

/// How often the files are looked at: nobody tells of a disk that is plugged in.
const LOOKS: Duration = Duration::from_secs(5);
/// How long an engine may take to load an image.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The time between two words on how far an image has come.
const TICK: Duration = Duration::from_secs(1);

/// Asks for a look at the images whenever other archives are declared or a file has changed, until nobody owns the engine
/// any more.
pub(super) async fn follow(docker: Weak<Docker>, mut declared: Receiver<Declared>) {
    let mut before = BTreeMap::new();
    loop {
        let paths = paths(&declared.borrow_and_update());
        let changed = if paths.is_empty() {
            before.clear();
            declared.changed().await
        } else {
            // A file that can't be looked at is told by the look that follows.
            let now = blocking(move || Ok(look(&paths))).await.unwrap_or_default();
            let Some(docker) = docker.upgrade() else { return };
            if now != before {
                before = now;
                docker.images_hint.notify_one();
            }
            drop(docker);
            tokio::time::timeout(LOOKS, declared.changed()).await.unwrap_or(Ok(()))
        };
        if changed.is_err() {
            return;
        }
    }
}

impl Docker {
    /// Looks at the archives that manifests name.
    pub(super) async fn archives(&self) -> Result<BTreeMap<String, ArchiveSeen>, HostError> {
        let paths = paths(&self.declared.borrow());
        if paths.is_empty() {
            return Ok(BTreeMap::new());
        }
        blocking(move || Ok(look(&paths))).await
    }

    /// Loads an image from an archive, gives it this name, and writes down which archive it was.
    pub(super) async fn load_archive(&self, reference: &str, archive: &str) -> Result<(), HostError> {
        let wanted = Reference::parse(reference).map_err(|why| HostError::new(Reason::Refused, why))?;
        let reading = Reading::default();
        let (path, hold) = (archive.to_owned(), reading.clone());
        let _stop = reading.stop_on_drop();
        let (checked, fingerprint) = blocking(move || {
            let opened = open(&path).map_err(|error| unusable(&path, &error.into()))?;
            let fingerprint = fingerprint(&opened.metadata().map_err(|error| unusable(&path, &error.into()))?);
            let checked = check(opened, &wanted, hold).map_err(|error| unusable(&path, &error))?;
            Ok((checked, fingerprint))
        })
        .await?;
        let digest = checked.digest();
        let id = self.hand_over(checked, reference).await.map_err(|mut error| {
            error.message = format!("The archive `{archive}` can't be loaded: {}", error.message);
            error
        })?;
        self.name(&id, reference).await?;
        let from = FromArchive { path: archive.to_owned(), fingerprint };
        let here = self.all_images(&self.client().await?).await?;
        let brought = Brought { id, digest, archive: Some(from) };
        self.arrivals.put(&whole(reference), brought, &here).await?;
        self.remember(reference).await;
        self.images_hint.notify_one();
        self.containers_hint.now();
        Ok(())
    }

    /// Gives an image to the engine and returns its identifier.
    async fn hand_over(&self, checked: Checked, reference: &str) -> Result<String, HostError> {
        let client = self.client().await?.with_timeout(PATIENCE);
        let known = checked.id();
        let way = checked.way();
        let (bytes, fed) = checked.feed(&way);
        let pull = self.pulls.begin();
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let words = client.import_image(options, body_try_stream(bytes), None);
        let late = || HostError::new(Reason::TimedOut, "The engine took more than an hour to load it");
        let said = tokio::select! {
            said = tokio::time::timeout(PATIENCE, said(words)) => said.unwrap_or_else(|_| Err(late())),
            () = async { loop {
                tokio::time::sleep(TICK).await;
                self.tell(&pull, reference, way.progress());
            } } => Err(late()),
        };
        // What went wrong on our side is the cause of what the engine says; a pipe that it closed is not.
        let said = match (said, fed.await) {
            (Ok(said), _) => said,
            (Err(_), Ok(Err(ours))) if !ours.is_closed() => {
                return Err(HostError::new(Reason::Refused, ours.to_string()));
            }
            (Err(error), _) => return Err(error),
        };
        let named = said.lines().find_map(|line| line.split_once("Loaded image ID: "));
        let id = named.map(|(_, id)| id.trim().to_owned()).or(known);
        id.ok_or_else(|| HostError::new(Reason::Failed, "The engine does not say which image it loaded"))
    }

    /// Gives an image a name. One that has only a digest can't be given by an engine: it is written down instead.
    pub(super) async fn name(&self, id: &str, reference: &str) -> Result<(), HostError> {
        let Ok(reference) = Reference::parse(reference) else { return Ok(()) };
        let tag = match (reference.tag(), reference.digest()) {
            (None, Some(_)) => return Ok(()),
            (tag, _) => tag.unwrap_or("latest"),
        };
        let options = TagImageOptionsBuilder::new().repo(&reference.repository()).tag(tag).build();
        self.client().await?.tag_image(id, Some(options)).await.map_err(|error| error::translate(&error))
    }
}

/// Returns what the engine says of a load.
async fn said(
    words: impl Stream<Item = Result<bollard::models::BuildInfo, bollard::errors::Error>>,
) -> Result<String, HostError> {
    let mut words = std::pin::pin!(words);
    let mut said = String::new();
    while let Some(word) = words.next().await {
        let word = word.map_err(|error| error::translate(&error))?;
        if let Some(detail) = word.error_detail {
            return Err(error::answered(500, &detail.message.unwrap_or_default()));
        }
        said.extend(word.stream.filter(|_| said.len() < 4096));
    }
    Ok(said)
}

fn check(file: File, wanted: &Reference, reading: Reading) -> Result<Checked, ArchiveError> {
    let mut file = reading.read(file);
    let image = Layout::read(&mut file)?.find(wanted)?.clone();
    image.verify(&mut file)?;
    Ok(Checked::new(file, image))
}

fn paths(declared: &Declared) -> BTreeSet<String> {
    declared.values().filter_map(|it| it.archive.clone()).collect()
}

fn look(paths: &BTreeSet<String>) -> BTreeMap<String, ArchiveSeen> {
    let look = |path: &String| match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => ArchiveSeen::There(fingerprint(&metadata)),
        Ok(_) => ArchiveSeen::Unusable("it is no file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => ArchiveSeen::Unusable("it is not there".to_owned()),
        Err(error) => ArchiveSeen::Unusable(format!("it can't be looked at ({error})")),
    };
    paths.iter().map(|path| (path.clone(), look(path))).collect()
}

/// Opens a file, without waiting where a pipe was put in its place.
fn open(path: &str) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

fn fingerprint(metadata: &Metadata) -> Fingerprint {
    let modified = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    Fingerprint { size: metadata.len(), modified }
}

fn unusable(path: &str, error: &ArchiveError) -> HostError {
    HostError::new(Reason::Refused, format!("The archive `{path}` can't be used: {error}"))
}
