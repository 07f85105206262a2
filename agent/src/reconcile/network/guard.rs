//! What has to be done about the rules.
//!
//! All networks share one table, so that one stroke replaces it and no moment has half of the old rules and half of the
//! new ones. Each network with a policy has the step, so that each says for itself how it went; the second time it finds
//! everything done. Where only published ports ask for rules, the step is that of `bridge`, the engine's own network. The
//! step comes before the one that makes the network: no container is ever on it without rules.
//!
//! A network whose manifest went away may have containers on it still. What its policy was nobody knows any more, so it
//! is closed, which counts as a removal: an emptied directory closes nothing before a person has confirmed it. While a
//! file can't be read, and may be the missing one, all rules stay as they are.

use std::collections::BTreeMap;

use piccolo_schema::{Declared, Desired, Network, NetworkSpec, network::Policy};

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

/// What is allowed on a network without a manifest.
const CLOSED: &Policy = &Policy { allow: Vec::new(), egress: Vec::new() };

/// The rules that are wanted, and what keeps them from being there.
pub(super) struct Guard<'a> {
    wanted: Option<Rules>,
    /// The networks that are closed, having no manifest any more.
    closed: Vec<&'a str>,
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
    /// They stay as they are until it is known what becomes of this network, which has no manifest now.
    Hold(&'a str),
    /// They can't be set here, for this reason.
    Impossible(&'a str),
}

impl<'a> Guard<'a> {
    pub(super) fn new(desired: &Desired<Network>, view: &'a NetworkView) -> Self {
        let wanted = wanted(&desired.manifests, view);
        let need = need(desired, view, wanted.as_ref());
        Self { wanted, closed: orphans(&desired.manifests, view, true).collect(), need }
    }

    /// Returns the steps.
    pub(super) fn steps(&self) -> Vec<NetworkStep> {
        let (removal, act) = match (&self.need, &self.wanted) {
            (Need::Set(why), Some(rules)) => {
                let closed: Vec<String> = self.closed.iter().map(|&name| name.to_owned()).collect();
                (!closed.is_empty(), Act::SetRules { rules: rules.clone(), why, closed })
            }
            (Need::Clear, _) => (true, Act::ClearRules),
            _ => return Vec::new(),
        };
        let step = |subject: &str| NetworkStep { subject: subject.to_owned(), removal, act: act.clone() };
        self.subjects().into_iter().map(step).collect()
    }

    /// Says what keeps the policy of a network from being kept, or the network from being made. `is_there` if it is.
    pub(super) fn missing(
        &self,
        name: &str,
        spec: &NetworkSpec,
        is_there: bool,
        view: &NetworkView,
    ) -> Option<Waiting> {
        spec.policy.as_ref()?;
        let wait = |reason: &str, message: String| {
            Some(Waiting { subject: name.to_owned(), reason: reason.to_owned(), message })
        };
        match (&self.need, &view.firewall.blind) {
            (Need::Impossible(problem), _) => {
                wait("FirewallUnavailable", format!("Its policy can't be kept: {problem}"))
            }
            (_, Some(problem)) => wait("FirewallUnavailable", format!("Its policy is kept in part: {problem}")),
            (Need::Hold(other), _) => wait(
                "PolicyHeld",
                format!("All rules stay as they are while there is a network `{other}` without a manifest"),
            ),
            _ if is_there || self.is_kept(name, view) => None,
            _ => wait("PolicyPending", "It is made once the rules for it are set".to_owned()),
        }
    }

    /// Returns true if there are rules for a network, or if they are set before it is made.
    fn is_kept(&self, name: &str, view: &NetworkView) -> bool {
        let there = view.firewall.rules.as_ref().is_some_and(|rules| rules.intact && rules.networks.contains(name));
        there || (matches!(self.need, Need::Set(_)) && self.subjects().contains(&name))
    }

    /// Returns who has the step. What closes a network is one removal, not one for each network that is left.
    fn subjects(&self) -> Vec<&str> {
        if let Some(&closed) = self.closed.first() {
            return vec![closed];
        }
        let asking = self.wanted.iter().flat_map(|rules| &rules.networks).map(String::as_str);
        let asking: Vec<&str> = asking.collect();
        if asking.is_empty() { vec![NO_NETWORK] } else { asking }
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
    let unread = undeclared(&desired.manifests, view).next().filter(|_| !desired.complete);
    if unread.is_none() && orphans(&desired.manifests, view, false).next().is_some() {
        // What nobody is on goes by this very plan, and its rules by the next one.
        return Need::Nothing;
    }
    match (unread, wanted, &view.firewall.problem, seen) {
        (Some(orphan), ..) => Need::Hold(orphan),
        (_, None, ..) if desired.complete => Need::Clear,
        (_, None, ..) => Need::Nothing,
        (_, Some(_), Some(problem), _) => Need::Impossible(problem),
        (_, Some(_), None, None) => Need::Set("there are none"),
        (_, Some(wanted), None, Some(seen)) if seen.digest == wanted.digest => Need::Set("altered by hand"),
        (_, Some(_), None, Some(_)) => Need::Set(""),
    }
}

fn is_met(wanted: Option<&Rules>, view: &NetworkView) -> bool {
    match (wanted, &view.firewall.rules) {
        (None, None) => true,
        (Some(wanted), Some(seen)) => seen.is(wanted),
        _ => false,
    }
}

fn wanted(manifests: &[Network], view: &NetworkView) -> Option<Rules> {
    let bridge = |ours: bool| {
        let known = view.networks.iter().filter(move |it| !it.bridge.is_empty() && (it.stamp.is_some() || !ours));
        known.map(|it| (it.name.as_str(), it.bridge.clone())).collect::<BTreeMap<&str, String>>()
    };
    let ours = bridge(true);
    let closed = orphans(manifests, view, true).map(|name| (name, CLOSED));
    let declared = manifests.iter().filter_map(|it| Some((it.name(), it.spec.policy.as_ref()?)));
    let mut networks: Vec<Guarded<'_>> = declared
        .chain(closed)
        .map(|(name, policy)| {
            // Where the name is somebody else's, the device of ours would be this one.
            let bridge = ours.get(name).cloned().unwrap_or_else(|| bridge_of(name));
            Guarded { name, bridge, policy }
        })
        .collect();
    networks.sort_by_key(|it| it.name);
    compile(&networks, &view.members, &bridge(false), view.api_port)
}

/// Returns the networks that the rules know and no manifest declares.
fn undeclared<'a>(manifests: &[Network], view: &'a NetworkView) -> impl Iterator<Item = &'a str> {
    let known = view.firewall.rules.iter().flat_map(|rules| &rules.networks).map(String::as_str);
    known.filter(|name| !manifests.iter().any(|it| it.name() == *name))
}

/// Returns those of them that are still there, with containers on them or without.
fn orphans<'a>(manifests: &[Network], view: &'a NetworkView, in_use: bool) -> impl Iterator<Item = &'a str> {
    undeclared(manifests, view).filter(move |name| {
        let ours = view.networks.iter().filter(|it| it.name == *name && it.stamp.is_some());
        ours.map(|it| !it.attached.is_empty()).max() == Some(in_use)
    })
}
