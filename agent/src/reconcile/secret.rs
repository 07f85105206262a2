//! Keeps the values of secrets at hand, decrypted, in the memory of this machine.
//!
//! A value is decrypted where it is written and never seen here: what is compared is the encrypted text that it was made
//! from. After a start of the machine the memory is empty, so that secrets come first and containers that use them wait.

mod plan;
mod step;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use piccolo_schema::{Declared, Desired, Secret, SecretStatus};

use super::{Plan, Reconciler, Report};
use crate::host::{self, HostError, SecretSeen, SecretsView};

pub use step::{Act, SecretStep};

/// Keeps secrets in this memory.
pub struct Secrets<S>(pub Arc<S>);

impl<S: host::Secrets> Reconciler for Secrets<S> {
    type Manifest = Secret;
    type Observed = SecretsView;
    type Step = SecretStep;

    fn observe(&self) -> impl Future<Output = Result<SecretsView, HostError>> + Send {
        self.0.secrets()
    }

    fn plan(desired: &Desired<Secret>, observed: &SecretsView) -> Plan<SecretStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &SecretStep) -> Result<(), HostError> {
        match &step.act {
            Act::Write { spec, .. } => self.0.write_secret(&step.subject, spec).await,
            Act::Remove => self.0.remove_secret(&step.subject).await,
        }
    }

    fn report(manifests: &[Secret], observed: &SecretsView) -> Vec<Report> {
        let seen: BTreeMap<&str, &SecretSeen> = observed.secrets.iter().map(|it| (it.name.as_str(), it)).collect();
        manifests.iter().map(|manifest| stands(seen.get(manifest.name()).copied())).collect()
    }

    fn owned(observed: &SecretsView) -> usize {
        observed.secrets.len()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

fn stands(seen: Option<&SecretSeen>) -> Report {
    let Some(seen) = seen else {
        let fields = serde_json::json!({});
        return Report { ready: false, reason: "Absent".into(), message: "It is not decrypted".into(), fields };
    };
    let keys: Vec<String> = seen.values.keys().cloned().collect();
    let message = match keys.as_slice() {
        [] => "It has no values; `piccolo secret set` adds one".to_owned(),
        keys => format!("Containers can be given {}", keys.join(", ")),
    };
    let fields = serde_json::to_value(SecretStatus { keys, ..SecretStatus::default() }).unwrap_or_default();
    Report { ready: true, reason: "Decrypted".into(), message, fields }
}
