//! A small house for the API: real manifests, a real store, and a registrar in place of the controller.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::{fs, path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use http_body_util::BodyExt;
use piccolo_agent::{
    api::{self, Approvals, Logs, Preview, State, Strangers},
    capture::{self, Capture, Captured, Found},
    history::History,
    manifests::{Manifests, Snapshot},
    store::{self, Event, PlanView, StepView, Writer},
};
use piccolo_schema::{ContainerSpec, Kind, Mode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) const CONTAINERS: &str = "/apis/piccolo.os/v1alpha1/containers";

pub(crate) const WEB: &str = "\
# The front door.
apiVersion = \"piccolo.os/v1alpha1\"
kind = \"Container\"

[metadata]
name = \"web\"

[spec]
image = \"nginx:1.27\" # pinned
";

pub(crate) struct House {
    pub(crate) dir: TempDir,
    pub(crate) router: Router,
    pub(crate) writer: Arc<Writer>,
    pub(crate) manifests: Manifests,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::beside(Arc::new(Neighbour)).await
    }

    /// The same with others of one's own choice.
    pub(crate) async fn beside(strangers: Arc<dyn Strangers>) -> Self {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("piccolo");
        fs::create_dir(&root).unwrap();
        let (changes, queue) = mpsc::channel(64);
        let report = |well: bool, message: String| assert!(well, "{message}");
        let (history, recorder) = History::open(dir.path().join("config.git"), root.clone(), queue, Box::new(report));
        tokio::spawn(recorder.run(CancellationToken::new()));
        let manifests = Manifests::open_recorded(root, changes).await;
        let (writer, reader) = store::open(&dir.path().join("store")).await.unwrap();
        let writer = Arc::new(writer);
        tokio::spawn(register(manifests.clone(), Arc::clone(&writer)));
        let state = State {
            manifests: manifests.clone(),
            history,
            store: reader,
            preview: Arc::new(CreateAll),
            logs: Arc::new(Greeting),
            recipient: None,
            updates: Arc::new(Willing),
            strangers,
            version: "0.0.0-test",
            mode: Mode::Enforce,
        };
        Self { dir, router: api::router(state), writer, manifests }
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.dir.path().join("piccolo").join(path)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap()
    }

    /// Puts the manifest of `web` there as a text.
    pub(crate) async fn put_web(&self) -> Answer {
        let answer = self.send("PUT", &format!("{CONTAINERS}/web"), &[("content-type", "application/toml")], WEB).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let response = self.response(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn response(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> axum::response::Response {
        let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Copies what the directory says into the store, as the controller does.
async fn register(manifests: Manifests, writer: Arc<Writer>) {
    let mut snapshots = manifests.subscribe();
    snapshots.mark_changed();
    let mut known = std::collections::BTreeSet::new();
    drop(manifests);
    while snapshots.changed().await.is_ok() {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        for ((kind, name), declaration) in &snapshot.declared {
            let declared = writer.declare(*kind, name, &json!(*declaration.manifest));
            if declared.changed {
                writer.event(Event::new("ManifestAccepted", "the manifest is accepted").about(*kind, name));
                let ready = json!({ "type": "Ready", "status": "True", "reason": "Running", "message": "it runs",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": declared.generation });
                writer.report(*kind, name, json!({ "state": "running", "conditions": [ready] }));
            }
        }
        for (kind, name) in &known {
            if !snapshot.declared.contains_key(&(*kind, String::clone(name))) {
                writer.undeclare(*kind, name);
            }
        }
        known = snapshot.declared.keys().cloned().collect();
    }
}

/// Plans to create every container that is declared.
struct CreateAll;

impl Preview for CreateAll {
    fn plan(&self, snapshot: &Snapshot) -> Vec<PlanView> {
        let containers = snapshot.declared.keys().filter(|(kind, _)| *kind == Kind::Container);
        let steps = containers.map(|(_, name)| step(name, &format!("create container `{name}`"))).collect();
        vec![PlanView { kind: Kind::Container, unseen: None, steps, waiting: Vec::new(), held: None, complete: true }]
    }
}

pub(crate) fn step(subject: &str, text: &str) -> StepView {
    StepView { subject: subject.into(), text: text.into(), disruption: "none".into(), removal: false, observed: false }
}

/// Prints two lines, then with `follow` nothing more, forever.
struct Greeting;

impl Logs for Greeting {
    fn follow(&self, container: &str, follow: bool, tail: Option<u32>) -> BoxStream<'static, Result<Bytes, String>> {
        if container == "mute" {
            return stream::iter([Err("the engine has no log of it".to_owned())]).boxed();
        }
        let lines = [format!("{container} starts\n"), format!("{container} is up\n")];
        let skip = lines.len().saturating_sub(tail.map_or(usize::MAX, |tail| tail as usize));
        let printed: Vec<_> = lines.into_iter().skip(skip).map(|line| Ok(Bytes::from(line))).collect();
        if follow { stream::iter(printed).chain(stream::pending()).boxed() } else { stream::iter(printed).boxed() }
    }
}

/// Approves one digest; what is called `updated` has been another image before.
struct Willing;

impl Approvals for Willing {
    fn approve<'a>(&'a self, _: &'a str, digest: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let known = digest == "sha256:new";
        Box::pin(async move { if known { Ok(()) } else { Err(format!("{digest} is not offered")) } })
    }

    fn go_back<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<String, String>> {
        let known = container == "updated";
        Box::pin(async move { if known { Ok("sha256:old".to_owned()) } else { Err("nothing is kept".to_owned()) } })
    }
}

/// Runs one container beside ours.
struct Neighbour;

fn their_web() -> Found {
    let seen = json!({ "Id": "1f", "Name": "/their_web", "Image": "sha256:1", "State": { "Status": "running" },
        "Config": { "Image": "nginx:1.27", "Env": ["ADMIN_PASSWORD=hunter2"], "Tty": true },
        "HostConfig": { "NetworkMode": "bridge" } });
    Found { containers: vec![seen], ..Found::default() }
}

impl Strangers for Neighbour {
    fn capture(&self) -> BoxFuture<'_, Result<Capture, String>> {
        Box::pin(async { Ok(capture::all(&their_web())) })
    }

    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Captured>, String>> {
        let found = their_web();
        let captured = capture::container(&found.containers[0], &found);
        Box::pin(async move { Ok(Some(captured).filter(|it| it.called == name)) })
    }

    fn rename<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn adopt<'a>(&'a self, _: &'a str, _: &'a str, _: ContainerSpec) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}
