//! Images that registries are given.
//!
//! An engine pushes an image only under a name that it has here. So the name is lent to the image for as long as that
//! takes, and who had it before is written down first: whatever happens, it is given back.

mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bollard::{
    Docker as Client,
    auth::DockerCredentials,
    query_parameters::{PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder},
};
use futures_util::StreamExt;
use piccolo_schema::{
    Progress,
    image::{Push, Reference},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;

use self::tally::Tally;
use super::{book::Book, docker::Docker, error, pace::Pace, pulls::Pull, volumes::blocking};
use crate::host::{HostError, Pushed, Reason};

/// How long a push may go without a word.
const PATIENCE: Duration = Duration::from_secs(300);

type Given = BTreeMap<String, BTreeMap<String, Pushed>>;
type Lent = BTreeMap<String, BTreeSet<String>>;

/// What registries were given.
#[derive(Debug)]
pub(super) struct Pushes(Result<Arc<Book<Page>>, String>);

/// What is written down of one manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Page {
    /// What was given, by the name that it has there.
    done: BTreeMap<String, Pushed>,
    /// Names that are lent, each with the image that had it before.
    lent: BTreeMap<String, Option<String>>,
}

impl Pushes {
    /// Reads what is written down below `home`.
    pub(super) fn open(home: &Path) -> Self {
        let home = home.join("pushed");
        let book = Book::open(home.clone()).map_err(|error| format!("`{}` can't be read ({error})", home.display()));
        Self(book.map(Arc::new))
    }

    /// Returns what was given, and the names that are lent, by manifest.
    pub(super) fn seen(&self) -> Result<(Given, Lent), HostError> {
        let (mut given, mut lent) = (Given::new(), Lent::new());
        for (name, page) in self.book()?.records() {
            if !page.lent.is_empty() {
                lent.insert(name.clone(), page.lent.into_keys().collect());
            }
            given.insert(name, page.done);
        }
        Ok((given, lent))
    }

    fn book(&self) -> Result<Arc<Book<Page>>, HostError> {
        self.0.clone().map_err(|why| HostError::new(Reason::Failed, why))
    }

    fn lent(&self, name: &str, to: &str) -> Result<Option<Option<String>>, HostError> {
        Ok(self.book()?.records().get(name).and_then(|page| page.lent.get(to).cloned()))
    }

    async fn change(&self, name: &str, change: impl FnOnce(&mut Page) + Send + 'static) -> Result<(), HostError> {
        let (book, name) = (self.book()?, name.to_owned());
        blocking(move || book.change(&name, change)).await
    }
}

impl Docker {
    /// Gives an image to a registry, unless that has it, and writes down that it has.
    pub(super) async fn push_declared(&self, name: &str, image: &str, push: &Push) -> Result<(), HostError> {
        let to = Reference::parse(&push.to).map_err(|why| HostError::new(Reason::Refused, why))?;
        let client = self.client().await?;
        let login = self.login(&push.to, push.credentials.as_ref().map(|it| it.secret.as_str())).await?;
        let sent = match already(&client, image, &to, login.clone()).await? {
            Some(digest) => Ok(digest),
            None => self.send(&client, name, image, &to, login).await,
        };
        // Also what was lent by a push that broke off.
        let given_back = self.give_back(&client, name, &to).await;
        let digest = sent?;
        given_back?;
        let pushed = Pushed { image: image.to_owned(), digest };
        self.pushes.change(name, move |page| drop(page.done.insert(to.to_string(), pushed))).await?;
        self.images_hint.notify_one();
        Ok(())
    }

    /// Gives an image the name under which it is pushed.
    async fn lend(&self, client: &Client, name: &str, image: &str, to: &Reference) -> Result<(), HostError> {
        let key = to.to_string();
        let owner = owner(client, &key).await?;
        if owner.as_deref() == Some(image) {
            return Ok(());
        }
        // A push that broke off knows better who had the name.
        if self.pushes.lent(name, &key)?.is_none() {
            self.pushes.change(name, move |page| drop(page.lent.insert(key, owner))).await?;
        }
        tag(client, image, to).await
    }

    /// Gives a name back to whom it was lent from.
    async fn give_back(&self, client: &Client, name: &str, to: &Reference) -> Result<(), HostError> {
        let key = to.to_string();
        let Some(before) = self.pushes.lent(name, &key)? else { return Ok(()) };
        let given_back = match before {
            Some(before) => tag(client, &before, to).await,
            None => untag(client, &key).await,
        };
        error::gone_is_fine(given_back)?;
        self.pushes.change(name, move |page| drop(page.lent.remove(&key))).await
    }

    /// Gives a name back that a push left behind.
    pub(super) async fn give_name_back(&self, name: &str, to: &str) -> Result<(), HostError> {
        let to = Reference::parse(to).map_err(|why| HostError::new(Reason::Refused, why))?;
        self.give_back(&self.client().await?, name, &to).await?;
        self.images_hint.notify_one();
        Ok(())
    }

    /// Lends an image its name and pushes it. Returns the digest that the registry gives it.
    async fn send(
        &self,
        client: &Client,
        name: &str,
        image: &str,
        to: &Reference,
        login: Option<DockerCredentials>,
    ) -> Result<String, HostError> {
        self.lend(client, name, image, to).await?;
        let key = to.to_string();
        let options = PushImageOptionsBuilder::new().tag(to.tag().unwrap_or("latest")).build();
        let repository = to.repository();
        let client = client.clone().with_timeout(PATIENCE);
        let mut words = std::pin::pin!(client.push_image(&repository, Some(options), login));
        let (mut tally, mut pace) = (Tally::default(), Pace::new(PATIENCE));
        let push = self.pulls.begin();
        loop {
            match timeout_at(pace.next(), words.next()).await {
                Ok(None) => break,
                Ok(Some(Err(failure))) => return Err(error::push(&key, &failure)),
                Ok(Some(Ok(word))) => pace.heard(tally.hear(&word)),
                Err(_) if pace.is_over() => {
                    let message = format!("The registry took nothing of {key} for {} s", PATIENCE.as_secs());
                    return Err(HostError::new(Reason::TimedOut, message));
                }
                Err(_) => {}
            }
            if pace.is_due() {
                self.tell_push(&push, name, Progress { to: Some(key.clone()), ..tally.progress() });
            }
        }
        tally
            .digest()
            .ok_or_else(|| HostError::new(Reason::PushFailed, format!("The registry did not say that it has {key}")))
    }

    /// Tells in the status of a manifest how far its push has come.
    fn tell_push(&self, push: &Pull<'_>, name: &str, progress: Progress) {
        let declared =
            self.declared.borrow().iter().find(|(_, it)| it.manifest == name).map(|(image, _)| image.clone());
        if let Some(image) = declared {
            push.tell(&image, progress);
            self.images_hint.notify_one();
        }
    }
}

/// Returns the digest that a registry has for a name if that is one of this image's. A registry that does not say is
/// given the image.
async fn already(
    client: &Client,
    image: &str,
    to: &Reference,
    login: Option<DockerCredentials>,
) -> Result<Option<String>, HostError> {
    let seen = client.inspect_image(image).await.map_err(|error| error::translate(&error))?;
    let names = seen.repo_digests.unwrap_or_default();
    let digests: Vec<&str> = names.iter().filter_map(|name| Some(name.split_once('@')?.1)).collect();
    if digests.is_empty() {
        return Ok(None);
    }
    let asked = client.inspect_registry_image(&to.to_string(), login).await.ok();
    Ok(asked.and_then(|it| it.descriptor.digest).filter(|digest| digests.contains(&digest.as_str())))
}

/// Returns the image that has a name here.
async fn owner(client: &Client, name: &str) -> Result<Option<String>, HostError> {
    match client.inspect_image(name).await {
        Ok(seen) => Ok(seen.id),
        Err(error) => match error::translate(&error) {
            error if matches!(error.reason, Reason::Gone | Reason::ImageMissing) => Ok(None),
            error => Err(error),
        },
    }
}

async fn tag(client: &Client, image: &str, to: &Reference) -> Result<(), HostError> {
    let repository = to.repository();
    let options = TagImageOptionsBuilder::new().repo(&repository).tag(to.tag().unwrap_or("latest")).build();
    client.tag_image(image, Some(options)).await.map_err(|error| error::translate(&error))
}

/// Takes a name away, but never the last one: with it the image would go.
async fn untag(client: &Client, name: &str) -> Result<(), HostError> {
    let seen = client.inspect_image(name).await.map_err(|error| error::translate(&error))?;
    if seen.repo_tags.unwrap_or_default().len() < 2 {
        return Ok(());
    }
    let options = RemoveImageOptionsBuilder::new().noprune(true).build();
    client.remove_image(name, Some(options), None).await.map(drop).map_err(|error| error::translate(&error))
}
