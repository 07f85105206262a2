//! What a manifest names and no other declares.

use super::{Conflict, Set, Spot};
use crate::{
    ConfigSource, Container, Declared, Disk, Image, Kind, Network, Secret, Volume,
    container::{Mount, SecretUse, can_be_declared},
    parse::{Code, Path, nearest},
};

pub(super) fn check(set: &Set<'_>, out: &mut Vec<Conflict>) {
    for (at, container) in set.containers() {
        let spec = &container.spec;
        for (index, it) in spec.depends_on.iter().enumerate() {
            let path = Path::spec("dependsOn").index(index).key("container");
            want::<Container>(set, &it.container, Spot::new(at, path), out);
        }
        for (index, it) in spec.secrets.iter().enumerate() {
            secret(set, it, at, &Path::spec("secrets").index(index), out);
        }
        for (index, mount) in spec.mounts.iter().enumerate() {
            if let Some(name) = Mount::declared(mount) {
                want::<Volume>(set, name, Spot::new(at, Path::spec("mounts").index(index).key("volume")), out);
            }
        }
        for name in spec.joins().filter(|name| can_be_declared(name)) {
            let more = spec.more_networks.iter().position(|it| it == name);
            let path = more.map_or_else(|| Path::spec("network"), |index| Path::spec("moreNetworks").index(index));
            want::<Network>(set, name, Spot::new(at, path), out);
        }
    }
    for (at, image) in set.all::<Image>() {
        if let Some(it) = &image.spec.credentials {
            want::<Secret>(set, &it.secret, Spot::new(at, Path::spec("credentials").key("secret")), out);
        }
        for (index, it) in image.spec.push.iter().enumerate() {
            if let Some(it) = &it.credentials {
                let path = Path::spec("push").index(index).key("credentials").key("secret");
                want::<Secret>(set, &it.secret, Spot::new(at, path), out);
            }
        }
    }
    for (at, disk) in set.all::<Disk>() {
        if let Some(it) = disk.spec.encryption.as_ref().and_then(|it| it.passphrase.as_ref()) {
            let wanted = SecretUse { secret: it.secret.clone(), key: Some(it.key.clone()), ..SecretUse::default() };
            secret(set, &wanted, at, &Path::spec("encryption").key("passphrase"), out);
        }
    }
    for (at, source) in set.all::<ConfigSource>() {
        if let Some(it) = &source.spec.credentials {
            want::<Secret>(set, &it.secret, Spot::new(at, Path::spec("credentials").key("secret")), out);
        }
    }
}

pub(super) fn want<M: Declared>(set: &Set<'_>, name: &str, at: Spot, out: &mut Vec<Conflict>) {
    if set.get::<M>(name).is_some() {
        return;
    }
    let known = set.all::<M>().map(|(_, it)| it.name());
    let help = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add a {} manifest of this name, or correct the name", M::KIND),
    };
    out.push(Conflict {
        code: Code::NotDeclared,
        // These two may have been made without us.
        is_error: !matches!(M::KIND, Kind::Network | Kind::Volume),
        at,
        others: Vec::new(),
        reason: format!("there is no {} manifest `{name}`", M::KIND),
        help,
    });
}

fn secret(set: &Set<'_>, it: &SecretUse, at: usize, path: &Path, out: &mut Vec<Conflict>) {
    let Some((place, secret)) = set.get::<Secret>(&it.secret) else {
        return want::<Secret>(set, &it.secret, Spot::new(at, path.clone().key("secret")), out);
    };
    let Some(key) = it.key.as_deref().filter(|key| !secret.spec.data.contains_key(*key)) else { return };
    let help = match nearest(key, secret.spec.data.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add it with `piccolo secret set {} {key}`, or correct the name", it.secret),
    };
    out.push(Conflict {
        code: Code::NotDeclared,
        is_error: true,
        at: Spot::new(at, path.clone().key("key")),
        others: vec![Spot::name(place)],
        reason: format!("Secret `{}` has no value `{key}`", it.secret),
        help,
    });
}
