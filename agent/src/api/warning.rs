//! Warnings on writes: what can't work together with what others ask for. Each manifest is right by itself, and the others
//! may be about to change, so nothing is refused.

use std::collections::BTreeSet;

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use piccolo_schema::{
    Manifest,
    parse::{Code, Path},
    set::{self, Conflict, Extent, Source},
};

use crate::manifests::{Identity, Snapshot};

/// More of them help nobody.
const MOST: usize = 8;
/// The most characters of one.
const LONGEST: usize = 1000;

/// Puts a `Warning` header on an answer for each conflict that this manifest is a part of, or that was not there before.
pub(super) fn attach(response: &mut Response, before: &Snapshot, after: &Snapshot, about: &Identity) {
    for text in warnings(before, after, Some(about)) {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        // Kubernetes clients show the text of this code; they read UTF-8.
        let value = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes());
        if let Ok(value) = value {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// Says what conflicts after a change that did not before; what has to do with the manifest that it is about in any case.
pub(super) fn warnings(before: &Snapshot, after: &Snapshot, about: Option<&Identity>) -> Vec<String> {
    let known: BTreeSet<_> = conflicts(before).iter().map(|it| key(before, it)).collect();
    let place = about.and_then(|about| after.declared.keys().position(|it| it == about));
    let concerns = |it: &Conflict| place.is_some_and(|place| it.manifests().contains(&place));
    let mut found = conflicts(after);
    found.retain(|it| concerns(it) || !known.contains(&key(after, it)));
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    let mut warnings: Vec<_> = found.iter().map(|it| shorten(sentence(after, it))).collect();
    if more > 0 {
        warnings.push(format!("{more} more are not shown; `piccolo validate` on the directory shows all"));
    }
    warnings
}

/// What tells a conflict from others, whatever manifests come and go around it.
fn key<'a>(snapshot: &'a Snapshot, conflict: &Conflict) -> (Code, Option<&'a Identity>, Path, String) {
    let at = &conflict.at;
    (conflict.code, snapshot.declared.keys().nth(at.manifest), at.path.clone(), conflict.reason.clone())
}

fn conflicts(snapshot: &Snapshot) -> Vec<Conflict> {
    let manifests: Vec<&Manifest> = snapshot.declared.values().map(|it| &*it.manifest).collect();
    // What can't be read at present is not missing.
    let extent = if snapshot.complete.values().all(|complete| *complete) { Extent::Whole } else { Extent::Part };
    set::check(&manifests, extent)
}

/// Says it with the places in the files, where there are some.
fn sentence(snapshot: &Snapshot, conflict: &Conflict) -> String {
    let files: Vec<_> = snapshot.declared.values().map(|it| it.path.display().to_string()).collect();
    let texts = snapshot.declared.values().map(|it| Some(&*it.text).filter(|text| !text.is_empty()));
    let sources: Vec<_> = files.iter().zip(texts).map(|(file, text)| Source { file, text }).collect();
    conflict.sentence(&sources)
}

fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}
