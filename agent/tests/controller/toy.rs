//! A kind as small as can be, over a world whose behaviour a test decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use piccolo_agent::{
    host::{HostError, Reason},
    reconcile::{Disruption, Plan, Reconciler, Report, Step, Waiting},
};
use piccolo_schema::{Declared, Desired, Network};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// What the machine has: the gateway by name stands for "how the thing was made".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) things: BTreeMap<String, String>,
    pub(crate) blocked: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) seen: Mutex<Seen>,
    pub(crate) hint: Notify,
    /// Names whose next applies fail, and how often.
    pub(crate) failing: Mutex<BTreeMap<String, u32>>,
    /// Names whose applies do nothing.
    pub(crate) idle: Mutex<BTreeSet<String>>,
    /// Names whose applies take this long, over the lane of transfers.
    pub(crate) slow: Mutex<BTreeMap<String, Duration>>,
    /// Names whose apply panics.
    pub(crate) broken: Mutex<BTreeSet<String>>,
    pub(crate) blind: Mutex<bool>,
    pub(crate) applied: Mutex<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) enum Change {
    Make { name: String, how: String },
    Polish { name: String },
    Remove { name: String },
}

impl Step for Change {
    fn subject(&self) -> &str {
        match self {
            Self::Make { name, .. } | Self::Polish { name } | Self::Remove { name } => name,
        }
    }

    fn disruption(&self) -> Disruption {
        Disruption::None
    }

    fn rests_on(&self, _failed: &Self) -> bool {
        !self.subject().starts_with("parts")
    }

    fn is_removal(&self) -> bool {
        matches!(self, Self::Remove { .. })
    }

    fn is_transfer(&self) -> bool {
        self.subject().starts_with("far")
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make { name, how } => write!(f, "make {name} as {how}"),
            Self::Polish { name } => write!(f, "polish {name}"),
            Self::Remove { name } => write!(f, "remove {name}"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Toys(pub Arc<World>);

fn how(manifest: &Network) -> String {
    manifest.spec.subnet.clone().unwrap_or_default()
}

impl Reconciler for Toys {
    type Manifest = Network;
    type Observed = Seen;
    type Step = Change;

    async fn observe(&self) -> Result<Seen, HostError> {
        if *self.0.blind.lock().unwrap() {
            return Err(HostError::new(Reason::EngineUnavailable, "Nobody answers"));
        }
        Ok(self.0.seen.lock().unwrap().clone())
    }

    fn plan(desired: &Desired<Network>, observed: &Seen) -> Plan<Change> {
        let mut plan = Plan::default();
        if desired.complete {
            let gone = observed.things.keys().filter(|name| !desired.manifests.iter().any(|it| it.name() == **name));
            plan.steps.extend(gone.map(|name| Change::Remove { name: name.clone() }));
        }
        for manifest in &desired.manifests {
            let name = manifest.name().to_owned();
            if observed.blocked.contains(&name) {
                let message = "The way is blocked".to_owned();
                plan.waiting.push(Waiting { subject: name, reason: "Blocked".to_owned(), message });
            } else if observed.things.get(&name) != Some(&how(manifest)) {
                plan.steps.push(Change::Make { name: name.clone(), how: how(manifest) });
                plan.steps.push(Change::Polish { name });
            }
        }
        plan
    }

    async fn apply(&self, step: &Change) -> Result<(), HostError> {
        let name = step.subject().to_owned();
        let slow = self.0.slow.lock().unwrap().get(&name).copied();
        if let Some(time) = slow {
            tokio::time::sleep(time).await;
        }
        assert!(!self.0.broken.lock().unwrap().remove(&name), "a defect, on purpose");
        self.0.applied.lock().unwrap().push(step.to_string());
        if let Some(left) = self.0.failing.lock().unwrap().get_mut(&name).filter(|left| **left > 0) {
            *left -= 1;
            return Err(HostError::new(Reason::PortTaken, "Port 80 is taken"));
        }
        if !self.0.idle.lock().unwrap().contains(&name) {
            let things = &mut self.0.seen.lock().unwrap().things;
            match step {
                Change::Make { name, how } => drop(things.insert(name.clone(), how.clone())),
                Change::Remove { name } => drop(things.remove(name)),
                Change::Polish { .. } => {}
            }
        }
        self.0.hint.notify_one();
        Ok(())
    }

    fn report(manifests: &[Network], observed: &Seen) -> Vec<Report> {
        let one = |manifest: &Network| {
            let ready = observed.things.contains_key(manifest.name());
            let reason = if ready { "Made" } else { "Absent" };
            Report { ready, reason: reason.into(), message: "So it is".into(), fields: serde_json::json!({}) }
        };
        manifests.iter().map(one).collect()
    }

    fn owned(observed: &Seen) -> usize {
        observed.things.len()
    }

    async fn changed(&self) {
        self.0.hint.notified().await;
    }
}
