//! The plan for the firewall.

use piccolo_schema::{Declared, Desired, Firewall, FirewallSpec, firewall::Forward};

use super::{
    rules::{address, compile, holder},
    step::{Act, FirewallStep},
};
use crate::{
    host::FilterView,
    reconcile::{Plan, Waiting},
};

/// Plans the one firewall that a machine has.
pub(super) fn plan(desired: &Desired<Firewall>, observed: &FilterView) -> Plan<FirewallStep> {
    let mut plan = Plan::default();
    let Some(manifest) = desired.manifests.iter().find(|it| it.name() == Firewall::NAME) else {
        let goes = desired.complete || desired.consented.contains(Firewall::NAME);
        if goes && observed.filter.rules.is_some() {
            plan.steps.push(FirewallStep { act: Act::Clear });
        }
        return plan;
    };
    if let Some(problem) = &observed.filter.problem {
        plan.waiting.push(waiting("FirewallUnavailable", format!("Nothing is kept out: {problem}")));
        return plan;
    }
    let rules = compile(&manifest.spec, observed);
    let seen = observed.filter.rules.as_ref();
    if !seen.is_some_and(|seen| seen.is(&rules)) {
        let why = match seen {
            None => "there was none",
            Some(seen) if seen.digest == rules.digest => "altered by hand",
            Some(_) => "",
        };
        plan.steps.push(FirewallStep { act: Act::Set { rules, about: about(&manifest.spec), why } });
    }
    let halts = manifest.spec.forwards.iter().filter_map(|forward| halt(forward, observed));
    plan.waiting.extend(halts.take(1));
    plan
}

/// Returns true if the rules that are there are the ones that this manifest asks for.
pub(super) fn stands(manifest: &Firewall, observed: &FilterView) -> bool {
    let rules = observed.filter.rules.as_ref();
    rules.is_some_and(|seen| seen.is(&compile(&manifest.spec, observed)))
}

/// Says why a port does not lead on, if so. All else is kept meanwhile.
fn halt(forward: &Forward, observed: &FilterView) -> Option<Waiting> {
    let Forward { name, port, container, container_port, .. } = forward;
    if observed.api_port == Some(*port) {
        let message =
            format!("Forward `{name}` asks for port {port}, which is that of the machine's API; choose another");
        return Some(waiting("PortTaken", message));
    }
    if let Some(other) = holder(forward, observed) {
        let message = format!(
            "Forward `{name}` asks for port {port}, which container `{}` publishes; choose another, or let the \
             container alone have it",
            other.name
        );
        return Some(waiting("PortTaken", message));
    }
    let Some(target) = observed.containers.iter().find(|it| it.name == *container) else {
        let message = format!("There is no container `{container}`, to which forward `{name}` leads");
        return Some(waiting("ContainerMissing", message));
    };
    if !target.ports.iter().any(|it| forward.leads_to(it)) {
        let message = format!(
            "Container `{container}` does not publish its port {container_port}, so the engine lets forward `{name}` not \
             through; publish it, if only with `exposure = \"loopback\"`"
        );
        return Some(waiting("PortNotPublished", message));
    }
    address(forward, observed).is_none().then(|| {
        let message = format!("Forward `{name}` leads on once container `{container}` runs and has an address");
        waiting("ContainerNotRunning", message)
    })
}

fn about(spec: &FirewallSpec) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    };
    let services = count(spec.services.len(), "service");
    if spec.forwards.is_empty() {
        return services;
    }
    format!("{services} and {}", count(spec.forwards.len(), "forward"))
}

fn waiting(reason: &str, message: String) -> Waiting {
    Waiting { subject: Firewall::NAME.to_owned(), reason: reason.to_owned(), message }
}
