//! Images that leave the machine in an archive, or come in one, or go. What passes through does so as it comes.

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State as Extract},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use futures_util::{StreamExt, TryStreamExt};
use piccolo_schema::{Declared as _, Desired, Image, Mode, image::Reference};
use serde_json::{Value, json};

use super::{State, fault::Fault, params::Params, stream::Ending};

/// The header with the digest of the manifest in an archive.
const DIGEST: HeaderName = HeaderName::from_static("piccolo-digest");

/// Returns the routes. Their bodies are as large as images are.
pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/images/export", get(export))
        .route("/images/import", post(import))
        .route("/images/prune", post(prune))
}

/// Writes an image, by the name of its manifest or its own, as an OCI archive.
async fn export(Extract(state): Extract<State>, params: Params, ending: Ending) -> Result<Response, Fault> {
    let Some(name) = params.text("name") else {
        return Err(Fault::bad_request("an export is `/images/export?name=…`, an Image manifest or a reference"));
    };
    let reference = declared(&state, name).unwrap_or_else(|| name.to_owned());
    Reference::parse(&reference).map_err(|why| Fault::bad_request(format!("name is no image: {why}")))?;
    let outgoing = state.archives.export(&reference).await.map_err(unavailable)?.ok_or_else(|| {
        let fault =
            Fault::new(StatusCode::NOT_FOUND, "NotFound", format!("there is no image {reference} on this machine"));
        fault.help("name an Image manifest (`piccolo get images`) or an image as the engine lists it")
    })?;
    let over = Box::pin(async move { ending.stopped().await });
    let mut response = Response::new(Body::from_stream(outgoing.bytes.take_until(over)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(header::CONTENT_LENGTH, outgoing.size.into());
    headers.extend(outgoing.digest.parse().ok().map(|digest: HeaderValue| (DIGEST, digest)));
    Ok(response)
}

/// Removes images that nobody needs, or with `dryRun` says which ones those are.
async fn prune(Extract(state): Extract<State>, params: Params) -> Result<Json<Value>, Fault> {
    let dry_run = params.dry_run()?;
    if state.mode == Mode::Observe && !dry_run {
        return Err(Fault::conflict("this machine is only observed, and no image is removed"));
    }
    let images = state.prunes.prune(dry_run).await.map_err(unavailable)?;
    Ok(Json(json!({ "images": images, "dryRun": dry_run })))
}

/// Takes in the images of an archive.
async fn import(
    Extract(state): Extract<State>,
    params: Params,
    ending: Ending,
    request: Request,
) -> Result<Json<Value>, Fault> {
    if state.mode == Mode::Observe {
        return Err(Fault::conflict("this machine is only observed, and no image is taken in"));
    }
    let bytes = request.into_body().into_data_stream().map_err(std::io::Error::other).boxed();
    let name = params.text("as").map(str::to_owned);
    let arrived = tokio::select! {
        arrived = state.archives.import(bytes, name) => arrived.map_err(refused)?,
        () = ending.stopped() => return Err(unavailable("the daemon stops".to_owned())),
    };
    Ok(Json(json!({ "images": arrived })))
}

/// Returns the reference of an Image manifest of this name.
fn declared(state: &State, name: &str) -> Option<String> {
    let images: Desired<Image> = state.manifests.snapshot().desired();
    images.manifests.iter().find(|it| it.name() == name).map(|it| it.spec.reference.clone())
}

fn unavailable(why: String) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "EngineUnavailable", why)
}

fn refused(why: String) -> Fault {
    Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "Refused", why)
}
