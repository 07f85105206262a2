//! A small house for the API: real manifests, a real store, and a registrar in place of the controller.
#![allow(dead_code, reason = "each test program uses its own part")]

mod runs;
pub(crate) mod willing;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use jiff::Timestamp;
use piccolo_agent::{
    access::{Access, Authority, Names, Scope, Shown, Wish},
    api::{self, Gate, Peer, Plate, Preview, State, Strangers},
    audit::{Audit, Line},
    history::{Digests, History, Hooks},
    manifests::{Manifests, Snapshot},
    store::{self, Event, PlanView, StepView, Writer},
};
use piccolo_schema::{Kind, Mode, Role};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
    version::TLS13,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

use self::{
    runs::{Greeting, Meter, Neighbour, Parrot, Shed, Wires},
    willing::{Renewable, Willing},
};

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
    /// The routes, asked as root on this machine.
    pub(crate) router: Router,
    /// The routes, asked as whoever the server says.
    pub(crate) door: Router,
    pub(crate) access: Arc<Access>,
    pub(crate) plate: Plate,
    gate: Mutex<Option<Gate>>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) audit: Audit,
    /// What containers run.
    pub(crate) digests: watch::Sender<Digests>,
    pub(crate) manifests: Manifests,
    pub(crate) shells: Arc<Parrot>,
    pub(crate) wires: Arc<Wires>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl House {
    /// Serves over TLS until the house is left, and returns where.
    pub(crate) fn serve(&self) -> (SocketAddr, DropGuard) {
        let (gate, stop) = (self.gate.lock().unwrap().take(), CancellationToken::new());
        tokio::spawn(api::serve(self.door.clone(), None, gate, stop.clone()));
        (self.plate.listen.unwrap(), stop.drop_guard())
    }

    /// Returns the way in from networks, once.
    pub(crate) fn gate(&self) -> Option<Gate> {
        self.gate.lock().unwrap().take()
    }

    /// Opens a safe connection.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_for(&[]).await.unwrap()
    }

    /// Opens a safe connection for one of these protocols.
    pub(crate) async fn connect_for(&self, protocols: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.plate.listen.unwrap()).await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.plate.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), socket).await
    }

    /// Returns a token of this role.
    pub(crate) fn token(&self, role: Role) -> String {
        let wish = Wish { label: format!("a {role}"), role, scope: Scope::All, lifetime: None };
        self.access.mint(&wish, Timestamp::now()).unwrap().1.text().to_string()
    }

    pub(crate) async fn open() -> Self {
        Self::beside(Arc::new(Neighbour)).await
    }

    /// The same with others of one's own choice.
    pub(crate) async fn beside(strangers: Arc<dyn Strangers>) -> Self {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("piccolo");
        fs::create_dir(&root).unwrap();
        let (changes, queue) = mpsc::channel(64);
        let (digests, told_digests) = watch::channel(Digests::new());
        let report = |well: bool, message: String| assert!(well, "{message}");
        let hooks = Hooks { program: "/bin/false".into(), socket: dir.path().join("api.sock") };
        let (history, recorder) =
            History::open(dir.path().join("config.git"), root.clone(), hooks, queue, told_digests, Box::new(report));
        tokio::spawn(recorder.run(CancellationToken::new()));
        let manifests = Manifests::open_recorded(root, changes).await;
        let (writer, reader) = store::open(&dir.path().join("store")).await.unwrap();
        let writer = Arc::new(writer);
        tokio::spawn(register(manifests.clone(), Arc::clone(&writer)));
        let (audit, auditor) = Audit::open(dir.path().join("audit"), Box::new(|well, why| assert!(well, "{why}")));
        tokio::spawn(auditor.run(CancellationToken::new()));
        let (shells, wires) = (Arc::new(Parrot::default()), Arc::new(Wires::default()));
        let gate = gate(&dir.path().join("access")).await;
        let state = State {
            manifests: manifests.clone(),
            history,
            store: reader,
            preview: Arc::new(CreateAll),
            logs: Arc::new(Greeting),
            shells: shells.clone(),
            nets: wires.clone(),
            gauges: Arc::new(Meter::default()),
            archives: Arc::new(Shed),
            prunes: Arc::new(Willing),
            installer: Arc::new(Willing),
            resetter: Arc::new(Renewable::default()),
            trust: Arc::new(Willing),
            disks: Arc::new(Willing),
            recipient: None,
            updates: Arc::new(Willing),
            sources: Arc::new(Willing),
            strangers,
            version: "0.0.0-test",
            access: Arc::new(Access::open(&dir.path().join("access"), Instant::now()).unwrap()),
            plate: gate.1.clone(),
            audit: audit.clone(),
            mode: Mode::Enforce,
        };
        let (access, plate) = (Arc::clone(&state.access), state.plate.clone());
        let door = api::router(state);
        // As root on this machine, unless a test says otherwise.
        let router = door.clone().layer(Extension(Peer::User(0)));
        let gate = Mutex::new(Some(gate.0));
        Self { dir, router, door, access, plate, gate, writer, manifests, shells, wires, digests, audit }
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

    /// Waits until the audit has this many lines, and returns them.
    #[allow(dead_code, reason = "only some of the tests look at it")]
    pub(crate) async fn audited(&self, many: usize) -> Vec<Line> {
        let written = async {
            loop {
                let lines = self.audit.latest(many + 1).unwrap();
                if lines.len() >= many {
                    return lines;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), written).await.unwrap()
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
        if !headers.iter().any(|(name, _)| *name == "accept") {
            // As curl does.
            request = request.header("accept", "*/*");
        }
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
    let (subject, text, disruption) = (subject.into(), text.into(), "none".into());
    StepView { subject, text, disruption, removal: false, loses: None, observed: false, trial: false }
}

/// Makes an authority, and a way in that nobody uses yet.
async fn gate(directory: &Path) -> (Gate, Plate) {
    let authority = Authority::open(directory).unwrap();
    let (names, heard) = watch::channel(Arc::new(Names::new("attic", [], &[])));
    let shown = Arc::new(Shown::default());
    shown.show(authority.leaf(&names.borrow(), Timestamp::now()).unwrap().0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plate = Plate {
        names: heard.clone(),
        listen: listener.local_addr().ok(),
        print: Some(authority.print()),
        pem: authority.pem(),
    };
    (Gate { listener, tls: shown.config().unwrap(), names: heard, proxies: Arc::default() }, plate)
}
