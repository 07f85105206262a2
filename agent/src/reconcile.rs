//! The vocabulary: what a reconciler is, and what it says.
//!
//! `observe` says what is, `plan` says the difference in words, `apply` says one word at a time to the machine, and a
//! second, empty plan is the proof.

pub mod container;
pub mod disk;
pub mod firewall;
pub mod host;
pub mod image;
pub mod install;
pub mod link;
pub mod network;
pub mod secret;
pub mod source;
pub mod volume;

use std::{fmt::Display, future::Future};

use piccolo_schema::{Declared, Desired, Kind};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::host::HostError;

/// Keeps one kind of thing on this machine as its manifests ask.
pub trait Reconciler: Send + Sync + 'static {
    /// One manifest of this kind.
    type Manifest: Declared;
    /// What the machine has now, as far as this kind cares. The clock is part of it.
    type Observed: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// One small change.
    type Step: Step;

    /// Kinds whose change may unblock this one.
    const WAKES_ON: &'static [Kind] = &[];

    /// Looks at the machine and changes nothing.
    fn observe(&self) -> impl Future<Output = Result<Self::Observed, HostError>> + Send;

    /// Decides what to change. Takes no `self`: it can reach no effect.
    fn plan(desired: &Desired<Self::Manifest>, observed: &Self::Observed) -> Plan<Self::Step>;

    /// Makes one change. Safe to repeat, and safe to abandon: a step that was dropped half-way is planned again.
    fn apply(&self, step: &Self::Step) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Says what is done when the machine goes down, in waves: steps of one wave side by side, but those of one subject in
    /// their order. Nothing for most kinds.
    fn farewell(_desired: &Desired<Self::Manifest>, _observed: &Self::Observed) -> Vec<Vec<Self::Step>> {
        Vec::new()
    }

    /// Says how the thing behind each manifest stands once there is nothing left to do for it, in their order.
    fn report(manifests: &[Self::Manifest], observed: &Self::Observed) -> Vec<Report>;

    /// Says what else there is to know of each manifest, in their order, each as a condition that is true. Nothing for
    /// most kinds.
    fn notes(_manifests: &[Self::Manifest], _observed: &Self::Observed) -> Vec<Vec<Note>> {
        Vec::new()
    }

    /// Counts the things on this machine that carry our stamp for this kind, against which a mass removal is judged.
    fn owned(observed: &Self::Observed) -> usize;

    /// Waits until something of this kind may have changed on the machine. A hint, never a fact: it may fire for
    /// nothing, and what it missed is found by the resync.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// A change that can be said in words. `Display` is the log line, the journal line and the golden test.
pub trait Step: Display + Serialize + Clone + PartialEq + Send + Sync + 'static {
    /// Returns the name of the manifest this step serves.
    fn subject(&self) -> &str;

    /// Returns what this step costs the people who use the machine.
    fn disruption(&self) -> Disruption {
        Disruption::None
    }

    /// Returns true if this step is not to be made once that one has failed, which comes before it and serves the same manifest.
    fn rests_on(&self, _failed: &Self) -> bool {
        true
    }

    /// Returns true if this step takes away something that no manifest asks for any more.
    fn is_removal(&self) -> bool {
        false
    }

    /// Returns what is lost with this step, so that manifests of before don't bring it back; none if they do.
    fn loses(&self) -> Option<&'static str> {
        None
    }

    /// Returns true if what comes after this step is put back unless somebody confirms that the machine is still reached.
    fn begins_trial(&self) -> bool {
        false
    }

    /// Returns true if this step follows from a change of other kinds, from what a registry offers or from the end of the
    /// machine, so that it is no sign of drift.
    fn is_follow_up(&self) -> bool {
        false
    }

    /// Returns true if this step waits for a network rather than for the machine, so that it must not hold a place that
    /// quick steps need.
    fn is_transfer(&self) -> bool {
        false
    }
}

/// What a step costs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disruption {
    /// Nobody notices.
    None,
    /// Interrupts this.
    Restarts(String),
    /// The machine starts anew.
    Reboot,
    /// Data is lost.
    Erases(String),
}

/// What to change, in order, and what can't be changed yet. Settled when both are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<S> {
    /// The changes. Steps of one subject are applied in this order, those that rest on one that failed not at all; different
    /// subjects side by side.
    pub steps: Vec<S>,
    /// What can't be planned yet, and why.
    pub waiting: Vec<Waiting>,
}

/// A subject that can't be planned yet, or not to the end, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The name of the manifest.
    pub subject: String,
    /// The cause in PascalCase, `DependencyNotReady`.
    pub reason: String,
    /// One sentence that says what is missing and what to do.
    pub message: String,
}

/// How a thing stands when nothing is left to do for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// True when it does what was asked.
    pub ready: bool,
    /// The cause in PascalCase, `Running`.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// The kind's own status fields, an object in the shape of its status type without conditions.
    pub fields: serde_json::Value,
}

/// Something to know of a manifest beside whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The type of the condition, `UpdateAvailable`.
    pub name: &'static str,
    /// The cause in PascalCase.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl<S> Plan<S> {
    /// Returns true if there is nothing to do and nothing to wait for.
    pub fn is_settled(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty()
    }
}

impl<S> Default for Plan<S> {
    fn default() -> Self {
        Self { steps: Vec::new(), waiting: Vec::new() }
    }
}

impl Display for Disruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Restarts(what) => write!(f, "restarts {what}"),
            Self::Reboot => f.write_str("reboot"),
            Self::Erases(what) => write!(f, "erases {what}"),
        }
    }
}
