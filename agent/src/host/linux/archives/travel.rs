//! Images that leave the machine in an archive, or come in one.

use std::{fs::File, io, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use piccolo_schema::image::Reference;

use super::{
    super::{docker::Docker, error, images::whole, volumes::blocking},
    PATIENCE,
    feed::{Checked, Reading, Wanted, pour},
    spool::Spooled,
};
use crate::{
    archive::{ArchiveError, Arrived, Export, Found, Layout, Outgoing},
    host::{Brought, HostError, Reason},
};

impl Docker {
    /// Writes an image as an OCI archive; none if it is not here.
    ///
    /// # Errors
    /// When the engine fails, or there is no room.
    pub async fn export_image(&self, reference: &str) -> Result<Option<Outgoing>, HostError> {
        let name = Reference::parse(reference).map_err(|why| HostError::new(Reason::Refused, why))?;
        let client = self.client().await?.with_timeout(PATIENCE);
        let called = self.arrivals.called(whole(reference));
        match client.inspect_image(&called).await {
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            found => found.map_err(|error| error::translate(&error))?,
        };
        let saved = client.export_image(&called).map(|part| part.map_err(|error| error::translate(&error)));
        let Spooled { file, place } = self.spool.fill(saved).await?;
        let reading = Reading::default();
        let (stop, hold) = (reading.stop_on_drop(), reading.clone());
        let (mut file, export) =
            blocking(move || prepare(hold.read(file), &name).map_err(|error| broken(&error))).await?;
        let (size, digest) = (export.size(), export.digest().to_owned());
        let (bytes, _) = pour(Arc::default(), move |out| {
            let done = export.write(&mut file, out);
            drop(place);
            done
        });
        // Who reads no more ends the thread as well.
        let bytes = bytes.map(move |part| {
            let _ = &stop;
            part
        });
        Ok(Some(Outgoing { size, digest, bytes: bytes.boxed() }))
    }

    /// Takes the images of an archive in, under their own names or the one of them that is meant under this name.
    ///
    /// # Errors
    /// When the archive is refused, the engine fails, or there is no room.
    pub async fn import_images(
        &self,
        bytes: impl Stream<Item = io::Result<Bytes>> + Send,
        name: Option<String>,
    ) -> Result<Vec<Arrived>, HostError> {
        let cut = |error| HostError::new(Reason::Failed, format!("The archive did not come whole ({error})"));
        let Spooled { file, place: _place } = self.spool.fill(bytes.map(|part| part.map_err(cut))).await?;
        let reading = Reading::default();
        let _stop = reading.stop_on_drop();
        let chosen =
            blocking(move || choose(&file, name.as_deref(), &reading).map_err(|error| refused(&error))).await?;
        let mut arrived = Vec::new();
        for (checked, names) in chosen {
            let (first, digest) = (names.first().cloned().unwrap_or_default(), checked.digest());
            let id = self.hand_over(checked, &first).await?;
            for name in names {
                self.name(&id, &name).await?;
                let here = self.all_images(&self.client().await?).await?;
                let brought = Brought { id: id.clone(), digest: digest.clone(), archive: None };
                self.arrivals.put(&whole(&name), brought, &here).await?;
                self.remember(&name).await;
                arrived.push(Arrived { name, image_id: id.clone(), digest: digest.clone() });
            }
        }
        self.images_hint.notify_one();
        self.containers_hint.now();
        Ok(arrived)
    }
}

/// Reads what the engine wrote. Newer engines write OCI archives themselves; what is made of one is the same.
fn prepare(mut file: Wanted, name: &Reference) -> Result<(Wanted, Export), ArchiveError> {
    let layout = Layout::read(&mut file)?;
    let found = layout.images.first().ok_or_else(|| ArchiveError::Missing("the engine wrote no image".to_owned()))?;
    let export = Export::new(found, name, &mut file)?;
    Ok((file, export))
}

/// Finds the images that are meant, and what each is to be called.
fn choose(file: &File, name: Option<&str>, reading: &Reading) -> Result<Vec<(Checked, Vec<String>)>, ArchiveError> {
    let again = || Ok::<_, ArchiveError>(reading.clone().read(file.try_clone()?));
    let mut reader = again()?;
    let layout = Layout::read(&mut reader)?;
    let chosen: Vec<(&Found, Vec<String>)> = match name {
        Some(name) => {
            let reference = Reference::parse(name).map_err(ArchiveError::Missing)?;
            vec![(layout.find(&reference)?, vec![name.to_owned()])]
        }
        None => layout.images.iter().map(|it| named(it).map(|names| (it, names))).collect::<Result<_, _>>()?,
    };
    if chosen.is_empty() {
        return Err(ArchiveError::Missing("it has no image for this machine".to_owned()));
    }
    let checked = chosen.into_iter().map(|(found, names)| {
        found.verify(&mut reader)?;
        Ok((Checked::new(again()?, found.clone()), names))
    });
    checked.collect()
}

fn named(found: &Found) -> Result<Vec<String>, ArchiveError> {
    let names = found.names.iter().map(|name| Reference::parse(name).map(|it| it.to_string()));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(|why| {
        ArchiveError::Missing(format!("a name in it can't be used ({why}); give the image one: --as NAME"))
    })?;
    let none = || ArchiveError::Missing("an image in it has no name; give it one: --as NAME".to_owned());
    if names.is_empty() { Err(none()) } else { Ok(names) }
}

fn broken(error: &ArchiveError) -> HostError {
    HostError::new(Reason::Failed, format!("What the engine wrote can't be used: {error}"))
}

fn refused(error: &ArchiveError) -> HostError {
    HostError::new(Reason::Refused, format!("The archive can't be used: {error}"))
}
