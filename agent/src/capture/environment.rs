//! Environment variables that the image does not set.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{container::Source, json::words};
use crate::foreign::{Draft, is_secret};

pub(super) fn take(draft: &mut Draft, source: &Source<'_>, key: &str, value: &Json) -> bool {
    if key != "Config.Env" {
        return false;
    }
    let (all, images) = (pairs(value), pairs(&source.image["Config"]["Env"]));
    for (name, value) in &all {
        match value {
            Some(value) if images.get(name) != Some(&Some(*value)) => {
                if let Some(env) = draft.map("env") {
                    env.insert((*name).to_owned(), (*value).into());
                }
            }
            Some(_) => {}
            None => draft.lost(&format!(".{name}"), "a variable without a value can't be said"),
        }
    }
    for name in images.keys().filter(|name| !all.contains_key(*name)) {
        draft.lost(&format!(".{name}"), "a variable that the image sets can't be taken away");
    }
    let own = all.iter().filter(|(name, value)| images.get(*name) != Some(value));
    let secret = own.filter(|(name, value)| value.is_some_and(|value| is_secret(name, value)));
    let names: Vec<String> = secret.map(|(name, _)| (*name).to_owned()).collect();
    draft.advise_secrets(&names);
    true
}

fn pairs(value: &Json) -> BTreeMap<&str, Option<&str>> {
    let split = |word| match str::split_once(word, '=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    words(value).into_iter().map(split).collect()
}
