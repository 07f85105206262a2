//! Pulls through mirrors: registries that have the images of another one, asked before it.

use bollard::models::ImageInspect;
use piccolo_schema::image::{Mirror, Reference};
use tracing::{info, warn};

use super::{
    docker::{Docker, lock},
    error,
    images::{Declared, forget_name, whole},
};
use crate::host::{Brought, HostError};

impl Docker {
    /// Pulls an image from the first mirror of its repository that gives it. Returns false if none does, or there is none.
    pub(super) async fn fetch_through(&self, image: &str) -> Result<bool, HostError> {
        let Ok(reference) = Reference::parse(image) else { return Ok(false) };
        let mirrors = of(&reference, &self.declared.borrow());
        for mirror in mirrors {
            let Ok(there) = reference.through(&mirror.at) else { continue };
            match self.fetch_from(&mirror, &there, image).await {
                Ok(()) => {
                    self.take_over(&there, &reference).await?;
                    info!(image, mirror = mirror.at, "pulled through a mirror");
                    return Ok(true);
                }
                // Whatever is wrong with a mirror, there is the registry itself.
                Err(error) => warn!(image, mirror = mirror.at, %error, "the mirror does not give the image"),
            }
        }
        Ok(false)
    }

    /// Returns the digest that an image has at the first mirror that knows it.
    pub(super) async fn digest_through(&self, image: &str) -> Option<String> {
        let reference = Reference::parse(image).ok()?;
        let mirrors = of(&reference, &self.declared.borrow());
        for mirror in mirrors {
            let (there, client) = (reference.through(&mirror.at).ok()?.to_string(), self.client().await.ok()?);
            let Ok(login) = self.login(&there, secret(&mirror)).await else { continue };
            let asked = client.inspect_registry_image(&there, login).await.ok();
            if let Some(digest) = asked.and_then(|asked| asked.descriptor.digest) {
                return Some(digest);
            }
        }
        None
    }

    async fn fetch_from(&self, mirror: &Mirror, there: &Reference, image: &str) -> Result<(), HostError> {
        let login = self.login(&there.to_string(), secret(mirror)).await?;
        self.fetch_as(&there.to_string(), image, login).await
    }

    /// Gives an image the name by which it was asked for, writes down its digest, which the engine knows for the mirror
    /// alone, and takes the name of the mirror away.
    async fn take_over(&self, there: &Reference, wanted: &Reference) -> Result<(), HostError> {
        let client = self.client().await?;
        let inspected = client.inspect_image(&there.to_string()).await.map_err(|error| error::translate(&error))?;
        let (digest, id) = (digest(&inspected, there), inspected.id.unwrap_or_default());
        self.name(&id, &wanted.to_string()).await?;
        lock(&self.cache).forget_images();
        let here = self.all_images(&client).await?;
        let brought = Brought { id, digest, archive: None };
        self.arrivals.put(&wanted.to_string(), brought, &here).await?;
        if wanted.digest().is_none() {
            // By its digest alone it would have no name at all then, and look like one that nobody wants.
            forget_name(&client, &there.to_string()).await?;
        }
        lock(&self.cache).forget_images();
        Ok(())
    }
}

/// Returns the digest under which a repository gave an image.
fn digest(inspected: &ImageInspect, there: &Reference) -> Option<String> {
    let mut names = inspected.repo_digests.iter().flatten().filter_map(|name| Reference::parse(name).ok());
    names.find(|name| name.repository() == there.repository())?.digest().map(str::to_owned)
}

fn secret(mirror: &Mirror) -> Option<&str> {
    mirror.credentials.as_ref().map(|it| it.secret.as_str())
}

/// Finds the mirrors of a repository, whatever the tag. Of several manifests that of the very image counts.
fn of(wanted: &Reference, declared: &Declared) -> Vec<Mirror> {
    let same = |name: &String| Reference::parse(name).is_ok_and(|it| it.repository() == wanted.repository());
    let exact = declared.get(&whole(&wanted.to_string())).map(|it| it.mirrors.clone());
    let other = || declared.iter().find(|(name, it)| same(name) && !it.mirrors.is_empty());
    exact.filter(|it| !it.is_empty()).or_else(|| other().map(|(_, it)| it.mirrors.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::linux::DeclaredImage;

    #[test]
    fn a_repository_has_the_mirrors_of_its_manifests() {
        let at = |at: &str| DeclaredImage {
            mirrors: vec![Mirror { at: at.to_owned(), credentials: None }],
            ..DeclaredImage::default()
        };
        let declared = Declared::from([("nginx:1.27".to_owned(), at("a.lan")), ("nginx:1.28".to_owned(), at("b.lan"))]);
        let found = |name: &str| of(&Reference::parse(name).unwrap(), &declared).first().map(|it| it.at.clone());
        assert_eq!(found("docker.io/library/nginx:1.28").as_deref(), Some("b.lan"));
        assert_eq!(found("nginx:1.29").as_deref(), Some("a.lan"));
        assert_eq!(found("lan:5000/nginx:1.27"), None);
    }
}
