//! Networks that ask for addresses which another one has.

use std::collections::BTreeMap;

use piccolo_schema::{NetworkSpec, subnet::Subnet};

use crate::{
    host::{NetworkSeen, NetworkView},
    reconcile::Waiting,
};

/// Returns the networks that can't be made because of another one. What stands as it is asked for keeps its addresses,
/// and so does what no manifest asks for until it is gone; of two others the first one by name is made.
pub(super) fn overlaps<'a>(
    wanted: &BTreeMap<&'a str, &'a NetworkSpec>,
    observed: &'a NetworkView,
) -> BTreeMap<&'a str, Waiting> {
    let stays = |seen: &&NetworkSeen| match (wanted.get(&*seen.name), &seen.stamp) {
        (Some(spec), Some(made_from)) => *made_from == spec.fixed(),
        (None, Some(_)) => true,
        // What is not ours has addresses of its own, too many to know: the engine speaks of them.
        (_, None) => false,
    };
    let stand = observed.networks.iter().filter(stays);
    let mut granted: Vec<(&str, Subnet)> =
        stand.flat_map(|seen| seen.stamp.iter().flat_map(|spec| claims(&seen.name, spec))).collect();
    let mut waiting = BTreeMap::new();
    for (&name, &spec) in wanted {
        let mine: Vec<_> = claims(name, spec).collect();
        let rival = mine.iter().find_map(|(_, range)| {
            let (other, taken) = granted.iter().find(|(other, taken)| *other != name && range.overlaps(taken))?;
            Some((*other, *taken, *range))
        });
        match rival {
            Some(rival) => drop(waiting.insert(name, wait(name, rival, wanted))),
            None => granted.extend(mine),
        }
    }
    waiting
}

fn claims<'a>(name: &'a str, spec: &NetworkSpec) -> impl Iterator<Item = (&'a str, Subnet)> {
    spec.ranges().map(move |(_, range)| (name, range))
}

fn wait(name: &str, (other, taken, range): (&str, Subnet, Subnet), wanted: &BTreeMap<&str, &NetworkSpec>) -> Waiting {
    let message = if wanted.contains_key(other) {
        format!("Its addresses {range} are in {taken} of Network `{other}` too; give one of the two another range")
    } else {
        format!(
            "Its addresses {range} are in {taken} of network `{other}` too, which no manifest asks for; it waits until that is gone"
        )
    };
    Waiting { subject: name.to_owned(), reason: "SubnetOverlap".to_owned(), message }
}
