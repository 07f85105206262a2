//! The HTTP door, in the shape of the Kubernetes API.
//!
//! Everything is generic over the kinds: names, columns and schemas come from their custom resource definitions. Reads
//! come from the store, writes go to the manifests' directory and are answered once the store shows them. Every error is
//! a `Fault`, rendered at the edge for the client at hand.

mod adopt;
mod archives;
mod audit;
mod authored;
mod body;
mod capture;
mod claim;
mod confirm;
mod digests;
mod discovery;
mod disk_door;
mod disk_keys;
mod disks;
mod edge;
mod events;
mod exec;
mod fault;
mod gate;
mod git;
mod guard;
mod health;
mod history;
mod install;
mod journal;
mod kinds;
mod list;
mod log;
mod login;
mod lookup;
mod metrics;
mod net;
mod object;
mod openapi;
mod operations;
mod overview;
mod params;
mod patch;
mod plan;
mod plate;
mod proof;
mod push;
mod recipient;
mod reset;
mod rollback;
mod selector;
mod serve;
mod stream;
mod table;
mod tokens;
mod top;
mod trial;
mod trust;
mod update;
mod users;
mod warning;
mod watch;
mod webhook;
mod welcome;
mod write;

use std::{io, sync::Arc};

use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{delete, get, patch, post},
};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use piccolo_schema::{ContainerSpec, Mode};
use serde::Serialize;
use tokio::sync::mpsc;

pub use self::{
    disk_door::{DiskDoor, DiskShown, WipeTicket},
    install::Installer,
    net::{Nets, Unconfirmed},
    plate::Plate,
    reset::Resetter,
    serve::{Arrival, Gate, Peer, for_networks, serve},
    trust::Trust,
};
use crate::{
    access::Access,
    archive::{Arrived, Outgoing},
    audit::Audit,
    capture::{Capture, Captured},
    console::{Excerpt, Input, Output, Program, Usage},
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
    /// Runs programs in containers.
    pub shells: Arc<dyn Shells>,
    /// Counts what containers use.
    pub gauges: Arc<dyn Gauges>,
    /// The links of the machine.
    pub nets: Arc<dyn Nets>,
    /// Whom to encrypt secrets for so that this machine can read them; none if it has no key that can be used.
    pub recipient: Option<Arc<str>>,
    /// Takes down which updates a person wants.
    pub updates: Arc<dyn Approvals>,
    /// Has repositories asked.
    pub sources: Arc<dyn Wakes>,
    /// Reads what others run, and takes it over.
    pub strangers: Arc<dyn Strangers>,
    /// Writes images as archives, and takes them in.
    pub archives: Arc<dyn Archives>,
    /// Knows what the machine's keys rest on.
    pub trust: Arc<dyn Trust>,
    /// Removes images that nobody needs.
    pub prunes: Arc<dyn Prunes>,
    /// Shows the disks, and gives leave to erase one.
    pub disks: Arc<dyn DiskDoor>,
    /// Installs the system of a stick.
    pub installer: Arc<dyn Installer>,
    /// Has the machine become as new.
    pub resetter: Arc<dyn Resetter>,
    /// The version of the agent.
    pub version: &'static str,
    /// Who may come in.
    pub access: Arc<Access>,
    /// How it is reached and known.
    pub plate: Plate,
    /// What is written down of calls.
    pub audit: Audit,
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
    /// Returns what a container printed, or a part of it, and with `follow` what is to come. An error is a sentence for
    /// people and ends the stream.
    fn read(&self, container: &str, excerpt: &Excerpt) -> BoxStream<'static, Result<Bytes, String>>;
}

/// Runs programs in containers.
pub trait Shells: Send + Sync {
    /// Runs a program in a container. What comes ends with [`Output::Ended`] or with an error, a sentence for people.
    /// Dropped before, the program is ended.
    fn run(
        &self,
        container: &str,
        program: Program,
        input: mpsc::Receiver<Input>,
    ) -> BoxStream<'static, Result<Output, String>>;
}

/// Counts what containers use.
pub trait Gauges: Send + Sync {
    /// Returns what a container uses. An error is a sentence for people.
    fn usage<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Usage, String>>;
}

/// Takes down which updates a person wants.
pub trait Approvals: Send + Sync {
    /// Approves the update of a container to just this digest. An error is a sentence for people.
    fn approve<'a>(&'a self, container: &'a str, digest: &'a str) -> BoxFuture<'a, Result<(), String>>;
    /// Takes down that a container shall go back to what it ran before its last update, and returns the digest of that.
    fn go_back<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<String, String>>;
    /// Takes down that a container shall run just this digest of the image that its manifest names. An error is a sentence
    /// for people.
    fn return_to<'a>(
        &'a self,
        container: &'a str,
        image: &'a str,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// Has repositories asked that manifests come from.
pub trait Wakes: Send + Sync {
    /// Has a repository asked soon, however often that is wanted. Returns false if there is no such source.
    fn wake(&self, source: &str) -> bool;
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

/// Removes images that nobody needs. An error is a sentence for people.
pub trait Prunes: Send + Sync {
    /// Removes every one, or only says which ones those are.
    fn prune(&self, dry_run: bool) -> BoxFuture<'_, Result<Vec<Pruned>, String>>;
}

/// An image that nobody needs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// The engine's identifier.
    pub id: String,
    /// Its names; a version that another one took the name of has none.
    pub names: Vec<String>,
    /// How much of the disk it takes, in bytes.
    pub size: u64,
}

/// Writes images as archives, and takes them in. An error is a sentence for people.
pub trait Archives: Send + Sync {
    /// Writes an image as an OCI archive; none if it is not here.
    fn export<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Outgoing>, String>>;
    /// Takes in the images of an archive, or one of them under this name. Dropped half-way, it leaves nothing behind.
    fn import<'a>(
        &'a self,
        bytes: BoxStream<'a, io::Result<Bytes>>,
        name: Option<String>,
    ) -> BoxFuture<'a, Result<Vec<Arrived>, String>>;
}

/// Where the kinds are found.
const BASE: &str = "/apis/piccolo.os/v1alpha1";

/// Returns every route of the API.
pub fn router(state: State) -> Router {
    let (access, audit) = (Arc::clone(&state.access), state.audit.clone());
    Router::new()
        .merge(discovery::routes())
        .merge(openapi::routes())
        .merge(objects())
        .merge(people())
        .merge(standing())
        .merge(disks())
        .merge(net())
        .merge(keys())
        .merge(push::routes())
        .fallback(lookup::unknown_path)
        .layer(from_fn(edge::take_body))
        // These pass their bodies on, which are larger.
        .merge(git::routes())
        .merge(archives::routes())
        .layer(from_fn(guard::same_origin))
        .layer(from_fn_with_state((access, audit), gate::check))
        .layer(from_fn(edge::answer))
        .with_state(state)
}

/// Who comes in, and how.
fn people() -> Router<State> {
    Router::new()
        .route("/claim", get(claim::show).post(claim::claim))
        .route("/claim/key", get(claim::challenge).post(claim::claim_by_key))
        .route("/pairing", get(claim::pairing).delete(claim::reset))
        .route("/login", post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/whoami", get(tokens::whoami))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{name}", patch(users::change).delete(users::remove))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}", delete(tokens::revoke))
}

/// How the machine and its manifests stand, and what is decided about them.
fn standing() -> Router<State> {
    Router::new()
        .route("/", get(welcome::page))
        .route("/overview", get(overview::show))
        .route("/plan", get(plan::show))
        .route("/problems", get(plan::problems))
        .route("/adopt", post(adopt::adopt))
        .route("/capture", get(capture::show))
        .route("/confirm", post(confirm::confirm))
        .route("/update", post(update::approve))
        .route("/history", get(history::log))
        .route("/history/diff", get(history::diff))
        .route("/history/rollback", post(history::rollback))
        .route("/audit", get(audit::show))
        .route("/journal", get(journal::read))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/top", get(top::show))
        .route("/webhooks/{source}", post(webhook::hear))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/namespaces/{namespace}/events", get(events::list))
}

/// What becomes of disks, and of the machine as a whole.
fn disks() -> Router<State> {
    Router::new()
        .route("/disks", get(disks::list))
        .route("/disks/tickets", post(disks::ticket))
        .route("/disks/unlock", post(disk_keys::unlock))
        .route("/disks/reseal", post(disk_keys::rebind))
        .route("/disks/recovery-key", post(disk_keys::recovery_key))
        .route("/disks/recovery-key/proof", post(disk_keys::proof))
        .route("/disks/state/replace", post(install::replace))
        .route("/install", get(install::show).post(install::install))
        .route("/install/tickets", post(install::ticket))
        .route("/reset", get(reset::show).post(reset::order).delete(reset::cancel))
        .route("/reset/tickets", post(reset::ticket))
}

/// How the machine is reached.
fn net() -> Router<State> {
    Router::new()
        .route("/net", get(net::show))
        .route("/net/confirm", post(net::confirm))
        .route("/net/retry", post(net::retry))
}

/// What the keys of the machine rest on.
fn keys() -> Router<State> {
    Router::new()
        .route("/recipient", get(recipient::show))
        .route("/trust", get(trust::show))
        .route("/trust/quote", post(trust::quote))
        .route("/trust/why", get(trust::why))
        .route("/trust/seal", post(trust::seal))
        .route("/trust/reseal", post(trust::reseal))
        .route("/trust/unseal", post(trust::unseal))
        .route("/trust/disks/enrol", post(trust::enrol))
        .route("/trust/disks/reseal", post(trust::rebind))
        .route("/trust/disks/recovery", post(trust::recovery))
        .route("/trust/disks/forget", post(trust::forget))
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
        .route(&format!("{BASE}/{{plural}}/{{name}}/exec"), get(exec::run).layer(Extension(exec::Places::default())))
        .route(&format!("{BASE}/{{plural}}/{{name}}/rollback"), post(rollback::container))
}
