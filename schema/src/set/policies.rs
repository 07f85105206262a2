//! Rules of policies that choose no container.

use std::collections::BTreeMap;

use super::{Conflict, Set, Spot};
use crate::{
    Declared, Network,
    network::chooses,
    parse::{Code, Path},
};

pub(super) fn check(set: &Set<'_>, out: &mut Vec<Conflict>) {
    for (at, network) in set.all::<Network>() {
        let Some(policy) = &network.spec.policy else { continue };
        // Of a network that nobody joins yet nothing can be said.
        if !anybody(set, network.name(), &BTreeMap::new()) {
            continue;
        }
        let path = |key: &str, index| Path::spec("policy").key(key).index(index);
        let mut ask = |rule: &BTreeMap<String, String>, path: Path| {
            if !rule.is_empty() && !anybody(set, network.name(), rule) {
                out.push(conflict(network.name(), Spot::new(at, path)));
            }
        };
        for (index, rule) in policy.allow.iter().enumerate() {
            ask(&rule.from, path("allow", index).key("from"));
            ask(&rule.to, path("allow", index).key("to"));
        }
        for (index, rule) in policy.egress.iter().enumerate() {
            ask(&rule.from, path("egress", index).key("from"));
        }
    }
}

fn anybody(set: &Set<'_>, network: &str, rule: &BTreeMap<String, String>) -> bool {
    set.containers().any(|(_, it)| chooses(rule, &it.spec.labels) && it.spec.joins().any(|joined| joined == network))
}

fn conflict(network: &str, at: Spot) -> Conflict {
    Conflict {
        code: Code::ChoosesNobody,
        is_error: false,
        at,
        others: Vec::new(),
        reason: format!("no Container on Network `{network}` has these labels"),
        help: "correct the labels, or give them to a Container that joins the network".to_owned(),
    }
}
