//! Making, replacing and removing manifests.

use axum::{
    Json,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use piccolo_schema::{GROUP, Kind};
use serde_json::{Value, json};

use super::{
    BASE, State,
    authored::Authored,
    body::{self, Content, Wanted},
    fault::Fault,
    lookup, object,
    params::Params,
    plan, trial, warning,
};
use crate::manifests::{Expect, Snapshot, WriteError};

pub(super) async fn create(
    Authored(state): Authored,
    Path(plural): Path<String>,
    params: Params,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let kind = lookup::kind(&plural)?;
    let wanted = body::read(&headers, &bytes)?;
    wanted.check_path(kind, None)?;
    commit(&state, &params, wanted, Expect::Absent).await
}

pub(super) async fn replace(
    Authored(state): Authored,
    Path((plural, name)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let kind = lookup::kind(&plural)?;
    let wanted = body::read(&headers, &bytes)?;
    wanted.check_path(kind, Some(&name))?;
    let mut expect = if_match(&headers)?;
    if let Some(version) = &wanted.version {
        let etag = same_version(&state, kind, &name, version)?;
        if expect == Expect::Anything {
            expect = etag.map_or(Expect::Absent, Expect::Etag);
        }
    }
    commit(&state, &params, wanted, expect).await
}

pub(super) async fn delete(
    Authored(state): Authored,
    Path((plural, name)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let kind = lookup::kind(&plural)?;
    let options = if bytes.is_empty() { Value::Null } else { body::json(&bytes)? };
    let expect = if_match(&headers)?;
    if object::etag(&state, kind, &name).is_none() {
        return Err(lookup::no_such(&state, kind, &name));
    }
    let old = state.store.get(kind, &name).map_or(Value::Null, |old| Value::clone(&old));
    check_preconditions(&options["preconditions"], &old)?;
    check(&state, kind, &name, &expect)?;
    // kubectl says so in the body, everybody else in the query.
    let asked_in_body = options["dryRun"].as_array().is_some_and(|stages| !stages.is_empty());
    let (before, identity) = (state.manifests.snapshot(), (kind, name.clone()));
    let (dry_run, within) = (params.dry_run()?, params.confirm_within()?);
    let after = plan::without(&before, identity.clone());
    let mut response = match (asked_in_body, dry_run) {
        (false, true) => plan::preview(&state, &after),
        (true, _) => removed(kind, &name, &old),
        (false, false) => {
            let links = tried(&state, kind, &after);
            trial::writer(&state, within).delete(kind, &name, expect).await?;
            object::caught_up(&state, kind, &name).await;
            trial::with_links(trial::named(removed(kind, &name, &old), &state, within), &links)
        }
    };
    warning::attach(&mut response, &before, &after, &identity);
    Ok(response)
}

/// Returns the Links that a change of one manifest puts on trial. Asked before it is made, as what was done is planned no more.
fn tried(state: &State, kind: Kind, after: &Snapshot) -> Vec<String> {
    if kind == Kind::Link { trial::links(state, after) } else { Vec::new() }
}

fn removed(kind: Kind, name: &str, old: &Value) -> Response {
    let details = json!({ "name": name, "group": GROUP, "kind": kind.plural(), "uid": old["metadata"]["uid"] });
    let status =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
    Json(status).into_response()
}

/// Writes a manifest, or says what writing it would do, and answers with the object.
///
/// Dropped half-way, the file is either as before or as asked.
pub(super) async fn commit(state: &State, params: &Params, wanted: Wanted, expect: Expect) -> Result<Response, Fault> {
    let (kind, name) = (wanted.manifest.kind(), wanted.manifest.name().to_owned());
    check(state, kind, &name, &expect)?;
    let (before, identity) = (state.manifests.snapshot(), (kind, name.clone()));
    let within = params.confirm_within()?;
    if params.dry_run()? {
        let after = plan::with(&before, wanted.manifest.clone());
        let mut response = match params.text("fieldManager") {
            // A Kubernetes client: it compares the object that would be.
            Some(_) => would_be(state, kind, &name, &wanted),
            None => plan::preview(state, &after),
        };
        warning::attach(&mut response, &before, &after, &identity);
        return Ok(response);
    }
    let created_only = expect == Expect::Absent;
    let links = tried(state, kind, &plan::with(&before, wanted.manifest.clone()));
    let manifests = trial::writer(state, within);
    let written = match &wanted.content {
        Content::Tree(tree) => manifests.put(tree, expect).await,
        Content::Text(text) => manifests.put_text(kind, &name, text, expect).await,
    };
    let written = written.map_err(|error| match error {
        WriteError::Conflict { current: Some(_) } if created_only => exists(kind, &name),
        other => other.into(),
    })?;
    let shown = object::caught_up(state, kind, &name).await.ok_or_else(|| lookup::no_such(state, kind, &name))?;
    let answer = trial::named(object::answer(&shown, Some(written.etag)), state, within);
    let mut response = trial::with_links(answer, &links);
    if written.created {
        *response.status_mut() = StatusCode::CREATED;
        let location = HeaderValue::try_from(format!("{BASE}/{}/{name}", kind.plural()));
        response.headers_mut().extend(location.ok().map(|location| (header::LOCATION, location)));
    }
    warning::attach(&mut response, &before, &state.manifests.snapshot(), &identity);
    Ok(response)
}

fn would_be(state: &State, kind: Kind, name: &str, wanted: &Wanted) -> Response {
    let manifest = json!(wanted.manifest);
    let mut object = state.store.get(kind, name).map_or(Value::Null, |object| Value::clone(&object));
    let status = if object.is_null() { StatusCode::CREATED } else { StatusCode::OK };
    if object.is_null() {
        object = manifest;
    } else {
        object["spec"] = manifest["spec"].clone();
        for key in ["labels", "annotations"] {
            match manifest["metadata"].get(key) {
                Some(words) => object["metadata"][key] = words.clone(),
                None => drop(object["metadata"].as_object_mut().and_then(|metadata| metadata.remove(key))),
            }
        }
    }
    (status, Json(object)).into_response()
}

/// Refuses early what the directory would refuse, so that a dry run is refused as well.
fn check(state: &State, kind: Kind, name: &str, expect: &Expect) -> Result<(), Fault> {
    let current = object::etag(state, kind, name);
    match (expect, &current) {
        (Expect::Absent, Some(_)) => Err(exists(kind, name)),
        (Expect::Present, None) => Err(WriteError::Conflict { current }.into()),
        (Expect::Etag(etag), _) if current.as_ref() != Some(etag) => Err(WriteError::Conflict { current }.into()),
        _ => Ok(()),
    }
}

fn exists(kind: Kind, name: &str) -> Fault {
    let detail = format!("{}.{GROUP} \"{name}\" already exists", kind.plural());
    Fault::new(StatusCode::CONFLICT, "AlreadyExists", detail).about(kind, name)
}

/// Refuses a change of an object that has changed since, and returns the fingerprint of the file as it is now.
pub(super) fn same_version(state: &State, kind: Kind, name: &str, version: &str) -> Result<Option<String>, Fault> {
    // The fingerprint first: a file that changes after this line makes the write a conflict.
    let etag = object::etag(state, kind, name);
    let snapshot = state.manifests.snapshot();
    let manifest = snapshot.declared.get(&(kind, name.to_owned())).map(|it| &*it.manifest);
    // What the store shows must be what the fingerprint is of.
    let object = state.store.get(kind, name).filter(|object| object::shows(Some(object), manifest));
    let current = object.as_ref().and_then(|object| object["metadata"]["resourceVersion"].as_str());
    if current == Some(version) {
        return Ok(etag);
    }
    let detail = format!(
        "Operation cannot be fulfilled on {}.{GROUP} \"{name}\": the object has been modified; please apply your \
         changes to the latest version and try again",
        kind.plural()
    );
    Err(Fault { etag: etag.map(Into::into), ..Fault::conflict(detail).about(kind, name) })
}

fn check_preconditions(preconditions: &Value, object: &Value) -> Result<(), Fault> {
    for key in ["uid", "resourceVersion"] {
        if preconditions[key].as_str().is_some_and(|wanted| object["metadata"][key].as_str() != Some(wanted)) {
            return Err(Fault::conflict(format!("the object has another {key} than the one to remove")));
        }
    }
    Ok(())
}

/// Reads `If-Match`, and `If-None-Match: *`.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Expect, Fault> {
    let text = |name| headers.get(name).map(HeaderValue::to_str).transpose();
    let unreadable = |_| Fault::bad_request("the precondition is not plain text");
    if text(header::IF_NONE_MATCH).map_err(unreadable)?.map(str::trim) == Some("*") {
        return Ok(Expect::Absent);
    }
    Ok(Expect::from(text(header::IF_MATCH).map_err(unreadable)?))
}
