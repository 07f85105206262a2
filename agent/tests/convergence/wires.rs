//! Links among all that happens: what people and hands do to them, and changes on trial that are confirmed or run out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::FutureExt;
use piccolo_agent::{
    host::{Links as _, UnitSeen, fake::FakeLinks},
    reconcile::{Reconciler as _, link::Links},
};
use piccolo_schema::{Desired, Link, LinkSpec};
use proptest::prelude::*;

use crate::support::{
    self,
    links::{HANDS, bridge, by_hand, dummy, network, plain, port, vlan},
};

/// The links of the machine, and the files that ask for them.
pub(crate) struct Wires {
    machine: Arc<FakeLinks>,
    files: BTreeMap<&'static str, LinkSpec>,
    /// Files of networkd that others wrote.
    foreign: Vec<UnitSeen>,
}

/// One thing that happens to links.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Write(&'static str, Box<LinkSpec>),
    Delete(&'static str),
    /// A hand does something, or an accident.
    Hand(u8),
    /// The machine is reached by this port, or by none that is known.
    Reach(Option<&'static str>),
    /// A person confirms what is on trial.
    Confirm,
    /// Nobody does.
    RunOut,
    /// The daemon ends in the next verb, which takes effect.
    LoseAnswer,
}

pub(crate) fn wire() -> impl Strategy<Value = Wire> {
    let a_link = prop_oneof![
        port(0).prop_map(|it| ("a", it)),
        port(1).prop_map(|it| ("b", it)),
        vlan().prop_map(|it| ("guests", it)),
        bridge().prop_map(|it| ("lan", it)),
        plain().prop_map(|it| ("plain", it)),
        dummy().prop_map(|it| ("local", it)),
        network().prop_map(|it| ("air", it)),
    ];
    let a_name = proptest::sample::select(&["a", "b", "guests", "lan", "plain", "local", "air"]);
    let a_port = proptest::option::of(proptest::sample::select(&["eth0", "eth1", "eth2", "wlan0", "lan"]));
    prop_oneof![
        5 => a_link.prop_map(|(name, spec)| Wire::Write(name, Box::new(spec))),
        2 => a_name.prop_map(Wire::Delete),
        3 => (0..HANDS).prop_map(Wire::Hand),
        2 => a_port.prop_map(Wire::Reach),
        1 => Just(Wire::Confirm),
        1 => Just(Wire::RunOut),
        1 => Just(Wire::LoseAnswer),
    ]
}

impl Wires {
    pub(crate) fn new() -> Self {
        Self { machine: Arc::new(support::links::machine()), files: BTreeMap::new(), foreign: Vec::new() }
    }

    pub(crate) fn happen(&mut self, wire: Wire) {
        match wire {
            Wire::Write(name, spec) => drop(self.files.insert(name, *spec)),
            Wire::Delete(name) => drop(self.files.remove(name)),
            Wire::Hand(what) => {
                by_hand(&self.machine, what);
                self.foreign = self.others();
            }
            Wire::Reach(port) => {
                self.machine.by_hand(|view| view.reached_by = port.map(str::to_owned).into_iter().collect());
            }
            Wire::Confirm => self.machine.confirm(),
            Wire::RunOut => self.machine.run_out(),
            Wire::LoseAnswer => self.machine.lose_the_next_answer(),
        }
    }

    /// One pass. Returns true if there was nothing to do.
    pub(crate) fn pass(&self, is_broken: bool) -> bool {
        support::pass(&Links(Arc::clone(&self.machine)), &self.wanted(is_broken))
    }

    /// Whoever changes links confirms it, now that it is quiet.
    pub(crate) fn calm(&self) {
        self.machine.calm();
        self.machine.confirm();
    }

    pub(crate) fn mutations(&self) -> u64 {
        self.machine.mutations()
    }

    pub(crate) fn foreign_is_untouched(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.machine.trespasses().is_empty(), "{:?}", self.machine.trespasses());
        prop_assert_eq!(self.others(), self.foreign.clone());
        Ok(())
    }

    /// Looks at links with other eyes than the planner's.
    pub(crate) fn are_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let view = self.machine.links().now_or_never().unwrap().unwrap();
        let plan = Links::<FakeLinks>::plan(&self.wanted(false), &view);
        let waiting: BTreeSet<String> = plan.waiting.into_iter().map(|it| it.subject).collect();
        for subject in view.units.iter().filter_map(|it| it.subject.as_deref()) {
            prop_assert!(self.files.contains_key(subject), "files of {} are left", subject);
        }
        for (name, spec) in self.files.iter().filter(|(name, _)| !waiting.contains(**name)) {
            let ours: Vec<_> = view.units.iter().filter(|it| it.subject.as_deref() == Some(name)).collect();
            let is_its = |path: &String| ours.iter().any(|it| it.path() == *path);
            let device = view.devices.iter().find(|it| it.unit.as_ref().is_some_and(is_its));
            prop_assert!(device.is_some(), "{} has no link", name);
            let has = device.map(|it| it.addresses.clone()).unwrap_or_default();
            prop_assert!(spec.addresses.iter().all(|it| has.contains(it)), "{}: {:?}", name, has);
        }
        Ok(())
    }

    fn wanted(&self, is_broken: bool) -> Desired<Link> {
        let manifests = self.files.iter().map(|(name, spec)| Link::new(name, spec.clone())).collect();
        Desired { complete: !is_broken, ..Desired::complete(manifests) }
    }

    fn others(&self) -> Vec<UnitSeen> {
        let units = self.machine.links_now().units.into_iter();
        units.filter(|it| it.subject.is_none()).collect()
    }
}
