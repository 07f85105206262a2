//! What hands, programs and accidents do to a machine behind the daemon's back.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use piccolo_schema::container::Restart;

use super::{FakeEngine, volumes::Volume, world::World};
use crate::host::{ContainerSeen, Health, Limits, NetworkSeen, State};

impl FakeEngine {
    /// Puts an image on the machine.
    pub fn load_image(&self, image: &str) {
        self.by_hand(|world| {
            world.images.insert(image.to_owned());
        });
    }

    /// Takes an image from the machine.
    pub fn remove_image(&self, image: &str) {
        self.by_hand(|world| {
            world.images.remove(image);
        });
    }

    /// Puts an image into the registry, or takes it out.
    pub fn publish(&self, image: &str, published: bool) {
        self.by_hand(|world| {
            if published {
                world.unpublished.remove(image);
            } else {
                world.unpublished.insert(image.to_owned());
            }
        });
    }

    /// Kills a container; an engine takes that as a wish and does not start it again.
    pub fn kill(&self, name: &str) {
        self.change_live(name, |it| {
            it.state = State::Exited;
            it.exit_code = Some(137);
        });
    }

    /// Ends a container's program. The engine starts it again where the restart policy says so.
    pub fn exit(&self, name: &str, code: i64) {
        self.change_live(name, |it| {
            it.exit_code = Some(code);
            it.state = match it.limits.restart {
                Restart::Always => State::Restarting,
                Restart::OnFailure if code != 0 => State::Restarting,
                _ => State::Exited,
            };
        });
    }

    /// Freezes a container.
    pub fn pause(&self, name: &str) {
        self.change(name, |it| {
            if it.state == State::Running {
                it.state = State::Paused;
            }
        });
    }

    /// Starts a container, whatever ports it has.
    pub fn start_by_hand(&self, name: &str) {
        self.by_hand(|world| {
            let now = world.now();
            if let Some(it) = world.named(name).filter(|it| matches!(it.state, State::Created | State::Exited)) {
                it.state = State::Running;
                it.since = Some(now);
                it.health = it.health.map(|_| Health::Starting);
                let id = it.id.clone();
                world.run_image(&id);
            }
        });
    }

    /// Removes a container by force.
    pub fn remove_by_hand(&self, name: &str) {
        self.by_hand(|world| world.containers.retain(|_, it| it.name != name));
    }

    /// Removes a container half.
    pub fn break_down(&self, name: &str) {
        self.change(name, |it| {
            it.state = State::Dead;
            it.health = None;
        });
    }

    /// Begins to remove a container; it is gone when time has passed.
    pub fn begin_removal(&self, name: &str) {
        self.change(name, |it| {
            it.state = State::Removing;
            it.health = None;
        });
    }

    /// Gives a container another name, if that is free.
    pub fn rename_by_hand(&self, name: &str, to: &str) {
        self.by_hand(|world| {
            if world.find(to).is_none()
                && let Some(it) = world.named(name)
            {
                to.clone_into(&mut it.name);
            }
        });
    }

    /// Changes a container's limits.
    pub fn limit(&self, name: &str, limits: Limits) {
        self.change(name, |it| it.limits = limits);
    }

    /// Takes a container off its network.
    pub fn detach(&self, name: &str) {
        self.change(name, |it| it.attached = false);
    }

    /// Makes a container's stamp unreadable.
    pub fn smudge_stamp(&self, name: &str) {
        self.change(name, |it| {
            if let Some(stamp) = &mut it.stamp {
                stamp.spec = None;
            }
        });
    }

    /// Says what a container's health check says.
    pub fn set_health(&self, name: &str, health: Health) {
        self.change_live(name, |it| it.health = Some(health));
    }

    /// Runs a container that is not ours, if the name is free.
    pub fn run_foreign(&self, name: &str) {
        self.by_hand(|world| {
            if world.find(name).is_some() {
                return;
            }
            let id = world.id();
            let seen = ContainerSeen {
                id: id.clone(),
                name: name.to_owned(),
                stamp: None,
                state: State::Running,
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
            };
            world.containers.insert(id, Arc::new(seen));
        });
    }

    /// Makes a network that is not ours, if the name is free.
    pub fn add_foreign_network(&self, name: &str) {
        self.by_hand(|world| {
            if world.networks.values().any(|network| network.name == name) {
                return;
            }
            let network = NetworkSeen {
                id: world.id(),
                name: name.to_owned(),
                stamp: None,
                subnets: Vec::new(),
                gateways: Vec::new(),
                bridge: String::new(),
                attached: BTreeMap::new(),
            };
            world.networks.insert(network.id.clone(), network);
        });
    }

    /// Removes a network and takes what is on it off first.
    pub fn remove_network_by_hand(&self, name: &str) {
        self.by_hand(|world| {
            world.networks.retain(|_, network| network.name != name);
            world.forget_network(name);
        });
    }

    /// Makes a volume that is not ours, if the name is free.
    pub fn add_foreign_volume(&self, name: &str) {
        self.by_hand(|world| {
            if !world.volumes.contains_key(name) {
                world.add_volume(name, Volume::default());
            }
        });
    }

    /// Changes our rules for traffic.
    pub fn alter_rules(&self) {
        self.by_hand(|world| {
            for rules in world.firewall.rules.iter_mut().chain(&mut world.filter) {
                rules.intact = false;
            }
        });
    }

    /// Takes a volume that no container mounts from the engine. Its data stays.
    pub fn forget_volume_by_hand(&self, name: &str) {
        self.by_hand(|world| {
            if world.users(name).is_empty() {
                world.volumes.remove(name);
            }
        });
    }

    /// Gives a volume's directory another owner.
    pub fn chown_volume(&self, name: &str, owner: &str) {
        self.by_hand(|world| {
            if let Ok(place) = world.place(name) {
                owner.clone_into(&mut place.directory.owner);
            }
        });
    }

    /// Removes our rules for traffic.
    pub fn flush_rules(&self) {
        self.by_hand(|world| (world.firewall.rules, world.filter) = (None, None));
    }

    /// Takes the packet filter away, or brings it back.
    pub fn break_firewall(&self, problem: Option<&str>) {
        self.by_hand(|world| world.firewall.problem = problem.map(str::to_owned));
    }

    /// Adds to what a container wrote.
    pub fn write_log(&self, name: &str, line: &str) {
        self.by_hand(|world| world.logs.entry(name.to_owned()).or_default().push(Bytes::from(format!("{line}\n"))));
    }

    /// Lets a minute pass: health checks pass, what was to start again starts, what was to go goes. What runs a bad image
    /// ends, or becomes unhealthy.
    pub fn let_time_pass(&self) {
        self.by_hand(|world| {
            world.seconds += 60;
            let now = world.now();
            world.containers.retain(|_, it| it.state != State::Removing);
            let spoilt: Vec<_> = world.containers.values().filter(|it| world.is_spoilt(it)).cloned().collect();
            for it in world.containers.values_mut() {
                if it.state == State::Running && spoilt.contains(it) {
                    let it = Arc::make_mut(it);
                    match it.health {
                        Some(_) => it.health = Some(Health::Unhealthy),
                        None => (it.state, it.exit_code) = (State::Restarting, Some(1)),
                    }
                    continue;
                }
                let starts = it.state == State::Running && it.health == Some(Health::Starting);
                if starts {
                    Arc::make_mut(it).since = Some(now);
                }
                if it.state == State::Restarting || starts {
                    let it = Arc::make_mut(it);
                    if it.state == State::Restarting {
                        (it.state, it.since, it.engine_restarts) = (State::Running, Some(now), it.engine_restarts + 1);
                    }
                    it.health = it.health.map(|_| Health::Healthy);
                }
            }
        });
    }

    /// Ends the machine and starts it again. The engine then starts what it may; what it may not has ended.
    pub fn reboot(&self) {
        self.by_hand(|world| {
            let ended = world.now();
            world.seconds += 60;
            world.engine_since = world.seconds;
            let started = world.now();
            world.containers.retain(|_, it| it.state != State::Removing);
            for it in world.containers.values_mut().filter(|it| it.state.is_live()) {
                let it = Arc::make_mut(it);
                let again = it.limits.restart == Restart::Always;
                it.state = if again { State::Running } else { State::Exited };
                it.exit_code = (!again).then_some(143);
                it.health = it.health.filter(|_| again).map(|_| Health::Starting);
                (it.since, it.restarts) = (Some(if again { started } else { ended }), 0);
            }
            (world.firewall.rules, world.filter) = (None, None);
        });
        self.forget_secrets();
    }

    fn change_live(&self, name: &str, change: impl FnOnce(&mut ContainerSeen)) {
        self.change(name, |it| {
            if it.state.is_live() {
                change(it);
            }
        });
    }

    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut ContainerSeen)) {
        self.by_hand(|world| {
            if let Some(it) = world.named(name) {
                change(it);
            }
        });
    }

    pub(super) fn by_hand(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.lock().world);
        self.tell();
    }
}

impl World {
    fn named(&mut self, name: &str) -> Option<&mut ContainerSeen> {
        self.containers.values_mut().find(|it| it.name == name).map(Arc::make_mut)
    }
}
