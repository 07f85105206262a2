//! What the store shows: events, plans, changes, health.

use std::{collections::BTreeMap, fmt, sync::Arc};

use piccolo_schema::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its number, from 1, without gaps as long as it is kept. Given by the store.
    pub id: u64,
    /// When it was written down, RFC 3339 in UTC. Given by the store.
    pub time: String,
    /// The kind of the manifest that it speaks of, none when it speaks of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The name of the manifest that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What happened in PascalCase, `Applied`.
    pub reason: String,
    /// Whether a person should look.
    #[serde(default)]
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// The generation of the spec that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// Whether a person should look at an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// All is as it should be.
    #[default]
    Normal,
    /// A person should look.
    Warning,
}

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only those after this number, oldest first; the newest ones when left out.
    pub since: Option<u64>,
    /// The most to return; [`EventQuery::MAX`] when larger or zero.
    pub limit: usize,
    /// Only those of this kind.
    pub kind: Option<Kind>,
    /// Only those of this name.
    pub name: Option<String>,
}

/// The plan of one kind as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The kind.
    pub kind: Kind,
    /// The changes in order.
    pub steps: Vec<StepView>,
    /// What can't be planned yet.
    pub waiting: Vec<WaitingView>,
    /// Why the machine can't be seen at present, so that nobody knows what is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
    /// Removals that wait for a confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldView>,
    /// False while some manifest of the kind can't be read, so that nothing is removed.
    pub complete: bool,
}

/// One change of a plan as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// The manifest that it serves.
    pub subject: String,
    /// The change in words.
    pub text: String,
    /// What it costs, `none` or `restarts web`.
    pub disruption: String,
    /// True if it takes away something that no manifest asks for any more.
    #[serde(default)]
    pub removal: bool,
    /// What manifests of before don't bring back; none if it can be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loses: Option<String>,
    /// True if it is said and not done, since its manifest or the whole machine is only observed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// True if what comes after it is put back unless somebody confirms that the machine is still reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial: bool,
}

impl PlanView {
    /// Returns the names of the manifests whose change is put back unless somebody confirms it.
    pub fn tried(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|step| step.trial && !step.observed).map(|step| step.subject.as_str())
    }
}

/// Removals that are too many at once to be believed: they wait until a person confirms just these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// What the confirmation names.
    pub id: String,
    /// The names that would be removed, sorted.
    pub names: Vec<String>,
}

/// What can't be planned yet, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingView {
    /// The manifest.
    pub subject: String,
    /// The cause in PascalCase.
    pub reason: String,
    /// What is missing and what to do.
    pub message: String,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChangeType {
    /// It is new.
    Added,
    /// It is not what it was.
    Modified,
    /// It is no more.
    Deleted,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What became of it.
    pub r#type: ChangeType,
    /// The kind of the object.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The version that this change made.
    pub resource_version: u64,
    /// The object after the change; before it when deleted, with the new version.
    pub object: Arc<Value>,
}

/// What the store knows about a manifest that was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The generation of its spec, from 1.
    pub generation: i64,
    /// True if this declaration made the generation grow, or is the first.
    pub changed: bool,
    /// The generation that was last settled, over restarts too.
    pub settled_generation: Option<i64>,
}

/// How a part of the agent stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// True when it works.
    pub ok: bool,
    /// One sentence.
    pub message: String,
}

/// Figures of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The newest version.
    pub resource_version: u64,
    /// Objects by kind.
    pub objects: BTreeMap<Kind, usize>,
    /// Events that are kept.
    pub events: usize,
    /// The number of the newest event.
    pub last_event: u64,
    /// The work on each kind since the agent started.
    pub work: BTreeMap<Kind, Work>,
    /// How often the disk was written and synced.
    pub syncs: u64,
    /// How often that failed.
    pub sync_failures: u64,
}

/// The work on a kind since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Passes.
    pub passes: u64,
    /// Steps that did what they should.
    pub applied: u64,
    /// Steps that did not.
    pub failed: u64,
}

impl Event {
    /// Returns an event about the machine itself.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            id: 0,
            time: String::new(),
            kind: None,
            name: None,
            reason: reason.into(),
            severity: Severity::Normal,
            message: message.into(),
            generation: None,
        }
    }

    /// Says which manifest it speaks of.
    #[must_use]
    pub fn about(mut self, kind: Kind, name: impl Into<String>) -> Self {
        self.kind = Some(kind);
        self.name = Some(name.into());
        self
    }

    /// Says which generation it speaks of.
    #[must_use]
    pub const fn at(mut self, generation: i64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Makes it one that a person should look at.
    #[must_use]
    pub const fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl EventQuery {
    /// The most events in one answer.
    pub const MAX: usize = 1000;

    pub(super) fn limit(&self) -> usize {
        if self.limit == 0 { Self::MAX } else { self.limit.min(Self::MAX) }
    }

    pub(super) fn takes(&self, event: &Event) -> bool {
        self.kind.is_none_or(|kind| event.kind == Some(kind))
            && self.name.as_ref().is_none_or(|name| event.name.as_ref() == Some(name))
    }
}

impl ChangeType {
    /// Returns the word of the API, `ADDED`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl fmt::Display for ChangeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
