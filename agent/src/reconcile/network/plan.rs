//! The plan for all networks.

use std::collections::BTreeMap;

use piccolo_schema::{Declared, Desired, Network, NetworkSpec};

use super::{
    guard::Guard,
    overlaps::overlaps,
    step::{Act, NetworkStep},
};
use crate::{
    host::{NetworkSeen, NetworkView},
    reconcile::{Plan, Waiting},
};

/// Plans the whole kind: first what goes, then the rules, then each subject by name.
pub(super) fn plan(desired: &Desired<Network>, observed: &NetworkView) -> Plan<NetworkStep> {
    let wanted: BTreeMap<&str, &NetworkSpec> = desired.manifests.iter().map(|it| (it.name(), &it.spec)).collect();
    let mut seen: BTreeMap<&str, Vec<&NetworkSeen>> = BTreeMap::new();
    for network in &observed.networks {
        seen.entry(&network.name).or_default().push(network);
    }
    let mut plan = Plan::default();
    let goes = |name: &str| !wanted.contains_key(name) && (desired.complete || desired.consented.contains(name));
    for orphan in seen.iter().filter(|(name, _)| goes(name)).flat_map(|(_, networks)| networks) {
        remove_orphan(orphan, &mut plan);
    }
    let guard = Guard::new(desired, observed);
    plan.steps.extend(guard.steps());
    let mut overlaps = overlaps(&wanted, observed);
    for (name, spec) in &wanted {
        let seen: &[&NetworkSeen] = seen.get(name).map_or(&[], Vec::as_slice);
        let halt = guard.missing(name, spec, !seen.is_empty(), observed).or_else(|| overlaps.remove(name));
        subject(name, spec, seen, halt, &mut plan);
    }
    plan
}

fn remove_orphan(orphan: &NetworkSeen, plan: &mut Plan<NetworkStep>) {
    if orphan.stamp.is_none() {
        return;
    }
    if orphan.attached.is_empty() {
        plan.steps.push(step(&orphan.name, true, Act::Remove { id: orphan.id.clone() }));
    } else {
        let message = format!("No manifest asks for it, but {} it; it goes once they are gone", users(orphan));
        plan.waiting.push(waiting(&orphan.name, "NetworkInUse", message));
    }
}

/// Plans one network. `halt` says what is in its way, if anything is, such as a policy that can't be kept: then it is not
/// made.
fn subject(name: &str, spec: &NetworkSpec, seen: &[&NetworkSeen], halt: Option<Waiting>, plan: &mut Plan<NetworkStep>) {
    if seen.iter().any(|network| network.stamp.is_none()) {
        let message = format!(
            "A network that is not Piccolo's is called `{name}` and is left alone; remove it, or give this manifest \
             another name"
        );
        plan.waiting.push(waiting(name, "NameTaken", message));
        return;
    }
    // An engine lets several networks have one name. The one that is as asked stays, the others go.
    let fixed = spec.fixed();
    let kept = seen.iter().find(|network| network.stamp.as_ref() == Some(&fixed));
    if let Some(halt) = halt {
        plan.waiting.push(halt);
        return;
    }
    for other in seen.iter().filter(|network| kept.is_none_or(|kept| kept.id != network.id)) {
        if !other.attached.is_empty() {
            let message = format!(
                "It can't be changed while {} it; stop or remove what is on it first, or give this network another \
                 name",
                users(other)
            );
            plan.waiting.push(waiting(name, "NetworkInUse", message));
            return;
        }
        plan.steps.push(step(name, false, Act::Remove { id: other.id.clone() }));
    }
    if kept.is_none() {
        let old = seen.first().and_then(|network| network.stamp.as_ref());
        let changed = old.map(|old| fields_changed(old, spec)).unwrap_or_default();
        plan.steps.push(step(name, false, Act::Create { spec: spec.clone(), changed }));
    }
}

fn fields_changed(made_from: &NetworkSpec, desired: &NetworkSpec) -> Vec<&'static str> {
    let NetworkSpec { subnet, gateway, ipv6, internal, policy: _ } = made_from;
    [
        ("subnet", *subnet == desired.subnet),
        ("gateway", *gateway == desired.gateway),
        ("ipv6", *ipv6 == desired.ipv6),
        ("internal", *internal == desired.internal),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect()
}

/// Returns "`a` is on", or "`a` and `b` are on".
fn users(network: &NetworkSeen) -> String {
    let mut names: Vec<String> = network.attached.values().map(|name| format!("`{name}`")).collect();
    names.sort();
    match names.split_last() {
        Some((last, [])) => format!("{last} is on"),
        Some((last, rest)) => format!("{} and {last} are on", rest.join(", ")),
        None => "something is on".to_owned(),
    }
}

fn step(subject: &str, removal: bool, act: Act) -> NetworkStep {
    NetworkStep { subject: subject.to_owned(), removal, act }
}

fn waiting(subject: &str, reason: &str, message: String) -> Waiting {
    Waiting { subject: subject.to_owned(), reason: reason.to_owned(), message }
}
