use std::future::Future;

use super::{FakeEngine, Verb};
use crate::host::{HostError, Reason, SourceSeen, Sources, SourcesView};

impl Sources for FakeEngine {
    async fn sources(&self) -> Result<SourcesView, HostError> {
        let sources = self.look().sources;
        self.verb_of_looking(Verb::Sources, SourcesView { sources }).await
    }

    async fn take(&self, source: &str, revision: &str) -> Result<(), HostError> {
        self.verb(Verb::Take, |world| {
            let seen = world.sources.get_mut(source);
            let Some(seen) = seen.filter(|it| it.offer.as_ref().is_some_and(|offer| offer.revision == revision)) else {
                return Err(HostError::new(Reason::Gone, "The repository has another revision by now"));
            };
            seen.revision = Some(revision.to_owned());
            seen.edited.clear();
            world.count(None);
            Ok(())
        })
        .await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.sources_changed.notified()
    }
}

impl FakeEngine {
    /// Makes this known of a repository.
    pub fn hear_of_source(&self, name: &str, seen: SourceSeen) {
        self.by_hand(|world| {
            world.sources.insert(name.to_owned(), seen);
        });
    }
}
