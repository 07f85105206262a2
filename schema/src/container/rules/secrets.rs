use std::collections::BTreeSet;

use super::note;
use crate::{
    container::{ContainerSpec, SecretUse},
    parse::{Code, Path, Violation},
};

pub(super) fn check(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    let mut variables: BTreeSet<&str> = spec.env.keys().map(String::as_str).collect();
    for (index, it) in spec.secrets.iter().enumerate() {
        let path = Path::spec("secrets").index(index);
        way(it, &path, out);
        let Some(variable) = it.env.as_deref().filter(|variable| !variable.is_empty()) else { continue };
        if !variables.insert(variable) {
            let reason = format_args!("the variable `{variable}` is set twice");
            note(out, Code::Duplicate, path.key("env"), reason, "choose another name, or remove one of the two");
        }
    }
}

/// Checks that it is one way in and not two, and that what is said fits that way.
fn way(it: &SecretUse, path: &Path, out: &mut Vec<Violation>) {
    let at = |key: &str| path.clone().key(key);
    match (&it.path, &it.env) {
        (Some(_), Some(_)) => {
            let reason = "a secret comes in either as files at `path` or as the variable `env`, not both";
            note(out, Code::Conflict, at("env"), reason, "remove one of the two, or write two entries");
        }
        (None, None) => {
            let help = "add `path = \"/run/secrets/…\"`: files there are seen by nobody but the container";
            note(out, Code::MissingKey, path.clone(), "the entry names a secret, but not where it goes", help);
        }
        (None, Some(_)) => {
            if it.key.is_none() {
                let reason = "a variable holds one value, and no `key` says which";
                note(out, Code::MissingKey, path.clone(), reason, "add `key = \"…\"`");
            }
            let rights = [("mode", it.mode.is_some()), ("uid", it.uid.is_some()), ("gid", it.gid.is_some())];
            for (key, _) in rights.into_iter().filter(|(_, given)| *given) {
                let reason = format_args!("a variable has no `{key}`");
                note(out, Code::Conflict, at(key), reason, "remove it, or use `path` in place of `env`");
            }
        }
        (Some(_), None) => {}
    }
    if it.key.as_deref().is_some_and(|key| !key.is_empty() && key.chars().all(|c| c == '.')) {
        note(out, Code::WrongForm, at("key"), "dots alone can't be the name of a value", "write its name");
    }
}
