//! The plan for one container.

use piccolo_schema::{
    ContainerSpec,
    container::{Exposure, Mount, OnUnhealthy, can_be_declared},
};

use super::{
    compare::Gap,
    machine::{Machine, Standing},
    offer::pinned,
    plan::take_down,
    report,
    rollout::Open,
    secrets,
    step::{Act, ContainerStep, image},
};
use crate::{
    host::{ContainerSeen, Ground, Health, Limits, Rollout, State},
    reconcile::{Plan, Waiting},
};

/// How often a container is restarted because it is unhealthy before it is left alone.
const MOST_RESTARTS: u32 = 3;

/// One manifest, the machine around it, and the plan for it as far as it has come.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) next: String,
    pub(super) spec: &'a ContainerSpec,
    pub(super) machine: &'a Machine<'a>,
    /// Says what keeps it from starting, if anything does.
    gate: &'a dyn Fn() -> Option<Waiting>,
    pub(super) acts: Vec<Act>,
    /// Whether they follow from something else than a change by somebody.
    pub(super) follows: bool,
}

/// The plan goes up to here; what is missing is said in the answer.
pub(super) type Halt = Result<(), Waiting>;

impl<'a> Subject<'a> {
    pub(super) fn new(
        name: &'a str,
        spec: &'a ContainerSpec,
        machine: &'a Machine<'a>,
        gate: &'a dyn Fn() -> Option<Waiting>,
    ) -> Self {
        Self { name, next: format!("{name}.next"), spec, machine, gate, acts: Vec::new(), follows: false }
    }

    /// Adds the steps of this subject, and what it waits for.
    pub(super) fn plan(mut self, plan: &mut Plan<ContainerStep>) {
        let halt = self.decide();
        self.clear_secrets();
        let (subject, follows) = (self.name, self.follows);
        plan.steps.extend(self.acts.into_iter().map(|act| ContainerStep {
            subject: subject.to_owned(),
            removal: false,
            follows,
            act,
        }));
        plan.waiting.extend(halt.err());
    }

    fn decide(&mut self) -> Halt {
        if let Some(leaving) = self.machine.leaving(self.name) {
            let message = format!("The engine is removing `{}`; this goes on once it is gone", leaving.name);
            return Err(self.wait("Removing", message));
        }
        if let Some(open) = Open::find(self.machine.of(self.name)) {
            return self.roll(open);
        }
        let Standing { kept, old, spare } = self.machine.standing(self.name, self.spec);
        match (kept, old) {
            (Some(kept), _) => self.keep(kept, &spare),
            (None, Some(old)) if old.state != State::Dead => self.replace(old, &spare),
            (None, dead) => self.make(dead.into_iter().chain(spare).collect()),
        }
    }

    /// Plans for a container that is what the manifest asks, or becomes it in place.
    fn keep(&mut self, kept: &ContainerSeen, spare: &[&ContainerSeen]) -> Halt {
        if let Gap::InPlace(fields) = self.machine.gap(self.name, kept, self.spec) {
            let (id, name) = (kept.id.clone(), kept.name.clone());
            self.acts.push(Act::Update { id, name, limits: self.machine.limits(self.spec), fields });
        }
        let rests = !self.spec.running || report::has_done_its_work(kept, self.spec);
        let given = if rests { Ok(()) } else { self.give_secrets() };
        if !kept.state.is_live() && spare.iter().any(|other| other.state.is_live()) {
            self.pass_gate()?;
            self.ports_are_guarded(&kept.id)?;
        }
        self.acts.extend(spare.iter().flat_map(|other| take_down(other)));
        let named = self.name_back(kept);
        match (kept.state, self.spec.running) {
            (State::Running | State::Restarting, false) => self.acts.push(Act::stop(kept)),
            (State::Paused, false) => self.acts.extend([Act::unpause(kept), Act::stop(kept)]),
            (State::Paused, true) => self.acts.push(Act::unpause(kept)),
            (State::Created | State::Exited, true) if !rests => {
                self.follows |= self.machine.ended_with_the_engine(kept);
                named?;
                given?;
                return self.start(&kept.id);
            }
            (State::Running, true) if self.is_to_recover(kept) => {
                named?;
                self.stands_firm()?;
                return self.recover(kept);
            }
            (State::Running, true) if self.acts.is_empty() => {
                named?;
                given?;
                self.stands_firm()?;
                if self.machine.came_after(kept, self.spec).is_some() {
                    return self.step_onto_its_disk(kept);
                }
                return self.begin(kept);
            }
            _ => {}
        }
        named.and(given)
    }

    /// Returns true if it is unhealthy and the manifest wants something done about it.
    fn is_to_recover(&self, kept: &ContainerSeen) -> bool {
        let wanted = self.spec.health_check.as_ref().map(|check| check.on_unhealthy);
        kept.health == Some(Health::Unhealthy) && wanted == Some(OnUnhealthy::Restart)
    }

    /// Restarts what is unhealthy, but not for ever: what a restart did not mend a few times, it won't mend.
    fn recover(&mut self, kept: &ContainerSeen) -> Halt {
        if kept.restarts < MOST_RESTARTS {
            self.acts.push(Act::restart(kept));
            return Ok(());
        }
        let message = format!(
            "Its health check still fails after {} restarts; it is left running as it is until it recovers or its \
             manifest changes; see its logs",
            kept.restarts
        );
        Err(self.wait("Flapping", message))
    }

    /// Plans a new container beside one that won't do, and the change from one to the other.
    fn replace(&mut self, old: &ContainerSeen, spare: &[&ContainerSeen]) -> Halt {
        if let Err(taken) = self.name_is_free(self.name) {
            self.step_aside(old, spare);
            return Err(taken);
        }
        self.name_is_free(&self.next)?;
        self.pull()?;
        self.network_is_there()?;
        self.volumes_are_there()?;
        self.give_secrets()?;
        self.acts.extend(spare.iter().flat_map(|other| take_down(other)));
        if old.name == self.next {
            self.acts.push(Act::rename(old, self.name));
        }
        let why = match self.machine.gap(self.name, old, self.spec) {
            Gap::Anew(why) => why,
            Gap::None | Gap::InPlace(_) => String::new(),
        };
        self.create(self.next.clone(), why, self.pinned());
        if old.state.is_live() {
            self.pass_gate()?;
            self.ports_are_guarded(&self.next)?;
        }
        let name = if old.name == self.next { self.name } else { &old.name };
        let renamed = ContainerSeen { name: name.to_owned(), ..old.clone() };
        self.acts.extend(take_down(&renamed));
        self.acts.push(Act::Rename { id: self.next.clone(), name: self.next.clone(), to: self.name.to_owned() });
        self.start_if_wanted()
    }

    /// Plans a container where there is none, or none that is whole.
    fn make(&mut self, remains: Vec<&ContainerSeen>) -> Halt {
        self.name_is_free(self.name)?;
        self.pull()?;
        self.acts.extend(remains.into_iter().flat_map(take_down));
        self.network_is_there()?;
        self.volumes_are_there()?;
        self.give_secrets()?;
        self.create(self.name.to_owned(), String::new(), self.pinned());
        self.start_if_wanted()
    }

    /// Gives a container its name back that a hand, or a crash in a replacement, has left it without.
    fn name_back(&mut self, kept: &ContainerSeen) -> Halt {
        if kept.name == self.name {
            return Ok(());
        }
        // Only an update names one so: it was turned back.
        self.follows = kept.name == self.prev();
        let taken = self.name_is_free(self.name);
        match taken {
            Ok(()) => self.acts.push(Act::rename(kept, self.name)),
            Err(_) => self.step_aside(kept, &[]),
        }
        taken
    }

    /// Two of ours may have each other's names. One of them has to step aside before either can have its own; what is
    /// `spare` may be in the way.
    fn step_aside(&mut self, seen: &ContainerSeen, spare: &[&ContainerSeen]) {
        let by_ours = self.machine.stranger(self.name, self.name).is_some_and(|it| it.stamp.is_some());
        if by_ours && seen.name != self.next && self.name_is_free(&self.next).is_ok() {
            self.acts.extend(spare.iter().flat_map(|other| take_down(other)));
            self.acts.push(Act::rename(seen, &self.next));
        }
    }

    /// Pulls the image, unless it is here or another manifest brings it.
    fn pull(&mut self) -> Halt {
        let image = image(self.spec, self.pinned().as_ref());
        if self.machine.has_image(&image) {
            return Ok(());
        }
        if let Some(manifest) = self.machine.brings(&image) {
            let message = format!(
                "The Image manifest `{manifest}` has not brought `{image}` yet; see what keeps it: piccolo describe \
                 image {manifest}"
            );
            return Err(self.wait("ImageNotReady", message));
        }
        self.acts.push(Act::Pull { image });
        Ok(())
    }

    fn pinned(&self) -> Option<Rollout> {
        pinned(self.name, self.spec, self.machine)
    }

    /// Makes a container that the engine never starts by itself where it may not.
    pub(super) fn create(&mut self, name: String, why: String, rollout: Option<Rollout>) {
        let limits = self.machine.limits(self.spec);
        let by_engine = limits.restart == Limits::of(self.spec).restart;
        self.acts.push(Act::Create { name: name.clone(), spec: Box::new(self.spec.clone()), why, rollout });
        if !by_engine {
            self.acts.push(Act::Update { id: name.clone(), name, limits, fields: vec!["restart"] });
        }
    }

    fn start_if_wanted(&mut self) -> Halt {
        if self.spec.running { self.start(self.name) } else { Ok(()) }
    }

    fn start(&mut self, id: &str) -> Halt {
        self.network_is_there()?;
        self.pass_gate()?;
        self.ports_are_guarded(id)?;
        self.acts.push(Act::Start { id: id.to_owned(), name: self.name.to_owned() });
        Ok(())
    }

    /// Passes if nothing keeps it from starting, or if it is not to start at all.
    pub(super) fn pass_gate(&self) -> Halt {
        if !self.spec.running {
            return Ok(());
        }
        self.is_on_firm_ground()?;
        (self.gate)().map_or(Ok(()), Err)
    }

    /// Passes if no port of it is for certain addresses only, or if there are rules that see to it. They are made for a
    /// container that exists, so one that is still to be made waits for the next look.
    pub(super) fn ports_are_guarded(&self, id: &str) -> Halt {
        let asks = self.spec.ports.iter().any(|port| matches!(port.exposed_to(), Exposure::Range(_)));
        if !asks || !self.spec.running || self.machine.is_guarded(id) {
            return Ok(());
        }
        Err(match self.machine.firewall_problem() {
            Some(problem) => {
                let message = format!("Who reaches its ports can't be limited: {problem}");
                self.wait("FirewallUnavailable", message)
            }
            None => self.wait("ExposurePending", "It starts once the rules for its ports are set".to_owned()),
        })
    }

    pub(super) fn network_is_there(&self) -> Halt {
        match self.spec.joins().find(|network| !self.machine.has_network(network)) {
            Some(network) => {
                let cure =
                    if can_be_declared(network) { "add a Network manifest of this name" } else { "make it again" };
                Err(self.wait("NetworkMissing", format!("The engine has no network `{network}`; {cure}")))
            }
            None => Ok(()),
        }
    }

    /// Passes if each disk that it stands on is mounted: on a bare mount point it would neither find its data nor keep
    /// what it writes.
    pub(super) fn is_on_firm_ground(&self) -> Halt {
        self.mounted("it is started once it is")
    }

    /// The same for one that runs: it is left running, as a stop would mend nothing, and its disk may come back.
    fn stands_firm(&self) -> Halt {
        self.mounted("it runs on, but what it writes there is lost or refused")
    }

    /// Plans for one that was started before a disk of its was mounted: it still sees what was there without the disk.
    fn step_onto_its_disk(&mut self, kept: &ContainerSeen) -> Halt {
        self.network_is_there()?;
        self.pass_gate()?;
        self.ports_are_guarded(&kept.id)?;
        self.follows = true;
        self.acts.push(Act::stop(kept));
        self.start(&kept.id)
    }

    fn mounted(&self, so: &str) -> Halt {
        match self.machine.grounds_of(self.spec).find(|ground| !ground.mounted) {
            Some(Ground { disk, at, .. }) => {
                let message =
                    format!("The disk `{disk}` is not mounted at `{at}`; {so}; see: piccolo describe disk {disk}");
                Err(self.wait("MountMissing", message))
            }
            None => Ok(()),
        }
    }

    /// An engine would make a volume that is missing, empty and unknown to everybody.
    pub(super) fn volumes_are_there(&self) -> Halt {
        self.is_on_firm_ground()?;
        let mut names = self.spec.mounts.iter().filter_map(Mount::declared);
        if let Some(name) = names.find(|name| !self.machine.has_volume(name)) {
            let message = format!("The engine has no volume `{name}`; add a Volume manifest of this name");
            return Err(self.wait("VolumeMissing", message));
        }
        let on_trial =
            |mount: &Mount| Some((mount.volume.clone()?, self.machine.trial_on(mount.volume.as_deref()?, self.name)?));
        let Some((volume, other)) = self.spec.mounts.iter().find_map(on_trial) else { return Ok(()) };
        let message = format!(
            "An update of `{}` is on trial, and its data on the volume `{volume}` may have to be put back; it starts after that",
            other.name
        );
        Err(self.wait("VolumeOnTrial", message))
    }

    /// Writes the files of the secrets that the manifest names, if all of these are there.
    pub(super) fn give_secrets(&mut self) -> Halt {
        if let Some((reason, message)) = secrets::missing(self.spec, self.machine) {
            return Err(self.wait(reason, message));
        }
        let uses = secrets::to_place(self.name, self.spec, self.machine);
        if !uses.is_empty() {
            self.acts.push(Act::PlaceSecrets { name: self.name.to_owned(), uses });
        }
        Ok(())
    }

    /// Removes the files that neither the manifest nor a container that is there still uses.
    fn clear_secrets(&mut self) {
        let places = secrets::idle(self.name, self.spec, self.machine);
        if !places.is_empty() {
            self.acts.push(Act::ClearSecrets { name: self.name.to_owned(), places });
        }
    }

    pub(super) fn name_is_free(&self, name: &str) -> Halt {
        let Some(stranger) = self.machine.stranger(name, self.name) else { return Ok(()) };
        let message = match stranger.subject() {
            Some(subject) => format!("The container of `{subject}` is called `{name}` for the moment"),
            None => format!(
                "A container that is not Piccolo's is called `{name}` and is left alone; remove or rename it, or give \
                 this manifest another name"
            ),
        };
        Err(self.wait("NameTaken", message))
    }

    pub(super) fn wait(&self, reason: &str, message: String) -> Waiting {
        Waiting { subject: self.name.to_owned(), reason: reason.to_owned(), message }
    }
}
