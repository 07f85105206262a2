use std::future::pending;

use jiff::{SignedDuration, Timestamp};
use piccolo_schema::image::Reference;

use super::{
    FakeEngine, Verb,
    world::{World, spec_of},
};
use crate::host::{
    ContainerSeen, Copied, EngineView, Health, HostError, Previous, Record, State, Updates, UpdatesSeen,
};

/// What a bad image writes to each volume that it can write to.
pub const CORRUPT: &str = "corrupt";

impl Updates for FakeEngine {
    async fn known(&self, _view: &EngineView) -> Result<UpdatesSeen, HostError> {
        Ok(self.look().updates())
    }

    async fn news(&self) {
        // Everything that happens here is an event of the engine.
        pending::<()>().await;
    }

    async fn commit(&self, subject: &str, digest: &str, previous: Option<&Previous>) -> Result<(), HostError> {
        self.write_down(Verb::Commit, subject, |record| record.commit(digest, previous)).await
    }

    async fn condemn(&self, subject: &str, digest: &str, why: &str) -> Result<(), HostError> {
        self.write_down(Verb::Condemn, subject, |record| record.condemn(digest, why)).await
    }
}

impl FakeEngine {
    /// Moves the tag of an image in the registry to this digest, which the daemon hears of for this container.
    pub fn move_tag(&self, subject: &str, image: &str, digest: &str) {
        self.by_hand(|world| {
            world.tags.insert(image.to_owned(), digest.to_owned());
            let now = world.now();
            world.records.entry(subject.to_owned()).or_default().offer(image, digest, now);
        });
    }

    /// Says that an image of this digest corrupts its data and never does well.
    pub fn spoil(&self, digest: &str) {
        self.by_hand(|world| {
            world.spoilt.insert(digest.to_owned());
        });
    }

    /// Says that an image of this digest never does well.
    pub fn sicken(&self, digest: &str) {
        self.by_hand(|world| {
            world.sick.insert(digest.to_owned());
        });
    }

    /// Approves an update.
    pub fn approve(&self, subject: &str, digest: &str) {
        self.by_hand(|world| {
            world.records.entry(subject.to_owned()).or_default().approved = Some(digest.to_owned());
        });
    }

    /// Asks for the way back to what a container ran before its last update.
    ///
    /// # Errors
    /// When nothing is kept to go back to.
    pub fn go_back(&self, subject: &str) -> Result<String, String> {
        let mut answer = Err(String::new());
        self.by_hand(|world| answer = world.records.entry(subject.to_owned()).or_default().go_back());
        answer
    }

    /// Asks for just this digest of the image that a container has.
    ///
    /// # Errors
    /// When it failed before.
    pub fn return_to(&self, subject: &str, image: &str, digest: &str, follows: bool) -> Result<(), String> {
        let mut answer = Ok(());
        self.by_hand(|world| {
            answer = world.records.entry(subject.to_owned()).or_default().return_to(image, digest, follows);
        });
        answer
    }

    /// Says of which volumes an update takes a snapshot.
    pub fn keep_volume(&self, volume: &str) {
        self.by_hand(|world| {
            world.kept_volumes.insert(volume.to_owned());
        });
    }

    /// Returns the digests of all containers that were started, in their order.
    pub fn started_digests(&self) -> Vec<String> {
        self.lock().world.started.clone()
    }

    async fn write_down(
        &self,
        verb: Verb,
        subject: &str,
        change: impl FnOnce(&mut Record) + Send,
    ) -> Result<(), HostError> {
        self.verb(verb, |world| {
            let record = world.records.entry(subject.to_owned()).or_default();
            let before = record.clone();
            change(record);
            if *record != before {
                world.count(None);
            }
            Ok(())
        })
        .await
    }
}

impl World {
    /// Returns what is known of updates.
    pub(super) fn updates(&self) -> UpdatesSeen {
        let does_well =
            |seen: &&ContainerSeen| seen.state == State::Running && matches!(seen.health, None | Some(Health::Healthy));
        let containers = self.containers.values().map(AsRef::as_ref);
        UpdatesSeen {
            now: Some(self.now()),
            local: Some(self.now().to_zoned(jiff::tz::TimeZone::UTC).datetime()),
            records: self.records.clone(),
            kept_volumes: self.kept_volumes.clone(),
            snapshots: self
                .snapshots
                .keys()
                .map(|(volume, label)| Copied { volume: volume.clone(), label: label.clone() })
                .collect(),
            well_since: containers.filter(does_well).filter_map(|seen| Some((seen.id.clone(), seen.since?))).collect(),
            ..UpdatesSeen::default()
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.at(self.seconds)
    }

    pub(super) fn at(&self, seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    }

    /// Returns the digest that an image has here by its tag, or in its name.
    pub(super) fn digest_here(&self, image: &str) -> Option<String> {
        let named = Reference::parse(image).ok().and_then(|it| it.digest().map(str::to_owned));
        named.or_else(|| self.local.get(image).cloned())
    }

    /// Does what a container of a bad image does.
    pub(super) fn run_image(&mut self, id: &str) {
        let Some(seen) = self.containers.get(id).cloned() else { return };
        let Some(digest) = seen.image_digest.clone() else { return };
        self.started.push(digest.clone());
        if !self.spoilt.contains(&digest) {
            return;
        }
        for volume in spec_of(&seen).iter().flat_map(|spec| &spec.mounts).filter_map(|mount| mount.volume.as_deref()) {
            if let Ok(place) = self.place(volume) {
                CORRUPT.clone_into(&mut place.data);
            }
        }
    }

    pub(super) fn is_spoilt(&self, seen: &ContainerSeen) -> bool {
        seen.image_digest.as_ref().is_some_and(|digest| self.spoilt.contains(digest) || self.sick.contains(digest))
    }
}
