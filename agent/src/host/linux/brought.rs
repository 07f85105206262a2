//! Where images came from that their registry did not give. An engine knows the digest only of what it pulled from there
//! itself, so that of all else is kept here.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use piccolo_schema::image::Reference;

use super::{book::Book, seen::Images, volumes::blocking};
use crate::host::{Brought, HostError};

/// All is written on one page: it is read and changed as one.
const PAGE: &str = "images";

/// What is written down of images that came another way than from their registry.
#[derive(Clone, Debug)]
pub(super) struct Arrivals(Arc<Book<BTreeMap<String, Brought>>>);

impl Arrivals {
    /// Reads what is written below `home`.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn open(home: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Book::open(home.join("brought"))?)))
    }

    /// Returns everything, by the name under which the engine lists the image.
    pub(super) fn all(&self) -> BTreeMap<String, Brought> {
        self.0.records().remove(PAGE).unwrap_or_default()
    }

    /// Writes down how an image came here, and forgets those that are here no more.
    pub(super) async fn put(&self, name: &str, brought: Brought, here: &Images) -> Result<(), HostError> {
        let (book, name) = (Arc::clone(&self.0), name.to_owned());
        let here: Vec<String> = here.all.iter().map(|image| image.id.clone()).collect();
        let change = move |all: &mut BTreeMap<String, Brought>| {
            all.retain(|_, it| here.contains(&it.id));
            all.insert(name, brought);
        };
        blocking(move || book.change(PAGE, change)).await
    }

    /// Adds the names by digest that the engine does not know.
    pub(super) fn complete(&self, mut images: Images) -> Images {
        for (name, brought) in self.all() {
            let Some(by_digest) = by_digest(&name, &brought) else { continue };
            let image = images.all.iter_mut().find(|it| it.id == brought.id);
            if let Some(image) = image.filter(|it| !it.names.contains(&by_digest)) {
                image.names.push(by_digest);
                image.names.sort();
            }
        }
        images
    }

    /// Returns what the engine calls an image: its identifier, where it does not know the digest.
    pub(super) fn called(&self, image: String) -> String {
        let Some(wanted) = Reference::parse(&image).ok().filter(|it| it.digest().is_some()) else { return image };
        let wanted = wanted.to_string();
        let found = self.all().into_iter().find(|(name, it)| by_digest(name, it).as_ref() == Some(&wanted));
        found.map_or(image, |(_, it)| it.id)
    }
}

fn by_digest(name: &str, brought: &Brought) -> Option<String> {
    Some(Reference::parse(name).ok()?.at(brought.digest.as_ref()?).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ImageSeen;

    const DIGEST: &str = "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

    fn here(id: &str) -> Images {
        Images { all: vec![ImageSeen { id: id.to_owned(), names: vec!["app:1".to_owned()], size: 1, built: None }] }
    }

    #[tokio::test]
    async fn what_the_engine_does_not_know_is_kept_until_the_image_is_gone() {
        let room = tempfile::tempdir().unwrap();
        let arrivals = Arrivals::open(room.path()).unwrap();
        let brought = |id: &str| Brought { id: id.to_owned(), digest: Some(DIGEST.to_owned()), archive: None };
        arrivals.put("app:1", brought("sha256:a"), &here("sha256:a")).await.unwrap();
        let again = Arrivals::open(room.path()).unwrap();
        let by_digest = format!("app@{DIGEST}");
        assert_eq!(again.complete(here("sha256:a")).all[0].names, ["app:1", &by_digest]);
        assert_eq!(again.complete(here("sha256:b")).all[0].names, ["app:1"]);
        assert_eq!(again.called(by_digest.clone()), "sha256:a");
        assert_eq!(again.called("app:1".to_owned()), "app:1");
        again.put("other:1", brought("sha256:b"), &here("sha256:b")).await.unwrap();
        assert_eq!(again.called(by_digest.clone()), by_digest);
    }
}
