//! The engine's images.

use std::collections::BTreeMap;

use bollard::{
    Docker as Client,
    auth::DockerCredentials,
    errors::Error,
    query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions},
};
use piccolo_schema::{
    ImageSpec, Progress,
    image::{Build, Mirror, Push, Reference},
};

use super::{
    docker::Docker,
    error,
    pulls::{self, Pull},
};
use crate::host::{Built, HostError, Images, ImagesView, Reason};

/// The images that manifests declare, by the name under which the engine lists them.
pub type Declared = BTreeMap<String, DeclaredImage>;

/// An image that a manifest declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredImage {
    /// The name of the manifest.
    pub manifest: String,
    /// The secret with the login for its registry.
    pub secret: Option<String>,
    /// Who is asked for it before its registry.
    pub mirrors: Vec<Mirror>,
    /// What it is built from, if it is built here.
    pub build: Option<Build>,
    /// The archive that it comes from.
    pub archive: Option<String>,
    /// Whether older images are removed.
    pub prunes: bool,
}

impl DeclaredImage {
    /// Returns true if the image is not pulled but made on this machine.
    pub(super) const fn is_made(&self) -> bool {
        self.build.is_some() || self.archive.is_some()
    }
}

impl Images for Docker {
    async fn images(&self) -> Result<ImagesView, HostError> {
        let client = self.client().await?;
        let images = self.all_images(&client).await?.all;
        // What is wrong with the memory of secrets is told by their own kind.
        let (secrets, _) = self.vault.given().await.unwrap_or_default();
        let (archives, brought) = (self.archives().await?, self.arrivals.all());
        let (pulls, sources, (pushed, lent)) = (self.pulls.seen(), self.sources.seen(), self.pushes.seen()?);
        let base = ImagesView { images, secrets, pulls, sources, pushed, ..ImagesView::default() };
        let view = ImagesView { lent, archives, brought, ..base };
        let is_asked = self.declared.borrow().values().any(|it| it.prunes);
        if is_asked { self.with_use(view).await } else { Ok(view) }
    }

    async fn changed(&self) {
        self.images_hint.notified().await;
    }

    async fn pull_declared(&self, spec: &ImageSpec) -> Result<(), HostError> {
        let secret = spec.credentials.as_ref().map(|it| it.secret.as_str());
        let login = self.login(&spec.reference, secret).await?;
        self.fetch(&spec.reference, login).await
    }

    async fn build(&self, name: &str, spec: &ImageSpec, built: &Built) -> Result<(), HostError> {
        self.build_declared(name, spec, built).await
    }

    async fn push(&self, name: &str, image: &str, push: &Push) -> Result<(), HostError> {
        self.push_declared(name, image, push).await
    }

    async fn give_back(&self, name: &str, to: &str) -> Result<(), HostError> {
        self.give_name_back(name, to).await
    }

    async fn remove_image(&self, image: &str, repository: &str) -> Result<(), HostError> {
        self.remove_unneeded(image, repository).await
    }

    async fn load(&self, reference: &str, archive: &str) -> Result<(), HostError> {
        self.load_archive(reference, archive).await
    }
}

impl Docker {
    /// Pulls an image. Every pull comes through here.
    pub(super) async fn fetch(&self, image: &str, login: Option<DockerCredentials>) -> Result<(), HostError> {
        if !self.fetch_through(image).await? {
            self.fetch_as(image, image, login).await?;
        }
        self.remember(image).await;
        Ok(())
    }

    /// Pulls what is called `name` somewhere, and tells how far it has come as that of an image.
    pub(super) async fn fetch_as(
        &self,
        name: &str,
        image: &str,
        login: Option<DockerCredentials>,
    ) -> Result<(), HostError> {
        let client = self.client().await?;
        // Without a tag an engine would pull every one that there is.
        let options = CreateImageOptionsBuilder::new().from_image(&whole(name)).build();
        let words = client.create_image(Some(options), None, login);
        let pull = self.pulls.begin();
        let tell = |progress| self.tell(&pull, image, progress);
        pulls::follow(name, words, |failure| error::pull(name, failure), tell).await
    }

    /// Tells how far an image has come.
    pub(super) fn tell(&self, pull: &Pull<'_>, image: &str, progress: Progress) {
        pull.tell(&whole(image), progress);
        self.images_hint.notify_one();
        self.containers_hint.now();
    }

    /// Returns the digest that an image has at its registry, without pulling it.
    pub(super) async fn registry_digest(&self, image: &str) -> Result<String, HostError> {
        if let Some(digest) = self.digest_through(image).await {
            return Ok(digest);
        }
        let client = self.client().await?;
        let login = self.login_of_repository(image).await?;
        let asked =
            client.inspect_registry_image(&whole(image), login).await.map_err(|error| error::pull(image, &error))?;
        let none = || HostError::new(Reason::Failed, format!("The registry names no digest of {image}"));
        asked.descriptor.digest.ok_or_else(none)
    }

    /// Returns the login that a manifest gives for the repository of this image, if one does.
    pub(super) async fn login_of_repository(&self, image: &str) -> Result<Option<DockerCredentials>, HostError> {
        let secret = secret_of(image, &self.declared.borrow());
        self.login(image, secret.as_deref()).await
    }

    pub(super) async fn login(
        &self,
        image: &str,
        secret: Option<&str>,
    ) -> Result<Option<DockerCredentials>, HostError> {
        match (secret, Reference::parse(image)) {
            (Some(secret), Ok(reference)) => Ok(Some(self.vault.login(secret, reference.domain()).await?)),
            _ => Ok(None),
        }
    }
}

/// Finds the secret for a repository, whatever the tag. Of several manifests that of the very image counts.
fn secret_of(image: &str, declared: &Declared) -> Option<String> {
    let wanted = Reference::parse(image).ok()?;
    let same = |name: &String| {
        let found = Reference::parse(name).ok();
        found.is_some_and(|it| it.repository() == wanted.repository())
    };
    let exact = declared.get(&wanted.to_string()).and_then(|it| it.secret.clone());
    exact.or_else(|| declared.iter().filter(|(name, _)| same(name)).find_map(|(_, it)| it.secret.clone()))
}

/// Takes a name of an image away, the last one with the image itself. Without force: the engine keeps what a container
/// uses.
pub(super) async fn forget_name(client: &Client, name: &str) -> Result<(), HostError> {
    match client.remove_image(name, None::<RemoveImageOptions>, None).await {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        removed => removed.map(drop).map_err(|error| error::translate(&error)),
    }
}

/// Returns the name by which an engine lists an image.
pub(super) fn whole(image: &str) -> String {
    Reference::parse(image).map_or_else(|_| image.to_owned(), |reference| reference.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_a_repository_whatever_the_tag() {
        let declare = |secret: &str| DeclaredImage { secret: Some(secret.to_owned()), ..DeclaredImage::default() };
        let declared = Declared::from([
            ("lan:5000/app:1".to_owned(), declare("one")),
            ("lan:5000/app:2".to_owned(), declare("two")),
            ("lan:5000/other:1".to_owned(), DeclaredImage::default()),
        ]);
        assert_eq!(secret_of("lan:5000/app:2", &declared).as_deref(), Some("two"));
        assert_eq!(secret_of("lan:5000/app:3", &declared).as_deref(), Some("one"));
        assert_eq!(secret_of("lan:5000/other:1", &declared), None);
        assert_eq!(secret_of("app:1", &declared), None);
    }
}
