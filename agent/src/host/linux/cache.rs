//! What is remembered of the engine between two looks.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::host::ContainerSeen;

/// How long anything is believed without having been looked at anew, in case an event was missed.
const BELIEVED: Duration = Duration::from_secs(300);

/// What is remembered. Each change of the machine that is heard of moves the epoch, so that what was read before it is
/// not remembered after it.
#[derive(Debug, Default)]
pub(super) struct Cache {
    epoch: u64,
    filled: Option<Instant>,
    containers: HashMap<String, (ContainerSeen, String)>,
    images: Option<Vec<String>>,
    networks: Option<Vec<String>>,
}

impl Cache {
    pub(super) fn clear(&mut self) {
        *self = Self { epoch: self.epoch + 1, ..Self::default() };
    }

    /// Drops what has been believed for too long.
    pub(super) fn age(&mut self) {
        let now = Instant::now();
        if self.filled.is_some_and(|filled| now - filled > BELIEVED) {
            self.clear();
        }
        self.filled.get_or_insert(now);
    }

    /// Returns what is known of a container, if the list shows it as before, and the epoch.
    pub(super) fn get(&self, listed: &ContainerSeen, status: &str) -> (Option<ContainerSeen>, u64) {
        let known = self.containers.get(&listed.id).filter(|(known, before)| {
            before == status
                && known.state == listed.state
                && known.name == listed.name
                && known.attached == listed.attached
        });
        (known.map(|(known, _)| known.clone()), self.epoch)
    }

    /// Remembers a container unless something was heard since `epoch`.
    pub(super) fn put(&mut self, seen: &ContainerSeen, status: String, epoch: u64) {
        if epoch == self.epoch {
            self.containers.insert(seen.id.clone(), (seen.clone(), status));
        }
    }

    /// Forgets containers that are not there any more.
    pub(super) fn keep(&mut self, containers: &[ContainerSeen]) {
        if self.containers.len() > containers.len() {
            let here: HashSet<&str> = containers.iter().map(|container| container.id.as_str()).collect();
            self.containers.retain(|id, _| here.contains(id.as_str()));
        }
    }

    pub(super) fn forget_container(&mut self, id: &str) {
        self.epoch += 1;
        self.containers.remove(id);
    }

    pub(super) fn images(&self) -> (Option<Vec<String>>, u64) {
        (self.images.clone(), self.epoch)
    }

    pub(super) fn put_images(&mut self, images: Vec<String>, epoch: u64) {
        if epoch == self.epoch {
            self.images = Some(images);
        }
    }

    pub(super) fn forget_images(&mut self) {
        self.epoch += 1;
        self.images = None;
    }

    pub(super) fn networks(&self) -> (Option<Vec<String>>, u64) {
        (self.networks.clone(), self.epoch)
    }

    pub(super) fn put_networks(&mut self, networks: Vec<String>, epoch: u64) {
        if epoch == self.epoch {
            self.networks = Some(networks);
        }
    }

    pub(super) fn forget_networks(&mut self) {
        self.epoch += 1;
        self.networks = None;
    }
}
