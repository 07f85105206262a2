//! The HTTP door, in the shape of the Kubernetes API.
//!
//! Everything is generic over the kinds: names, columns and schemas come from their custom resource definitions. Reads
//! come from the store, writes go to the manifests' directory and are answered once the store shows them. Every error is
//! a `Fault`, rendered at the edge for the client at hand.

mod adopt;
mod authored;
mod body;
mod capture;
mod confirm;
mod discovery;
mod edge;
mod events;
mod fault;
mod guard;
mod health;
mod history;
mod journal;
mod kinds;
mod list;
mod log;
mod lookup;
mod metrics;
mod object;
mod openapi;
mod params;
mod patch;
mod plan;
mod recipient;
mod rollback;
mod selector;
mod serve;
mod stream;
mod table;
mod update;
mod warning;
mod watch;
mod write;

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn,
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use piccolo_schema::{ContainerSpec, Mode};

pub use self::serve::serve;
use crate::{
    capture::{Capture, Captured},
    history::History,
    manifests::{Manifests, Snapshot},
    store::{self, PlanView},
};

/// What the routes stand on.
#[derive(Clone)]
pub struct State {
    /// The directory of manifests, to which all writes go.
    pub manifests: Manifests,
    /// What the agent remembers, from which all reads come.
    pub store: store::Reader,
    /// The history of that directory.
    pub history: History,
    /// Plans what is not written yet.
    pub preview: Arc<dyn Preview>,
    /// Reads what containers print.
    pub logs: Arc<dyn Logs>,
    /// Whom to encrypt secrets for so that this machine can read them; none if it has no key that can be used.
    pub recipient: Option<Arc<str>>,
    /// Takes down which updates a person wants.
    pub updates: Arc<dyn Approvals>,
    /// Reads what others run, and takes it over.
    pub strangers: Arc<dyn Strangers>,
    /// The version of the agent.
    pub version: &'static str,
    /// Whether what is planned is done on this machine.
    pub mode: Mode,
}

/// Says what would be done if the directory said this.
pub trait Preview: Send + Sync {
    /// Plans every kind for this snapshot against the machine as it was seen last.
    fn plan(&self, snapshot: &Snapshot) -> Vec<PlanView>;
}

/// Reads what containers print.
pub trait Logs: Send + Sync {
    /// Returns the last `tail` lines of a container, all of them when none, and with `follow` those to come. An error is
    /// a sentence for people and ends the stream.
    fn follow(&self, container: &str, follow: bool, tail: Option<u32>) -> BoxStream<'static, Result<Bytes, String>>;
}

/// Takes down which updates a person wants.
pub trait Approvals: Send + Sync {
    /// Approves the update of a container to just this digest. An error is a sentence for people.
    fn approve<'a>(&'a self, container: &'a str, digest: &'a str) -> BoxFuture<'a, Result<(), String>>;
    /// Takes down that a container shall go back to what it ran before its last update, and returns the digest of that.
    fn go_back<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<String, String>>;
}

/// Reads what others run, and takes it over.
pub trait Strangers: Send + Sync {
    /// Writes down everything that runs and is not ours. An error is a sentence for people.
    fn capture(&self) -> BoxFuture<'_, Result<Capture, String>>;
    /// Reads the container of this name, running or not; none if there is none that is not ours.
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Captured>, String>>;
    /// Gives a container another name, which it does not notice.
    fn rename<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), String>>;
    /// Writes down that a container was made for a manifest of this name and spec.
    fn adopt<'a>(&'a self, id: &'a str, name: &'a str, spec: ContainerSpec) -> BoxFuture<'a, Result<(), String>>;
}

/// Where the kinds are found.
const BASE: &str = "/apis/piccolo.os/v1alpha1";

/// Every path that answers, for near matches and for the description of the API.
const PATHS: &[&str] = &[
    "/api",
    "/api/v1",
    "/api/v1/events",
    "/apis",
    "/apis/piccolo.os",
    BASE,
    "/adopt",
    "/capture",
    "/confirm",
    "/history",
    "/history/diff",
    "/history/rollback",
    "/journal",
    "/livez",
    "/metrics",
    "/openapi.json",
    "/openapi/v3",
    "/plan",
    "/problems",
    "/readyz",
    "/recipient",
    "/update",
    "/version",
];

/// Returns every route of the API.
pub fn router(state: State) -> Router {
    Router::new()
        .merge(discovery::routes())
        .merge(openapi::routes())
        .merge(objects())
        .route("/plan", get(plan::show))
        .route("/problems", get(plan::problems))
        .route("/adopt", post(adopt::adopt))
        .route("/capture", get(capture::show))
        .route("/confirm", post(confirm::confirm))
        .route("/update", post(update::approve))
        .route("/history", get(history::log))
        .route("/history/diff", get(history::diff))
        .route("/history/rollback", post(history::rollback))
        .route("/journal", get(journal::read))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/recipient", get(recipient::show))
        .route("/metrics", get(metrics::show))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/namespaces/{namespace}/events", get(events::list))
        .fallback(lookup::unknown_path)
        .layer(from_fn(edge::take_body))
        .layer(from_fn(guard::same_origin))
        .layer(from_fn(edge::answer))
        .with_state(state)
}

fn objects() -> Router<State> {
    Router::new()
        .route(&format!("{BASE}/{{plural}}"), get(list::list).post(write::create))
        .route(
            &format!("{BASE}/{{plural}}/{{name}}"),
            get(object::get).put(write::replace).patch(patch::patch).delete(write::delete),
        )
        .route(&format!("{BASE}/{{plural}}/{{name}}/status"), get(object::get))
        .route(&format!("{BASE}/{{plural}}/{{name}}/log"), get(log::read))
        .route(&format!("{BASE}/{{plural}}/{{name}}/rollback"), post(rollback::container))
}
