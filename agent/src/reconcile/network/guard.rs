//! What has to be done about the rules.
//!
//! All networks share one table, so that one stroke replaces it and no moment has half of the old rules and half of the
//! new ones. Its step belongs to the first network with a policy; to `bridge`, the engine's own, when only published
//! ports ask for rules. It comes before the step that makes this network, and other networks with a policy are not made
//! until the rules are there: no container is ever on one of them without.

use std::collections::BTreeMap;

use piccolo_schema::{Declared, Desired, Network, NetworkSpec};

use super::{
    rules::{Guarded, compile},
    step::{Act, NetworkStep},
};
use crate::{
    host::{NetworkView, Rules, firewall::bridge_of},
    reconcile::Waiting,
};

/// The subject of rules that no network asks for.
const NO_NETWORK: &str = "bridge";

/// The rules that are wanted, and what keeps them from being there.
pub(super) struct Guard<'a> {
    wanted: Option<Rules>,
    need: Need<'a>,
}

/// What is to be done.
enum Need<'a> {
    /// They are as they should be.
    Nothing,
    /// They are set, for this reason.
    Set(&'static str),
    /// None are wanted any more.
    Clear,
    /// They stay as they are, since nobody knows any more what this network's policy was.
    Hold(&'a str),
    /// They can't be set here, for this reason.
    Impossible(&'a str),
}

impl<'a> Guard<'a> {
    pub(super) fn new(desired: &Desired<Network>, view: &'a NetworkView) -> Self {
        let wanted = wanted(&desired.manifests, view);
        let need = need(desired, view, wanted.as_ref());
        Self { wanted, need }
    }

    /// Returns the step, if there is one.
    pub(super) fn step(&self) -> Option<NetworkStep> {
        let (removal, act) = match (&self.need, &self.wanted) {
            (Need::Set(why), Some(rules)) => (false, Act::SetRules { rules: rules.clone(), why }),
            (Need::Clear, _) => (true, Act::ClearRules),
            _ => return None,
        };
        Some(NetworkStep { subject: self.subject().to_owned(), removal, act })
    }

    /// Says what keeps the policy of a network from being kept, or the network from being made. `is_there` if it is.
    pub(super) fn missing(&self, name: &str, spec: &NetworkSpec, is_there: bool, view: &NetworkView) -> Option<Waiting> {
        spec.policy.as_ref()?;
        let wait = |reason: &str, message: String| {
            Some(Waiting { subject: name.to_owned(), reason: reason.to_owned(), message })
        };
        match (&self.need, &view.firewall.blind) {
            (Need::Impossible(problem), _) => wait("FirewallUnavailable", format!("Its policy can't be kept: {problem}")),
            (_, Some(problem)) => wait("FirewallUnavailable", format!("Its policy is kept in part: {problem}")),
            (Need::Hold(other), _) => wait(
                "PolicyHeld",
                format!("The rules stay as they are while there is a network `{other}` without a manifest that can be read"),
            ),
            (Need::Set(_), None) if !is_there && self.subject() != name => {
                wait("PolicyPending", "It is made once the rules for it are set".to_owned())
            }
            _ => None,
        }
    }

    fn subject(&self) -> &str {
        let first = self.wanted.as_ref().and_then(|rules| rules.networks.first());
        first.map_or(NO_NETWORK, String::as_str)
    }
}

/// Returns true if the rules that are there are the ones that these manifests ask for.
pub(super) fn stands(manifests: &[Network], view: &NetworkView) -> bool {
    is_met(wanted(manifests, view).as_ref(), view)
}

fn need<'a>(desired: &Desired<Network>, view: &'a NetworkView, wanted: Option<&Rules>) -> Need<'a> {
    if is_met(wanted, view) || (desired.manifests.is_empty() && !desired.complete) {
        return Need::Nothing;
    }
    let seen = view.firewall.rules.as_ref();
    let declared = |name: &str| desired.manifests.iter().any(|it| it.name() == name);
    let is_there = |name: &str| view.networks.iter().any(|it| it.name == name && it.stamp.is_some());
    let orphan = seen
        .and_then(|rules| rules.networks.iter().find(|it| !declared(it) && (is_there(it) || !desired.complete)))
        .map(String::as_str);
    match (orphan, wanted, &view.firewall.problem, seen) {
        (Some(orphan), ..) => Need::Hold(orphan),
        (_, None, ..) if desired.complete => Need::Clear,
        (_, None, ..) => Need::Nothing,
        (_, Some(_), Some(problem), _) => Need::Impossible(problem),
        (_, Some(_), None, None) => Need::Set("missing"),
        (_, Some(_), None, Some(rules)) if !rules.intact => Need::Set("altered by hand"),
        (_, Some(_), None, Some(_)) => Need::Set(""),
    }
}

fn is_met(wanted: Option<&Rules>, view: &NetworkView) -> bool {
    match (wanted, &view.firewall.rules) {
        (None, None) => true,
        (Some(wanted), Some(seen)) => seen.intact && seen.digest == wanted.digest,
        _ => false,
    }
}

fn wanted(manifests: &[Network], view: &NetworkView) -> Option<Rules> {
    let bridge = |ours: bool| {
        let known = view.networks.iter().filter(move |it| !it.bridge.is_empty() && (it.stamp.is_some() || !ours));
        known.map(|it| (it.name.as_str(), it.bridge.clone())).collect::<BTreeMap<&str, String>>()
    };
    let ours = bridge(true);
    let mut networks: Vec<Guarded<'_>> = manifests
        .iter()
        .filter_map(|it| {
            let (name, policy) = (it.name(), it.spec.policy.as_ref()?);
            // Where the name is somebody else's, the device of ours would be this one.
            let bridge = ours.get(name).cloned().unwrap_or_else(|| bridge_of(name));
            Some(Guarded { name, bridge, policy })
        })
        .collect();
    networks.sort_by_key(|it| it.name);
    compile(&networks, &view.members, &bridge(false))
}
