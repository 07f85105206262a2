use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{FakeEngine, Verb, world::gone};
use crate::{
    capture::Found,
    host::{ContainerSeen, HostError, Reason, Stamp, State, Strangers},
};
use piccolo_schema::container::Restart;

impl Strangers for FakeEngine {
    async fn strangers(&self, name: Option<&str>) -> Result<Found, HostError> {
        let view = self.look().view();
        let wanted = |it: &&ContainerSeen| match name {
            Some(name) => it.name == name,
            None => it.state == State::Running,
        };
        let foreign = view.containers.iter().filter(|it| it.stamp.is_none()).filter(wanted);
        let found = Found { containers: foreign.map(inspection).collect(), ..Found::default() };
        self.verb_of_looking(Verb::Strangers, found).await
    }

    async fn adopt(&self, id: &str, stamp: Stamp) -> Result<(), HostError> {
        self.verb(Verb::Adopt, |world| {
            let container = world.containers.get_mut(id).ok_or_else(|| gone(id))?;
            if container.stamp.as_ref().is_some_and(|there| *there != stamp) {
                return Err(HostError::new(Reason::Failed, "It is ours already"));
            }
            std::sync::Arc::make_mut(container).stamp = Some(stamp);
            world.count(None);
            Ok(())
        })
        .await
    }
}

impl FakeEngine {
    /// Gives a container that is not ours another name, for its adoption.
    ///
    /// # Errors
    /// When the name is taken, or as the verb is made to fail.
    pub async fn rename_stranger(&self, id: &str, name: &str) -> Result<(), HostError> {
        self.verb(Verb::Rename, |world| {
            if world.find(name).is_some_and(|other| other.id != id) {
                return Err(HostError::new(Reason::NameTaken, format!("A container is already called `{name}`")));
            }
            let container = world.containers.get_mut(id).ok_or_else(|| gone(id))?;
            name.clone_into(&mut std::sync::Arc::make_mut(container).name);
            Ok(())
        })
        .await
    }

    /// Writes down that a container which is not ours, if one has this name, was made from this spec.
    pub fn adopt_by_hand(&self, name: &str, stamp: Stamp) {
        self.change(name, |it| {
            if it.stamp.is_none() {
                it.stamp = Some(stamp);
            }
        });
    }
}

/// What an engine tells of a container that was begun with nothing but an image.
fn inspection(seen: &ContainerSeen) -> Value {
    let restart = match seen.limits.restart {
        Restart::No => "no",
        Restart::OnFailure => "on-failure",
        Restart::Always => "always",
    };
    json!({
        "Id": seen.id, "Name": format!("/{}", seen.name), "Image": seen.image_id,
        "State": { "Status": seen.state.as_str() },
        "Config": { "Image": "app:1" },
        "HostConfig": { "NetworkMode": "bridge", "RestartPolicy": { "Name": restart } },
        "NetworkSettings": { "Networks": { "bridge": BTreeMap::<String, String>::new() } },
    })
}
