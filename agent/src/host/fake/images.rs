use std::{collections::BTreeMap, future::Future};

use piccolo_schema::{
    Desired, Image, ImageSpec, Progress,
    image::{Build, Push, Reference},
};

use super::{
    FakeEngine, Verb,
    world::{World, gone},
};
use crate::host::{
    ArchiveSeen, Brought, Built, ContextSeen, Fingerprint, FromArchive, HostError, ImageSeen, Images, ImagesView, Ours,
    Pushed, Reason, Record, Trouble,
};

impl Images for FakeEngine {
    async fn images(&self) -> Result<ImagesView, HostError> {
        let view = self.look().images_view();
        self.verb_of_looking(Verb::Images, view).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.images_changed.notified()
    }

    async fn pull_declared(&self, spec: &ImageSpec) -> Result<(), HostError> {
        let secret = spec.credentials.as_ref().map(|it| it.secret.as_str());
        self.verb(Verb::PullDeclared, |world| world.fetch(&spec.reference, secret)).await
    }

    async fn build(&self, _name: &str, spec: &ImageSpec, built: &Built) -> Result<(), HostError> {
        self.verb(Verb::Build, |world| world.build(spec, built)).await
    }

    async fn push(&self, name: &str, image: &str, push: &Push) -> Result<(), HostError> {
        self.verb(Verb::Push, |world| world.push(name, image, push)).await
    }

    async fn give_back(&self, name: &str, to: &str) -> Result<(), HostError> {
        self.verb(Verb::GiveBack, |world| {
            if world.lent.get_mut(name).is_some_and(|lent| lent.remove(to)) {
                world.lent.retain(|_, lent| !lent.is_empty());
                world.count(None);
            }
            Ok(())
        })
        .await
    }

    async fn remove_image(&self, image: &str, _repository: &str) -> Result<(), HostError> {
        self.verb(Verb::RemoveImage, |world| world.remove_unneeded(image)).await
    }

    async fn load(&self, reference: &str, archive: &str) -> Result<(), HostError> {
        self.verb(Verb::Load, |world| world.load(reference, archive)).await
    }
}

impl FakeEngine {
    /// Says which images the manifests declare.
    pub fn declare_images(&self, images: &Desired<Image>) {
        let declared = |image: &Image| Some((listed_as(&image.spec.reference), image.metadata.name.clone()?));
        let declared: BTreeMap<_, _> = images.manifests.iter().filter_map(declared).collect();
        let is_made = |image: &&Image| image.spec.build.is_some() || image.spec.archive.is_some();
        let made = images.manifests.iter().filter(is_made).map(|image| image.spec.reference.clone()).collect();
        let mut lock = self.lock();
        (lock.world.declared, lock.world.made_here) = (declared, made);
    }

    /// Says how manifests name images.
    pub fn name_images(&self, names: &[&str]) {
        self.lock().world.named = names.iter().map(|name| listed_as(name)).collect();
    }

    /// Makes a pull that is under way say how far it has come.
    pub fn tick(&self, image: &str, progress: Progress) {
        self.by_hand(|world| {
            world.pulls.insert(listed_as(image), progress);
        });
    }

    /// Changes what images are built from at a place; nothing can be read there any more without a fingerprint.
    pub fn edit_source(&self, place: &str, fingerprint: Option<&str>) {
        self.by_hand(|world| {
            world.contexts.insert(place.to_owned(), fingerprint.map(str::to_owned));
        });
    }

    /// Breaks off a push of a manifest to a name, so that this stays behind and nothing is written down.
    pub fn break_off_push(&self, manifest: &str, to: &str) {
        self.by_hand(|world| {
            world.lent.entry(manifest.to_owned()).or_default().insert(listed_as(to));
            if let Some(given) = world.pushed.get_mut(manifest) {
                given.remove(&listed_as(to));
            }
        });
    }

    /// Puts an archive somewhere that has every image, or another one in its place.
    pub fn put_archive(&self, path: &str, size: u64) {
        self.by_hand(|world| {
            world.archives.insert(path.to_owned(), Fingerprint { size, modified: world.seconds });
        });
    }

    /// Takes an archive away.
    pub fn take_archive(&self, path: &str) {
        self.by_hand(|world| {
            world.archives.remove(path);
        });
    }

    /// Makes the registry want a login for an image.
    pub fn close(&self, image: &str) {
        self.by_hand(|world| {
            world.closed.insert(image.to_owned());
        });
    }
}

impl World {
    /// Pulls an image with the login of a secret.
    pub(super) fn fetch(&mut self, image: &str, secret: Option<&str>) -> Result<(), HostError> {
        if self.unpublished.contains(image) {
            return Err(HostError::new(Reason::ImageMissing, format!("The registry has no image `{image}`")));
        }
        if self.closed.contains(image) && !secret.is_some_and(|secret| self.secrets.contains_key(secret)) {
            return Err(HostError::new(Reason::PermissionDenied, "The registry wants a login for this image"));
        }
        self.images.insert(image.to_owned());
        self.remember(image);
        self.pulls.remove(&listed_as(image));
        self.built.remove(image);
        if let Some(digest) = self.tags.get(image) {
            self.local.insert(image.to_owned(), digest.clone());
        }
        self.count(None);
        Ok(())
    }

    /// Builds an image from what is there now, which may not be what was planned.
    fn build(&mut self, spec: &ImageSpec, built: &Built) -> Result<(), HostError> {
        let place = spec.build.as_ref().map(Build::place).unwrap_or_default();
        if !matches!(self.contexts.get(&place), Some(Some(_))) {
            return Err(HostError::new(Reason::SourceUnavailable, format!("`{place}` is not there")));
        }
        self.images.insert(spec.reference.clone());
        self.built.insert(spec.reference.clone(), built.clone());
        self.remember(&spec.reference);
        self.local.remove(&spec.reference);
        self.count(None);
        Ok(())
    }

    fn load(&mut self, reference: &str, archive: &str) -> Result<(), HostError> {
        let fingerprint = *self.archives.get(archive).ok_or_else(|| gone(archive))?;
        let from = FromArchive { path: archive.to_owned(), fingerprint };
        let brought = Brought { id: format!("sha256:{reference}"), archive: Some(from), digest: None };
        self.images.insert(reference.to_owned());
        self.built.remove(reference);
        self.remember(reference);
        self.brought.insert(listed_as(reference), brought);
        self.count(None);
        Ok(())
    }

    fn remember(&mut self, image: &str) {
        let repository = Reference::parse(image).map(|it| it.repository()).unwrap_or_default();
        self.ours.insert(self.image_id(image), Ours { repository, since: self.now() });
    }

    fn remove_unneeded(&mut self, id: &str) -> Result<(), HostError> {
        if self.containers.values().any(|it| it.image_id == id) {
            return Err(HostError::new(Reason::Refused, "A container uses the image"));
        }
        let names: Vec<String> = self.images.iter().filter(|name| self.image_id(name) == id).cloned().collect();
        for name in &names {
            self.images.remove(name);
            self.count(None);
        }
        self.ours.remove(id);
        Ok(())
    }

    fn push(&mut self, name: &str, image: &str, push: &Push) -> Result<(), HostError> {
        if !self.images.iter().any(|name| self.image_id(name) == image) {
            return Err(HostError::new(Reason::Gone, format!("There is no image `{image}` here any more")));
        }
        let secret = push.credentials.as_ref().map(|it| it.secret.as_str());
        if secret.is_some_and(|secret| !self.secrets.contains_key(secret)) {
            return Err(HostError::new(Reason::PermissionDenied, "The registry wants a login for this image"));
        }
        if let Some(lent) = self.lent.get_mut(name) {
            lent.remove(&listed_as(&push.to));
        }
        self.lent.retain(|_, lent| !lent.is_empty());
        let pushed = Pushed { image: image.to_owned(), digest: format!("sha256:of-{image}") };
        let given = self.pushed.entry(name.to_owned()).or_default();
        if given.insert(listed_as(&push.to), pushed.clone()) != Some(pushed) {
            self.count(None);
        }
        Ok(())
    }

    /// Returns the images that manifests have made here, with their identifiers.
    pub(super) fn made_images(&self) -> BTreeMap<String, String> {
        let here = self.made_here.iter().filter(|name| self.images.contains(*name));
        here.map(|name| (listed_as(name), self.image_id(name))).collect()
    }

    pub(super) fn image_id(&self, name: &str) -> String {
        let built = self.built.get(name).map(|it| format!("-{}-{}", it.recipe, it.source)).unwrap_or_default();
        format!("sha256:{name}{built}")
    }

    /// Returns what containers that are declared are made from after an update.
    fn pins(&self) -> impl Iterator<Item = String> {
        self.records.values().filter(|it| self.named.contains(&listed_as(&it.image))).filter_map(Record::pin)
    }

    fn images_view(&self) -> ImagesView {
        let seen = |name: &String| ImageSeen {
            id: self.image_id(name),
            names: vec![listed_as(name)],
            size: 1,
            built: self.built.get(name).cloned(),
        };
        let source = |(place, fingerprint): (&String, &Option<String>)| {
            let message = format!("`{place}` is not there");
            let trouble = fingerprint.is_none().then_some(Trouble { reason: Reason::SourceUnavailable, message });
            (place.clone(), ContextSeen { fingerprint: fingerprint.clone(), trouble })
        };
        ImagesView {
            images: self.images.iter().map(seen).collect(),
            pulls: self.pulls.clone(),
            secrets: self.digests(),
            sources: self.contexts.iter().map(source).collect(),
            pushed: self.pushed.clone(),
            lent: self.lent.clone(),
            archives: self.archives.iter().map(|(path, it)| (path.clone(), ArchiveSeen::There(*it))).collect(),
            brought: self.brought.clone(),
            ours: self.ours.clone(),
            used: self.containers.values().map(|it| it.image_id.clone()).collect(),
            named: self.named.iter().cloned().chain(self.pins()).collect(),
            now: Some(self.now()),
        }
    }
}

fn listed_as(image: &str) -> String {
    Reference::parse(image).map_or_else(|_| image.to_owned(), |reference| reference.to_string())
}
