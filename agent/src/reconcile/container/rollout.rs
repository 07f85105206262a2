//! An update: from one image to another, and back with the data if that one does not do well.
//!
//! What is there says how far it has come; the new container carries the identifier of the old one, so the update is
//! open as long as both are there, whatever they are called. Stopped after any step, the next plan goes on:
//!
//! | seen | next |
//! |---|---|
//! | the registry has another image, and it is time | pull it, make `<name>.next` from it while the old one runs |
//! | the new one never ran | stop the old one, take snapshots, old becomes `<name>.prev`, start the new one |
//! | the new one never ran, and is not wanted any more | remove it; the old one goes on |
//! | the new one runs | it is on trial |
//! | the machine or the engine ended while it ran, and nobody else starts it | start it again; its trial begins anew |
//! | it did well for long enough, or that is written down | write it down, remove the old one and older snapshots |
//! | it did not do well, or that is written down | write it down, stop it, restore the data, remove it |
//! | a person wants to go back | the same with the image of before; its data is restored before it is started |
//! | the manifest changed meanwhile | the trial ends at once, in favour of the new one if its health check passes |
//!
//! A snapshot is named after the new container, so it is never taken for one of another try. What is decided is written
//! down before it is done, so that nothing is decided twice.

use super::{
    compare::{Gap, gap},
    offer::{self, Offer, snapshots_of},
    plan::take_down,
    step::{Act, image},
    subject::{Halt, Subject},
    trial::{Verdict, is_well_so_far, judge},
};
use crate::host::{ContainerSeen, Copied, Previous, Rollout, State};

/// How much of an identifier names a snapshot.
const SHORT: usize = 12;

/// An update that is open.
#[derive(Clone, Copy)]
pub(super) struct Open<'a> {
    new: &'a ContainerSeen,
    old: &'a ContainerSeen,
    digest: &'a str,
    /// The label of the snapshots that are restored, if it is a way back.
    restores: Option<&'a str>,
}

/// What comes next in an open update.
enum Next {
    Abandon,
    Switch,
    Wait,
    Commit,
    /// Back to the old image and data. A reason condemns the new image.
    Return(Option<String>),
}

impl<'a> Open<'a> {
    /// Finds the update among the containers of a subject. Of several the last that was begun is the one.
    pub(super) fn find(containers: &[&'a ContainerSeen]) -> Option<Self> {
        containers.iter().rev().find_map(|new| {
            let rollout = new.stamp.as_ref()?.rollout.as_ref()?;
            let replaced = rollout.replaces.as_ref()?;
            let old = containers.iter().find(|old| old.id == *replaced)?;
            Some(Self { new, old, digest: &rollout.digest, restores: rollout.restores.as_deref() })
        })
    }
}

impl Subject<'_> {
    /// Begins the update that is due, if one is. The old container does not notice.
    pub(super) fn begin(&mut self, old: &ContainerSeen) -> Halt {
        let (digest, restores, why) = match offer::offer(self.name, self.spec, old, self.machine) {
            Offer::Due(digest) => (digest, None, "update"),
            Offer::Back(Previous { digest, label }) => (digest.as_str(), Some(label.clone()), "way back"),
            Offer::None | Offer::MadeAnew | Offer::Failed(..) | Offer::Waits(..) => return Ok(()),
        };
        self.name_is_free(&self.next)?;
        self.name_is_free(&self.prev())?;
        let rollout = Some(Rollout { digest: digest.to_owned(), replaces: Some(old.id.clone()), restores });
        let from = image(self.spec, rollout.as_ref());
        if !self.machine.has_image(&from) {
            self.acts.push(Act::Pull { image: from });
        }
        self.follows = true;
        self.create(self.next.clone(), why.to_owned(), rollout);
        Ok(())
    }

    /// Goes on with an update.
    pub(super) fn roll(&mut self, open: Open<'_>) -> Halt {
        self.follows = true;
        let others = self.machine.of(self.name).iter().filter(|it| it.id != open.new.id && it.id != open.old.id);
        self.acts.extend(others.flat_map(|other| take_down(other)));
        let mut volumes = self.spec.mounts.iter().filter_map(|mount| mount.volume.as_deref());
        if let Some((volume, why)) = volumes.find_map(|name| self.machine.updates.unseen.get_key_value(name)) {
            let message = format!("The snapshots of `{volume}` can't be seen ({why}), so the update does not go on");
            return Err(self.wait("SnapshotsUnseen", message));
        }
        match self.next_of(&open) {
            Next::Abandon => {
                if open.restores.is_some_and(|label| self.put_aside(label).next().is_some()) {
                    self.put_back(&open);
                }
                self.acts.extend(take_down(open.new));
                Ok(())
            }
            Next::Switch => self.switch(&open),
            Next::Wait => self.watch(&open),
            Next::Commit => self.commit(&open),
            Next::Return(why) => self.turn_back(&open, why),
        }
    }

    fn next_of(&self, open: &Open<'_>) -> Next {
        let record = self.machine.updates.records.get(self.name);
        let condemned = record.is_some_and(|it| it.failed.contains_key(open.digest));
        let committed = offer::record(self.name, self.spec, self.machine.updates)
            .is_some_and(|it| it.current.as_deref() == Some(open.digest));
        let wanted = self.spec.running && self.spec.update.is_some() && !matches!(self.gap_of(open.new), Gap::Anew(_));
        if condemned {
            return Next::Return(None);
        }
        if open.new.state == State::Created && open.new.exit_code.is_none() {
            // A snapshot is taken while the old one is stopped. If it runs again the snapshot is of no use.
            let stale = open.old.state.is_live() && self.snapshots(open).next().is_some();
            // Whoever came onto its volume meanwhile would lose what he writes if the data is put back.
            let is_shared = offer::shared(self.name, self.spec, open.digest, self.machine).is_some();
            return if wanted && !stale && !is_shared { Next::Switch } else { Next::Abandon };
        }
        if committed {
            return Next::Commit;
        }
        if open.new.state != State::Created && !self.has_all_snapshots(open) {
            // Other hands started it; nothing could be brought back.
            return Next::Return(None);
        }
        match judge(open.new, self.spec, self.machine) {
            Verdict::Well => Next::Commit,
            _ if !wanted && is_well_so_far(open.new) => Next::Commit,
            _ if !wanted => Next::Return(None),
            Verdict::Bad(why) => Next::Return(Some(why)),
            Verdict::Open => Next::Wait,
            Verdict::Interrupted => Next::Switch,
        }
    }

    /// From the old container to the new one.
    fn switch(&mut self, open: &Open<'_>) -> Halt {
        self.name_is_free(self.name)?;
        self.name_is_free(&self.prev())?;
        self.network_is_there()?;
        self.volumes_are_there()?;
        self.give_secrets()?;
        self.pass_gate()?;
        self.ports_are_guarded(&open.new.id)?;
        self.halt(open.old);
        let label = label(self.name, open.new);
        for volume in snapshots_of(self.spec, self.machine) {
            let copy = Copied { volume: volume.to_owned(), label: label.clone() };
            if !self.machine.updates.snapshots.contains(&copy) {
                self.acts.push(Act::Snapshot(copy));
            }
        }
        // Once it has run, what it has written since is its own.
        if let (Some(restores), State::Created) = (open.restores, open.new.state) {
            let aside: Vec<&str> = self.put_aside(restores).map(|it| it.volume.as_str()).collect();
            let used: Vec<&str> = snapshots_of(self.spec, self.machine).collect();
            let left = |it: &&Copied| used.contains(&it.volume.as_str()) && !aside.contains(&it.volume.as_str());
            let all = self.machine.updates.snapshots.iter().filter(|it| it.label == restores);
            let left: Vec<Act> = all.filter(left).cloned().map(Act::Restore).collect();
            self.acts.extend(left);
        }
        self.name_both(open);
        // Where the daemon ended between making it and limiting it, the engine might start it beside its disk.
        if let Gap::InPlace(fields) = self.gap_of(open.new) {
            let limits = self.machine.limits(self.spec);
            let (id, name) = (open.new.id.clone(), self.name.to_owned());
            self.acts.push(Act::Update { id, name, limits, fields });
        }
        self.acts.push(Act::Start { id: open.new.id.clone(), name: self.name.to_owned() });
        Ok(())
    }

    /// Measures the new container against the spec. Its image is the update's, whatever the spec names.
    fn gap_of(&self, new: &ContainerSeen) -> Gap {
        gap(new, self.spec, &self.machine.limits(self.spec), self.machine.secrets)
    }

    /// The old one is called `<name>.prev`, the new one `<name>`, whatever they are called now.
    fn name_both(&mut self, open: &Open<'_>) {
        let prev = self.prev();
        if open.new.name == prev {
            self.acts.push(Act::rename(open.new, &self.next));
        }
        if open.old.name != prev {
            self.acts.push(Act::rename(open.old, &prev));
        }
        if open.new.name != self.name {
            self.acts.push(Act::rename(open.new, self.name));
        }
    }

    fn watch(&mut self, open: &Open<'_>) -> Halt {
        self.halt(open.old);
        if open.new.state == State::Paused {
            self.acts.push(Act::unpause(open.new));
        }
        let time = self.spec.update.as_ref().map(piccolo_schema::container::Update::health_for).unwrap_or_default();
        let message =
            format!("It runs {} on trial, which is kept once it has done well for {} s", open.digest, time.as_secs());
        Err(self.wait("OnTrial", message))
    }

    fn commit(&mut self, open: &Open<'_>) -> Halt {
        let (old, label) = (offer::digest(open.old).map(str::to_owned), label(self.name, open.new));
        let mut previous = None;
        match (old, open.restores) {
            // Who went back does not want to be where he was again.
            (Some(digest), Some(_)) => {
                self.acts.push(Act::Condemn { digest, why: "a person went back from it".to_owned() });
            }
            (Some(digest), None) => previous = Some(Previous { digest, label: label.clone() }),
            (None, _) => {}
        }
        self.acts.push(Act::Commit { digest: open.digest.to_owned(), previous });
        self.drop_snapshots_but(&[label]);
        self.acts.extend(take_down(open.old));
        Ok(())
    }

    /// Back to the old container; once it is alone it is named and started like any other.
    fn turn_back(&mut self, open: &Open<'_>, why: Option<String>) -> Halt {
        if let Some(why) = why {
            self.acts.push(Act::Condemn { digest: open.digest.to_owned(), why });
        }
        self.halt(open.new);
        // What an earlier try left is of no use any more; what led to the old container still is.
        let kept = self.machine.updates.records.get(self.name).and_then(|record| record.previous.as_ref());
        let kept = kept.map(|previous| previous.label.clone());
        let keep: Vec<String> =
            [label(self.name, open.new), label(self.name, open.old)].into_iter().chain(kept).collect();
        self.drop_snapshots_but(&keep);
        // One that could not be started has changed no data, but for a way back the data was changed before.
        if open.new.state != State::Created || open.restores.is_some() {
            self.put_back(open);
        }
        if open.new.state != State::Removing {
            self.acts.push(Act::remove(open.new));
        }
        Ok(())
    }

    /// Gives the old container the data that it had.
    fn put_back(&mut self, open: &Open<'_>) {
        // Nothing may run on what is put back.
        self.halt(open.old);
        let copies: Vec<Copied> = self.snapshots(open).cloned().collect();
        self.acts.extend(copies.into_iter().map(Act::Restore));
        // Another try begins with the data of then once more.
        let aside = open.restores.into_iter().flat_map(|label| self.put_aside(label));
        let aside: Vec<Copied> = aside.cloned().collect();
        self.acts.extend(aside.into_iter().map(Act::DropSnapshot));
    }

    /// Returns what lay in the volumes to which these snapshots have been restored.
    fn put_aside(&self, label: &str) -> impl Iterator<Item = &Copied> {
        let aside = format!("{label}.replaced");
        self.machine.updates.snapshots.iter().filter(move |it| it.label == aside)
    }

    /// Stops a container, frozen or not.
    fn halt(&mut self, seen: &ContainerSeen) {
        if seen.state == State::Paused {
            self.acts.push(Act::unpause(seen));
        }
        if seen.state.is_live() {
            self.acts.push(Act::stop(seen));
        }
    }

    fn drop_snapshots_but(&mut self, keep: &[String]) {
        let prefix = prefix(self.name);
        let ours = self.machine.updates.snapshots.iter().filter(|it| it.label.starts_with(&prefix));
        let old = ours.filter(|it| !keep.iter().any(|label| it.label.starts_with(label))).cloned();
        self.acts.extend(old.map(Act::DropSnapshot));
    }

    /// Returns the snapshots that this update has taken.
    fn snapshots(&self, open: &Open<'_>) -> impl Iterator<Item = &Copied> {
        let label = label(self.name, open.new);
        self.machine.updates.snapshots.iter().filter(move |it| it.label == label)
    }

    fn has_all_snapshots(&self, open: &Open<'_>) -> bool {
        let taken: Vec<&str> = self.snapshots(open).map(|it| it.volume.as_str()).collect();
        snapshots_of(self.spec, self.machine).all(|volume| taken.contains(&volume))
    }

    pub(super) fn prev(&self) -> String {
        format!("{}.prev", self.name)
    }
}

fn prefix(subject: &str) -> String {
    format!("update.{subject}.")
}

fn label(subject: &str, new: &ContainerSeen) -> String {
    format!("{}{}", prefix(subject), new.id.get(..SHORT).unwrap_or(&new.id))
}
