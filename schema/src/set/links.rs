//! Links that get in each other's way, and keys of links that no Secret holds.

use std::collections::BTreeMap;

use super::{Conflict, Extent, Set, Spot};
use crate::{
    Declared, Link, Secret, link,
    parse::{Code, Path},
};

pub(super) fn check(set: &Set<'_>, extent: Extent, out: &mut Vec<Conflict>) {
    let links = set.all::<Link>().map(|(_, it)| (it.name(), &it.spec)).collect::<BTreeMap<_, _>>();
    for clash in link::clashes(&links) {
        let Some((at, _)) = set.get::<Link>(&clash.link) else { continue };
        if clash.code == Code::NotDeclared && extent == Extent::Part {
            continue;
        }
        let other = clash.other.and_then(|name| set.get::<Link>(&name));
        out.push(Conflict {
            code: clash.code,
            is_error: true,
            at: Spot::new(at, clash.path),
            others: other.map(|(at, _)| Spot::name(at)).into_iter().collect(),
            reason: clash.reason,
            help: clash.help,
        });
    }
    for (at, link) in set.all::<Link>().filter(|_| extent == Extent::Whole) {
        let Some(from) = link.spec.key() else { continue };
        let secret = set.get::<Secret>(&from.secret);
        if secret.is_some_and(|(_, it)| it.spec.data.contains_key(&from.key)) {
            continue;
        }
        let (path, how) = match &link.spec.wifi {
            Some(_) => (Path::spec("wifi").key("psk"), format!("piccolo secret set {} {}", from.secret, from.key)),
            None => (
                Path::spec("wireguard").key("privateKey"),
                format!("wg genkey | piccolo secret set {} {}", from.secret, from.key),
            ),
        };
        out.push(Conflict {
            code: Code::NotDeclared,
            is_error: true,
            at: Spot::new(at, path),
            others: secret.map(|(place, _)| Spot::name(place)).into_iter().collect(),
            reason: format!("No Secret `{}` with a value `{}` is declared", from.secret, from.key),
            help: format!("`{how}` makes one"),
        });
    }
}
