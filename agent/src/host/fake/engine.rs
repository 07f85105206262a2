use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use piccolo_schema::{ContainerSpec, container::SecretUse, image::Reference};

use super::{
    FakeEngine, Verb,
    world::{World, gone, not_while, spec_of},
};
use crate::{
    console::Excerpt,
    host::{ContainerSeen, Engine, EngineView, Health, HostError, Limits, Reason, Rollout, Stamp, State},
};

impl Engine for FakeEngine {
    async fn containers(&self) -> Result<EngineView, HostError> {
        let view = self.look().view();
        self.verb_of_looking(Verb::Containers, view).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.containers_changed.notified()
    }

    async fn pull(&self, image: &str) -> Result<(), HostError> {
        self.verb(Verb::Pull, |world| world.fetch(image, None)).await
    }

    async fn create(
        &self,
        name: &str,
        subject: &str,
        spec: &ContainerSpec,
        rollout: Option<&Rollout>,
    ) -> Result<(), HostError> {
        self.verb(Verb::Create, |world| world.create(name, subject, spec, rollout)).await
    }

    async fn start(&self, id: &str) -> Result<(), HostError> {
        self.verb(Verb::Start, |world| {
            world.watch_its_ground(id);
            world.start(id)
        })
        .await
    }

    async fn restart(&self, id: &str) -> Result<(), HostError> {
        self.verb(Verb::Restart, |world| {
            world.watch_its_ground(id);
            world.restart(id)
        })
        .await
    }

    async fn stop(&self, id: &str) -> Result<(), HostError> {
        self.verb(Verb::Stop, |world| world.stop(id)).await
    }

    async fn unpause(&self, id: &str) -> Result<(), HostError> {
        self.verb(Verb::Unpause, |world| world.unpause(id)).await
    }

    async fn rename(&self, id: &str, name: &str) -> Result<(), HostError> {
        self.verb(Verb::Rename, |world| world.rename(id, name)).await
    }

    async fn update(&self, id: &str, limits: &Limits) -> Result<(), HostError> {
        self.verb(Verb::Update, |world| world.update(id, limits)).await
    }

    async fn place_secrets(&self, subject: &str, uses: &[SecretUse]) -> Result<(), HostError> {
        self.verb(Verb::PlaceSecrets, |world| world.place_secrets(subject, uses)).await
    }

    async fn clear_secrets(&self, subject: &str, places: &[String]) -> Result<(), HostError> {
        self.verb(Verb::ClearSecrets, |world| {
            world.clear_secrets(subject, places);
            Ok(())
        })
        .await
    }

    async fn remove(&self, id: &str) -> Result<(), HostError> {
        self.verb(Verb::Remove, |world| world.remove(id)).await
    }

    fn logs(&self, name: &str, excerpt: &Excerpt) -> impl Stream<Item = Result<Bytes, HostError>> + Send + 'static {
        let lines = match self.lock().world.logs.get(name) {
            None => vec![Err(gone(name))],
            Some(lines) => {
                let tail = excerpt.tail.map_or(lines.len(), |tail| usize::try_from(tail).unwrap_or(usize::MAX));
                lines.iter().skip(lines.len().saturating_sub(tail)).cloned().map(Ok).collect()
            }
        };
        let more = if excerpt.follow { stream::pending().left_stream() } else { stream::empty().right_stream() };
        stream::iter(lines).chain(more)
    }
}

impl World {
    fn create(
        &mut self,
        name: &str,
        subject: &str,
        spec: &ContainerSpec,
        rollout: Option<&Rollout>,
    ) -> Result<(), HostError> {
        let stamp = Some(Stamp {
            subject: subject.to_owned(),
            spec: Some(Box::new(spec.clone())),
            variables: self.variables(spec)?,
            rollout: rollout.cloned(),
        });
        let by_digest = rollout.and_then(|it| Reference::parse(&spec.image).ok()?.at(&it.digest).ok());
        let image = by_digest.map_or_else(|| spec.image.clone(), |image| image.to_string());
        if let Some(there) = self.find(name) {
            if there.stamp == stamp {
                return Ok(());
            }
            return Err(HostError::new(Reason::NameTaken, format!("A container is already called `{name}`")));
        }
        if !self.images.contains(&image) {
            return Err(HostError::new(Reason::ImageMissing, format!("There is no image `{image}` here")));
        }
        self.network_is_there(spec)?;
        self.secrets_are_there(subject, spec)?;
        self.make_missing_volumes(spec);
        let id = self.id();
        let seen = ContainerSeen {
            id: id.clone(),
            name: name.to_owned(),
            stamp,
            state: State::Created,
            health: None,
            exit_code: None,
            image_id: self.image_id(&image),
            image_digest: self.digest_here(&image),
            since: None,
            engine_restarts: 0,
            limits: Limits::of(spec),
            restarts: 0,
            address: None,
            attached: true,
        };
        self.containers.insert(id, Arc::new(seen));
        self.count(None);
        Ok(())
    }

    fn start(&mut self, id: &str) -> Result<(), HostError> {
        let seen = Arc::clone(self.find(id).ok_or_else(|| gone(id))?);
        match seen.state {
            State::Running | State::Restarting => return Ok(()),
            State::Created | State::Exited => {}
            state => return Err(not_while(state)),
        }
        if let Some(spec) = spec_of(&seen) {
            self.ports_are_free(&seen.id, spec)?;
            self.network_is_there(spec)?;
            self.secrets_are_there(seen.subject().unwrap_or_default(), spec)?;
        }
        let has_check = spec_of(&seen).is_some_and(|spec| spec.health_check.is_some());
        let now = self.now();
        let container = self.ours("start", id)?;
        container.state = State::Running;
        container.exit_code = None;
        container.health = has_check.then_some(Health::Starting);
        container.since = Some(now);
        container.engine_restarts = 0;
        self.run_image(&seen.id);
        self.count(seen.subject().map(str::to_owned));
        Ok(())
    }

    fn restart(&mut self, id: &str) -> Result<(), HostError> {
        let now = self.now();
        let container = self.ours("restart", id)?;
        if container.state != State::Running {
            return Err(not_while(container.state));
        }
        container.health = container.health.map(|_| Health::Starting);
        container.restarts += 1;
        container.since = Some(now);
        let subject = container.subject().map(str::to_owned);
        self.count(subject);
        Ok(())
    }

    fn stop(&mut self, id: &str) -> Result<(), HostError> {
        let container = self.ours("stop", id)?;
        match container.state {
            State::Running | State::Restarting => {}
            State::Paused => return Err(not_while(State::Paused)),
            _ => return Ok(()),
        }
        container.state = State::Exited;
        container.exit_code = Some(143);
        container.health = None;
        let subject = container.subject().map(str::to_owned);
        self.count(subject);
        Ok(())
    }

    fn unpause(&mut self, id: &str) -> Result<(), HostError> {
        let container = self.ours("unpause", id)?;
        match container.state {
            State::Paused => container.state = State::Running,
            State::Running => return Ok(()),
            state => return Err(not_while(state)),
        }
        self.count(None);
        Ok(())
    }

    fn rename(&mut self, id: &str, name: &str) -> Result<(), HostError> {
        let other = self.find(name).map(|other| other.id.clone());
        let container = self.ours("rename", id)?;
        match other {
            Some(other) if other == container.id => return Ok(()),
            Some(_) => {
                return Err(HostError::new(Reason::NameTaken, format!("A container is already called `{name}`")));
            }
            None => name.clone_into(&mut container.name),
        }
        self.count(None);
        Ok(())
    }

    fn update(&mut self, id: &str, limits: &Limits) -> Result<(), HostError> {
        let container = self.ours("update", id)?;
        let had = &container.limits;
        let lifts = [
            had.memory.is_some() && limits.memory.is_none(),
            had.nano_cpus.is_some() && limits.nano_cpus.is_none(),
            had.cpuset.is_some() && limits.cpuset.is_none(),
        ];
        if lifts.contains(&true) {
            return Err(HostError::new(Reason::Refused, "A limit can't be lifted from a container that exists"));
        }
        if *had != *limits {
            container.limits = limits.clone();
            self.count(None);
        }
        Ok(())
    }

    fn remove(&mut self, id: &str) -> Result<(), HostError> {
        let (id, state) = match self.ours("remove", id) {
            Ok(container) => (container.id.clone(), container.state),
            Err(_) => return Ok(()),
        };
        if state.is_live() {
            return Err(not_while(state));
        }
        self.containers.remove(&id);
        self.count(None);
        Ok(())
    }
}
