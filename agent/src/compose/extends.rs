//! `extends`: a service takes what it does not say itself from another one of the same file.

use std::collections::BTreeMap;

use super::{
    mistake::Mistake,
    yaml::{Entry, Node, Value},
};

/// How many services may extend each other in a row.
const LONGEST: usize = 16;

/// Puts into each service what it has from others.
pub(super) fn resolve(root: &mut Node) -> Vec<Mistake> {
    let Value::Map(sections) = &mut root.value else { return Vec::new() };
    let Some(services) = sections.iter_mut().find(|entry| entry.key == "services") else { return Vec::new() };
    let Value::Map(services) = &mut services.value.value else { return Vec::new() };
    let plain: BTreeMap<String, Node> = services.iter().map(|it| (it.key.clone(), it.value.clone())).collect();
    let mut mistakes = Vec::new();
    for service in services.iter_mut().filter(|it| it.value.get("extends").is_some()) {
        match whole(&service.value, &plain) {
            Ok(node) => service.value = node,
            Err(mistake) => mistakes.push(mistake),
        }
    }
    mistakes
}

fn whole(service: &Node, plain: &BTreeMap<String, Node>) -> Result<Node, Mistake> {
    let mut whole = service.clone();
    let mut next = service.get("extends");
    for _ in 0..LONGEST {
        let Some(extends) = next else { return Ok(whole) };
        if extends.get("file").is_some() {
            let help = "run `docker compose config` and import what that prints";
            return Err(Mistake::new(extends.place, "it extends a service of another file, which is not read", help));
        }
        let name = extends.get("service").unwrap_or(extends).text();
        let Some(base) = name.and_then(|name| plain.get(name)) else {
            return Err(Mistake::new(
                extends.place,
                "it extends a service that is not in the file",
                "name one that is",
            ));
        };
        next = base.get("extends");
        whole = merge(base, whole);
    }
    Err(Mistake::new(service.place, "it extends itself, or too many others in a row", "name the keys in the service"))
}

/// Lays one value over another: maps are joined, lists follow each other, else the upper one stays.
fn merge(base: &Node, over: Node) -> Node {
    let value = match (&base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(join(base, over)),
        (Value::List(base), Value::List(over)) => Value::List(base.iter().cloned().chain(over).collect()),
        (_, over) => over,
    };
    Node { value, place: over.place }
}

fn join(base: &[Entry], over: Vec<Entry>) -> Vec<Entry> {
    let mut all = over;
    for entry in base {
        // A program that is named replaces the other one, word for word.
        let whole = matches!(entry.key.as_str(), "command" | "entrypoint" | "test" | "extends");
        match all.iter_mut().find(|own| own.key == entry.key) {
            Some(own) if !whole => own.value = merge(&entry.value, own.value.clone()),
            Some(_) => {}
            None => all.push(entry.clone()),
        }
    }
    all
}
