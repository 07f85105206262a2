//! A service becomes a Container.

mod deploy;
mod environment;
mod health;
mod limits;
mod mounts;
mod network;
mod order;
mod ports;
mod process;
mod rights;

use super::{
    draft::Draft,
    keys,
    yaml::{Entry, Node},
};

/// Readers of keys; each says whether the key is one of its own.
const READERS: &[fn(&mut Draft<'_>, &str, &Node) -> bool] = &[
    process::take,
    environment::take,
    order::take,
    ports::take,
    mounts::take,
    network::take,
    limits::take,
    deploy::take,
    health::take,
    rights::take,
];

/// Reads every key of a service.
pub(super) fn read(draft: &mut Draft<'_>, service: &Node) {
    for entry in draft.entries(service) {
        draft.take(entry, take);
    }
    process::finish(draft, service);
    order::finish(draft, service);
    network::finish(draft, service);
    limits::finish(draft, service);
    draft.grant("the file");
}

fn take(draft: &mut Draft<'_>, entry: &Entry) {
    let key = entry.key.as_str();
    if READERS.iter().any(|reader| reader(draft, key, &entry.value)) {
        return;
    }
    match keys::unsaid(key) {
        Some(why) => draft.lost("", why),
        None => {
            let help = keys::advice_for_service(key);
            draft.unknown_key(entry, &help);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::compose::{Source, mistake::Place, project::Project, yaml::Value};

    #[test]
    fn every_known_key_has_one_reader_or_a_word_of_regret() {
        let nothing = |value| Node { value, place: Place::default() };
        let (variables, profiles) = (BTreeMap::new(), Vec::new());
        let source = Source { text: "", directory: "/", name: None, variables, profiles, read: &|_| None };
        let project = Project::new(&source, &nothing(Value::Null));
        let readers = |key: &str| {
            let mut draft = Draft::new(&project, "service", "web", "web".to_owned());
            READERS.iter().filter(|reader| reader(&mut draft, key, &nothing(Value::Null))).count()
        };
        for key in keys::READ {
            assert_eq!((readers(key), keys::unsaid(key)), (1, None), "{key}");
        }
        for (key, _) in keys::UNSAID {
            assert_eq!(readers(key), 0, "{key} is read");
        }
    }
}
