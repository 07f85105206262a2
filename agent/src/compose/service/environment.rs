//! Environment variables, from the file itself and from others.

use crate::{
    compose::{
        draft::Draft,
        mistake::Mistake,
        variables,
        yaml::{Node, Value},
    },
    foreign::is_secret,
};

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    match key {
        "environment" => environment(draft, node),
        "env_file" => files(draft, node),
        _ => return false,
    }
    true
}

fn environment(draft: &mut Draft<'_>, node: &Node) {
    let mut bare = Vec::new();
    for pair in draft.pairs(node, &['=']) {
        let value = pair.value.or_else(|| draft.project.source.variables.get(&pair.name).cloned());
        match value {
            Some(value) => {
                if is_secret(&pair.name, &value) {
                    bare.push(pair.name.clone());
                }
                set(draft, pair.name, value, true);
            }
            None => draft.lost(
                &format!(".{}", pair.name),
                "it is taken from the shell that runs compose, where it is not set now",
            ),
        }
    }
    draft.advise_secrets(&bare);
}

fn files(draft: &mut Draft<'_>, node: &Node) {
    let all = match &node.value {
        Value::Map(_) => std::slice::from_ref(node),
        _ => draft.list(node),
    };
    // A later file wins over an earlier one, `environment` over both.
    for item in all.iter().rev() {
        let path = item.get("path").unwrap_or(item);
        let Some(path_text) = draft.text(path).map(str::to_owned) else { continue };
        let optional = item.get("required").and_then(Node::text) == Some("false");
        match (draft.project.source.read)(&path_text) {
            Some(text) => match variables::read_env(&text, &draft.project.source.variables) {
                Ok(all) => take_over(draft, &path_text, all),
                Err(mistakes) => {
                    for Mistake { place: within, reason, help } in mistakes {
                        draft.wrong(path.place, &format!("line {} of `{path_text}`: {reason}", within.line), &help);
                    }
                }
            },
            None if optional => draft.changed("", format!("`{path_text}` is not there and not required")),
            None => {
                let reason = format!("there is no file `{path_text}` beside the compose file");
                draft.wrong(path.place, &reason, "make it, or take it out");
            }
        }
    }
}

fn take_over(draft: &mut Draft<'_>, path: &str, all: Vec<(String, Option<String>)>) {
    let (mut count, mut bare) = (0_usize, Vec::new());
    let mut values = std::collections::BTreeMap::new();
    for (name, value) in all {
        if let Some(value) = value.or_else(|| draft.project.source.variables.get(&name).cloned()) {
            values.insert(name, value);
        }
    }
    for (name, value) in values {
        count += 1;
        if is_secret(&name, &value) {
            bare.push(name.clone());
        }
        set(draft, name, value, false);
    }
    draft.changed(
        "",
        format!("the {count} variable(s) of `{path}` stand in the manifest; later changes of the file don't"),
    );
    draft.advise_secrets(&bare);
}

fn set(draft: &mut Draft<'_>, name: String, value: String, wins: bool) {
    if let Some(env) = draft.map("env")
        && (wins || !env.contains_key(&name))
    {
        env.insert(name, value.into());
    }
}
