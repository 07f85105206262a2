//! What is remembered of the engine between two looks.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::seen::Images;
use crate::host::ContainerSeen;

/// How long anything is believed without having been looked at anew, in case an event was missed.
const BELIEVED: Duration = Duration::from_secs(300);

/// What is remembered. Events and questions are counted, so that an answer which an event has overtaken is not kept; an
/// event about one container leaves the answers about all others as they are.
#[derive(Debug, Default)]
pub(super) struct Cache {
    heard: u64,
    cleared: u64,
    filled: Option<Instant>,
    containers: HashMap<String, Known<(ContainerSeen, String)>>,
    images: Known<Images>,
    networks: Known<Vec<String>>,
    volumes: Known<Vec<String>>,
}

/// How many events had been heard when a question was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked(u64);

/// An answer, and the last event that was about it.
#[derive(Debug)]
struct Known<T> {
    answer: Option<T>,
    heard: u64,
}

impl Cache {
    pub(super) fn clear(&mut self) {
        let heard = self.heard + 1;
        *self = Self { heard, cleared: heard, ..Self::default() };
        self.images.forget(heard);
        self.networks.forget(heard);
        self.volumes.forget(heard);
    }

    /// Drops what has been believed for too long.
    pub(super) fn age(&mut self) {
        let now = Instant::now();
        if self.filled.is_some_and(|filled| now - filled > BELIEVED) {
            self.clear();
        }
        self.filled.get_or_insert(now);
    }

    /// Returns what is known of a container, if the list shows it as before.
    pub(super) fn container(&self, listed: &ContainerSeen, status: &str) -> (Option<ContainerSeen>, Asked) {
        let known = self.containers.get(&listed.id).and_then(|known| known.answer.as_ref());
        let same = known.filter(|(known, before)| {
            before == status
                && known.state == listed.state
                && known.name == listed.name
                && known.attached == listed.attached
        });
        (same.map(|(known, _)| known.clone()), Asked(self.heard))
    }

    pub(super) fn put_container(&mut self, seen: &ContainerSeen, status: String, asked: Asked) {
        let unknown = Known { answer: None, heard: self.cleared };
        self.containers.entry(seen.id.clone()).or_insert(unknown).put((seen.clone(), status), asked);
    }

    /// Forgets containers that are not there any more.
    pub(super) fn keep(&mut self, containers: &[ContainerSeen]) {
        if self.containers.len() > containers.len() {
            let here: HashSet<&str> = containers.iter().map(|container| container.id.as_str()).collect();
            self.containers.retain(|id, _| here.contains(id.as_str()));
        }
    }

    pub(super) fn forget_container(&mut self, id: &str) {
        self.heard += 1;
        self.containers.entry(id.to_owned()).or_default().forget(self.heard);
    }

    pub(super) fn images(&self) -> (Option<Images>, Asked) {
        (self.images.answer.clone(), Asked(self.heard))
    }

    pub(super) fn put_images(&mut self, images: Images, asked: Asked) {
        self.images.put(images, asked);
    }

    pub(super) fn forget_images(&mut self) {
        self.heard += 1;
        self.images.forget(self.heard);
    }

    pub(super) fn networks(&self) -> (Option<Vec<String>>, Asked) {
        (self.networks.answer.clone(), Asked(self.heard))
    }

    pub(super) fn put_networks(&mut self, networks: Vec<String>, asked: Asked) {
        self.networks.put(networks, asked);
    }

    pub(super) fn forget_networks(&mut self) {
        self.heard += 1;
        self.networks.forget(self.heard);
    }

    pub(super) fn volumes(&self) -> (Option<Vec<String>>, Asked) {
        (self.volumes.answer.clone(), Asked(self.heard))
    }

    pub(super) fn put_volumes(&mut self, volumes: Vec<String>, asked: Asked) {
        self.volumes.put(volumes, asked);
    }

    pub(super) fn forget_volumes(&mut self) {
        self.heard += 1;
        self.volumes.forget(self.heard);
    }
}

impl<T> Known<T> {
    /// Keeps an answer unless an event about it has been heard since the question.
    fn put(&mut self, answer: T, asked: Asked) {
        if self.heard <= asked.0 {
            self.answer = Some(answer);
        }
    }

    fn forget(&mut self, heard: u64) {
        *self = Self { answer: None, heard };
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { answer: None, heard: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Limits, State};

    fn seen(id: &str, state: State) -> ContainerSeen {
        ContainerSeen {
            id: id.into(),
            name: id.into(),
            stamp: None,
            state,
            health: None,
            exit_code: None,
            image_id: String::new(),
            image_digest: None,
            since: None,
            engine_restarts: 0,
            limits: Limits::default(),
            restarts: 0,
            address: None,
            attached: true,
        }
    }

    #[test]
    fn an_event_drops_what_it_is_about_and_nothing_else() {
        let mut cache = Cache::default();
        let (one, other) = (seen("one", State::Running), seen("other", State::Running));
        let (_, asked) = cache.container(&one, "");
        cache.forget_container("one");
        cache.put_container(&one, String::new(), asked);
        cache.put_container(&other, String::new(), asked);
        cache.put_images(Images::default(), asked);
        assert_eq!(cache.container(&one, "").0, None, "the event came after the question");
        assert_eq!(cache.container(&other, "").0, Some(other.clone()));
        assert!(cache.images().0.is_some());
        cache.forget_images();
        assert!(cache.images().0.is_none());
        assert_eq!(cache.container(&other, "").0, Some(other));
    }

    #[test]
    fn what_the_list_shows_otherwise_is_asked_anew() {
        let mut cache = Cache::default();
        let (one, asked) = (seen("one", State::Running), Asked(0));
        cache.put_container(&one, "(healthy)".into(), asked);
        assert!(cache.container(&one, "(healthy)").0.is_some());
        assert!(cache.container(&one, "(unhealthy)").0.is_none());
        assert!(cache.container(&seen("one", State::Exited), "(healthy)").0.is_none());
    }

    #[test]
    fn nothing_outlives_a_break() {
        let mut cache = Cache::default();
        let one = seen("one", State::Running);
        let (_, asked) = cache.container(&one, "");
        cache.clear();
        cache.put_container(&one, String::new(), asked);
        cache.put_networks(vec!["apps".into()], asked);
        assert!(cache.container(&one, "").0.is_none() && cache.networks().0.is_none());
    }
}
