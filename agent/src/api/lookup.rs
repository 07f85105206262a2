//! From words of a path to what they name, with near matches for what names nothing.

use axum::http::{StatusCode, Uri};
use piccolo_schema::Kind;

use super::{BASE, State, fault::Fault, operations};

/// Returns the kind that a path names.
pub(super) fn kind(plural: &str) -> Result<Kind, Fault> {
    Kind::ALL.iter().copied().find(|kind| kind.plural() == plural).ok_or_else(|| {
        let words: Vec<_> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
        let meant = Kind::from_word(plural).map(Kind::plural).or_else(|| nearest(plural, words.iter().copied()));
        let fault = Fault::new(StatusCode::NOT_FOUND, "NotFound", format!("there is no kind `{plural}`"));
        fault.help(meant.map_or_else(|| format!("there are {}", words.join(", ")), did_you_mean))
    })
}

/// Returns the refusal for a name that nothing has.
pub(super) fn no_such(state: &State, kind: Kind, name: &str) -> Fault {
    let fault = Fault::not_found(kind, name);
    let (_, objects) = state.store.list(kind);
    let names = objects.iter().filter_map(|object| object["metadata"]["name"].as_str());
    match nearest(name, names) {
        Some(meant) => fault.help(did_you_mean(meant)),
        None => fault,
    }
}

/// Returns the engine's identifier of the container that a manifest has: another's container may have its name.
pub(super) fn container(state: &State, plural: &str, name: &str) -> Result<String, Fault> {
    let kind = kind(plural)?;
    if kind != Kind::Container {
        let detail = format!("only a container has this, a {} does not", kind.singular());
        return Err(Fault::new(StatusCode::NOT_FOUND, "NotFound", detail));
    }
    let object = state.store.get(kind, name).ok_or_else(|| no_such(state, kind, name))?;
    object["status"]["containerId"].as_str().map(str::to_owned).ok_or_else(|| {
        let fault = Fault::new(StatusCode::BAD_GATEWAY, "ContainerMissing", "it has no container at present");
        fault.help(format!("`piccolo describe container {name}` says why")).about(kind, name)
    })
}

/// Answers every path that nothing else answers.
pub(super) async fn unknown_path(uri: Uri) -> Fault {
    let path = uri.path();
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| format!("{BASE}/{}", kind.plural())).collect();
    let paths = operations::TABLE.iter().filter(|it| it.method == "GET" && !it.path.contains('{')).map(|it| it.path);
    let known = paths.chain(kinds.iter().map(String::as_str));
    let fault = Fault::new(StatusCode::NOT_FOUND, "NotFound", "there is nothing at this path");
    match nearest(path, known) {
        Some(meant) => fault.help(did_you_mean(meant)),
        None => fault.help(format!("the paths are listed at /openapi.json, the kinds at {BASE}")),
    }
}

fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// Returns the word that is most like this one, if one is like it at all.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A longer word is nobody's slip of the finger, and comparing costs the product of both lengths.
    if word.len() > 256 {
        return None;
    }
    let scored = known.map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate));
    let best = scored.filter(|(score, _)| *score >= 0.6).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, candidate)| candidate)
}
