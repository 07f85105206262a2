//! Changing a part of a manifest.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bytes::Bytes;
use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::{
    State,
    authored::Authored,
    body::{self, Wanted},
    fault::Fault,
    lookup, object,
    params::Params,
    write,
};
use crate::manifests::Expect;

/// How often a patch is made anew because the file changed meanwhile.
const TRIES: usize = 3;
/// The most operations in a JSON patch.
const OPERATIONS: usize = 1000;
/// The most bytes that an object may grow to between two operations.
const LARGEST: usize = 4 << 20;

pub(super) async fn patch(
    Authored(state): Authored,
    Path((plural, name)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let kind = lookup::kind(&plural)?;
    let change = Change::read(&body::media(&headers), &bytes)?;
    let wished = write::if_match(&headers)?;
    for _ in 1..TRIES {
        match once(&state, kind, &name, &params, &change, &wished).await {
            Err(fault) if fault.status == StatusCode::PRECONDITION_FAILED && wished == Expect::Anything => {}
            done => return done,
        }
    }
    once(&state, kind, &name, &params, &change, &wished).await
}

async fn once(
    state: &State,
    kind: Kind,
    name: &str,
    params: &Params,
    change: &Change,
    wished: &Expect,
) -> Result<Response, Fault> {
    let etag = object::etag(state, kind, name);
    let old = if etag.is_some() { object::caught_up(state, kind, name).await } else { None };
    let wanted = match (change, &old) {
        (Change::Apply(whole), _) => body::from_tree(whole.clone())?,
        (_, None) => return Err(lookup::no_such(state, kind, name)),
        (_, Some(old)) => changed(change, old)?,
    };
    wanted.check_path(kind, Some(name))?;
    check_version(&wanted, old.as_deref())?;
    let expect = match (wished, etag) {
        (Expect::Anything, Some(etag)) => Expect::Etag(etag),
        (Expect::Anything, None) => Expect::Absent,
        (wished, _) => wished.clone(),
    };
    write::commit(state, params, wanted, expect).await
}

/// A patch that names a version is meant for that version only.
fn check_version(wanted: &Wanted, old: Option<&Value>) -> Result<(), Fault> {
    let current = old.and_then(|old| old["metadata"]["resourceVersion"].as_str());
    if wanted.version.is_none() || wanted.version.as_deref() == current {
        return Ok(());
    }
    Err(Fault::conflict("the object has been modified; please apply your changes to the latest version and try again"))
}

fn changed(change: &Change, old: &Value) -> Result<Wanted, Fault> {
    let mut object = old.clone();
    match change {
        Change::Merge(patch) => json_patch::merge(&mut object, patch),
        Change::Operations(operations) => operate(&mut object, operations)?,
        Change::Apply(whole) => object.clone_from(whole),
    }
    body::from_tree(object)
}

fn operate(object: &mut Value, operations: &json_patch::Patch) -> Result<(), Fault> {
    for operation in &operations.0 {
        json_patch::patch(object, std::slice::from_ref(operation)).map_err(|error| {
            Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("the patch does not fit: {error}"))
        })?;
        // Copies of copies grow without bound.
        if matches!(operation, json_patch::PatchOperation::Copy(_)) && object.to_string().len() > LARGEST {
            return Err(Fault::of_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
    }
    Ok(())
}

/// A change that a client asks for.
enum Change {
    /// Fields to set, null to remove.
    Merge(Value),
    /// Operations in order.
    Operations(json_patch::Patch),
    /// The whole of what the client wants. There is one owner of a file: what is not in it is taken out.
    Apply(Value),
}

impl Change {
    fn read(media: &str, bytes: &[u8]) -> Result<Self, Fault> {
        match media {
            "application/merge-patch+json" => Ok(Self::Merge(body::json(bytes)?)),
            "application/json-patch+json" => operations(bytes).map(Self::Operations),
            "application/apply-patch+yaml" => {
                let mut whole = body::yaml(bytes)?;
                if whole["metadata"].is_object() {
                    // The applier's own record of versions is of no use here.
                    whole["metadata"]["managedFields"] = json!(null);
                }
                Ok(Self::Apply(whole))
            }
            // kubectl falls back to a merge patch by itself.
            other => Err(Fault::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                format!("a patch can't be sent as `{other}`"),
            )
            .help(
                "send application/merge-patch+json, application/json-patch+json or application/apply-patch+yaml \
                 (kubectl patch: --type=merge)",
            )),
        }
    }
}

fn operations(bytes: &[u8]) -> Result<json_patch::Patch, Fault> {
    let patch: json_patch::Patch = serde_json::from_value(body::json(bytes)?)
        .map_err(|error| Fault::bad_request(format!("the body is not a JSON patch: {error}")))?;
    if patch.0.len() > OPERATIONS {
        return Err(Fault::bad_request(format!("a patch has at most {OPERATIONS} operations")));
    }
    Ok(patch)
}
