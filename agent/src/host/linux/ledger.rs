//! Which images are ours to remove, and which are still needed. An engine knows neither who brought an image, nor what a
//! container ran before; both are kept here.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex, OnceLock, Weak},
};

use piccolo_schema::image::Reference;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;

use super::{
    book::Book,
    docker::{Docker, lock},
    images::{forget_name, whole},
    seen::Images,
    updates::Updater,
    volumes::blocking,
};
use crate::{
    clock,
    host::{ContainerSeen, HostError, ImageSeen, ImagesView, Ours},
};

/// All is written on one page: it is read and changed as one.
const PAGE: &str = "images";

/// What is written down of images and their use.
#[derive(Debug)]
pub(super) struct Ledger {
    book: Arc<Book<Page>>,
    /// The names that manifests give to images, in familiar form.
    named: watch::Receiver<BTreeSet<String>>,
    /// Who knows what containers were updated to.
    updater: OnceLock<Weak<Updater>>,
    /// What each container was seen to run last.
    seen: Mutex<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Page {
    /// What was brought here, by identifier.
    ours: BTreeMap<String, Ours>,
    /// What the container of each manifest runs.
    ran: BTreeMap<String, Ran>,
}

/// The images of a container, by identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ran {
    now: String,
    /// What it ran before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

impl Ledger {
    /// Reads what is written below `home`.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn open(home: &Path, named: watch::Receiver<BTreeSet<String>>) -> io::Result<Self> {
        let book = Arc::new(Book::open(home.join("ledger"))?);
        Ok(Self { book, named, updater: OnceLock::new(), seen: Mutex::default() })
    }

    fn page(&self) -> Page {
        self.book.records().remove(PAGE).unwrap_or_default()
    }

    /// Writes down that an image came here, and forgets those that are here no more.
    async fn brought(&self, id: &str, reference: &Reference, here: &Images) -> Result<(), HostError> {
        let (book, id, repository) = (Arc::clone(&self.book), id.to_owned(), reference.repository());
        let here: BTreeSet<String> = here.all.iter().map(|image| image.id.clone()).collect();
        let ours = Ours { repository, since: clock::now() };
        let change = move |page: &mut Page| {
            page.ours.retain(|known, _| here.contains(known));
            page.ours.insert(id, ours);
        };
        blocking(move || book.change(PAGE, change)).await
    }

    /// Writes down what containers run now, if that is something else than before.
    pub(super) async fn ran(&self, containers: &[ContainerSeen]) {
        let live = containers.iter().filter(|it| it.state.is_live() && !it.image_id.is_empty());
        let now: BTreeMap<String, String> =
            live.filter_map(|it| Some((it.subject()?.to_owned(), it.image_id.clone()))).collect();
        let subjects: BTreeSet<String> =
            containers.iter().filter_map(ContainerSeen::subject).map(str::to_owned).collect();
        if std::mem::replace(&mut *lock(&self.seen), now.clone()) == now {
            return;
        }
        let book = Arc::clone(&self.book);
        let change = move |page: &mut Page| page.ran(now, &subjects);
        if let Err(error) = blocking(move || book.change(PAGE, change)).await {
            // It is tried with the next change; until then an image is kept too much, or too little is known of one.
            warn!(%error, "what containers run is not written down");
            lock(&self.seen).clear();
        }
    }
}

impl Page {
    fn ran(&mut self, now: BTreeMap<String, String>, subjects: &BTreeSet<String>) {
        self.ran.retain(|subject, _| subjects.contains(subject));
        for (subject, id) in now {
            let ran = self.ran.entry(subject).or_default();
            if ran.now != id {
                let before = std::mem::replace(&mut ran.now, id);
                ran.before = Some(before).filter(|id| !id.is_empty());
            }
        }
    }
}

impl Docker {
    /// Keeps the images to which containers were updated.
    pub(super) fn keep_pins_of(&self, updater: &Arc<Updater>) {
        // There is one for as long as the daemon runs.
        let _ = self.ledger.updater.set(Arc::downgrade(updater));
    }

    /// Writes down that an image came here for a manifest. One of which that fails is never removed.
    pub(super) async fn remember(&self, image: &str) {
        let written = async {
            let Ok(reference) = Reference::parse(image) else { return Ok(()) };
            lock(&self.cache).forget_images();
            let here = self.all_images(&self.client().await?).await?;
            let Some(id) = here.id(&whole(image)) else { return Ok(()) };
            self.ledger.brought(id, &reference, &here).await
        };
        let written: Result<(), HostError> = written.await;
        if let Err(error) = written {
            warn!(image, %error, "it is not written down that this image was brought here");
        }
    }

    /// Adds to a view what it takes to know which images nobody needs.
    pub(super) async fn with_use(&self, view: ImagesView) -> Result<ImagesView, HostError> {
        let containers = self.list(&self.client().await?).await?;
        let page = self.ledger.page();
        let ran = page.ran.into_values().flat_map(|ran| [Some(ran.now), ran.before]).flatten();
        let used = containers.into_iter().map(|it| it.image_id).chain(ran).collect();
        let mut named = self.ledger.named.borrow().clone();
        // A container that waits is made from its pin, and would fetch it again and again.
        named.extend(self.ledger.updater.get().and_then(Weak::upgrade).into_iter().flat_map(|it| it.pins()));
        Ok(ImagesView { ours: page.ours, used, named, now: Some(clock::now()), ..view })
    }

    /// Removes an image, if it has no name outside of this repository and no container uses it.
    pub(super) async fn remove_unneeded(&self, id: &str, repository: &str) -> Result<(), HostError> {
        let client = self.client().await?;
        let images = self.all_images(&client).await?;
        let Some(image) = images.all.iter().find(|image| image.id == id) else { return Ok(()) };
        let (ours, others): (Vec<_>, Vec<_>) = tags(image).partition(|name| name.repository() == repository);
        for name in &ours {
            forget_name(&client, &name.to_string()).await?;
        }
        if others.is_empty() {
            // The last name may have taken it along.
            forget_name(&client, id).await?;
        }
        lock(&self.cache).forget_images();
        self.images_hint.notify_one();
        Ok(())
    }

    /// Removes every image of ours that nobody needs, or only says which ones those are.
    ///
    /// # Errors
    /// When one can't be removed; those before it are gone.
    pub async fn prune(&self, dry_run: bool) -> Result<Vec<ImageSeen>, HostError> {
        let images = self.all_images(&self.client().await?).await?.all;
        let view = self.with_use(ImagesView { images, ..ImagesView::default() }).await?;
        let mut removed = Vec::new();
        for (image, ours) in view.unneeded() {
            if !dry_run {
                self.remove_unneeded(&image.id, &ours.repository).await?;
            }
            removed.push(image.clone());
        }
        Ok(removed)
    }
}

fn tags(image: &ImageSeen) -> impl Iterator<Item = Reference> {
    let names = image.names.iter().filter_map(|name| Reference::parse(name).ok());
    names.filter(|name| name.digest().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(subject, id)| ((*subject).to_owned(), (*id).to_owned())).collect()
    }

    #[test]
    fn what_runs_and_what_ran_before_is_known_and_no_more() {
        let both: BTreeSet<String> = ["db", "web"].map(str::to_owned).into();
        let mut page = Page::default();
        for id in ["a", "b", "b", "c"] {
            page.ran(live(&[("web", id), ("db", "d")]), &both);
        }
        let ran = |now: &str, before: Option<&str>| Ran { now: now.to_owned(), before: before.map(str::to_owned) };
        assert_eq!((&page.ran["web"], &page.ran["db"]), (&ran("c", Some("b")), &ran("d", None)));
        page.ran(live(&[]), &both);
        assert_eq!(page.ran["web"], ran("c", Some("b")), "one that is stopped may start again");
        page.ran(live(&[]), &["db".to_owned()].into());
        assert_eq!(page.ran.keys().collect::<Vec<_>>(), ["db"]);
    }
}
