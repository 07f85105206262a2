//! A small house for the API: real manifests, a real store, and a registrar in place of the controller.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream};
use http_body_util::BodyExt;
use jiff::Timestamp;
use piccolo_agent::{
    access::{Access, Authority, Names, Scope, Shown, Wish},
    api::{
        self, Approvals, Archives, Arrival, DiskDoor, DiskShown, Gate, Gauges, Installer, Logs, Nets, Peer, Plate,
        Preview, Pruned, Prunes, Resetter, Shells, State, Strangers, Trust, Unconfirmed, Wakes, WipeTicket,
    },
    archive::{Arrived, Outgoing},
    audit::{Audit, Line},
    capture::{self, Capture, Captured, Found},
    console::{Excerpt, Input, Output, Program, Usage},
    history::{Digests, History, Hooks},
    install::{Order, Told, UnderWay},
    manifests::{Manifests, Snapshot},
    reset::{Asked, Data, Erase, ResetOrder},
    store::{self, Event, PlanView, StepView, Writer},
    trust::{
        DiskKey, DiskRebinding, DiskRecovery, DiskWish, Pcrs, Quote, Rebinding, Standing, Verdict, Why,
        Wish as SealWish,
    },
};
use piccolo_schema::{ContainerSpec, DiskSpec, Kind, Mode, Role};
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
    sync::{Notify, mpsc, watch},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;
use zeroize::Zeroizing;

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
        let shells = Arc::new(Parrot::default());
        let gate = gate(&dir.path().join("access")).await;
        let state = State {
            manifests: manifests.clone(),
            history,
            store: reader,
            preview: Arc::new(CreateAll),
            logs: Arc::new(Greeting),
            shells: shells.clone(),
            nets: Arc::new(Wires),
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
        Self { dir, router, door, access, plate, gate, writer, manifests, shells, digests, audit }
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

/// Printed one line at six and one at seven; with `follow` nothing more, forever. One called `brief-5` printed one line,
/// at five minutes past eight, and has ended.
struct Greeting;

impl Logs for Greeting {
    fn read(&self, container: &str, part: &Excerpt) -> BoxStream<'static, Result<Bytes, String>> {
        if container == "mute" {
            return stream::iter([Err("the engine has no log of it".to_owned())]).boxed();
        }
        let brief = container.strip_prefix("brief-").map(|minute| format!("2026-01-01T08:0{minute}:00.000000001Z"));
        let lines = match &brief {
            Some(time) => vec![(time.as_str(), "says so")],
            None => vec![("2026-01-01T06:00:00Z", "starts"), ("2026-01-01T07:00:00Z", "is up")],
        };
        let within = |time: &str| {
            let time = time.parse().unwrap();
            part.since.is_none_or(|since| since <= time) && part.until.is_none_or(|until| time <= until)
        };
        let lines: Vec<_> = lines.into_iter().filter(|(time, _)| within(time)).collect();
        let skip = lines.len().saturating_sub(part.tail.map_or(usize::MAX, |tail| tail as usize));
        let time = |time| if part.timestamps { format!("{time} ") } else { String::new() };
        let print = |(at, text)| Ok(Bytes::from(format!("{}{container} {text}\n", time(at))));
        let printed: Vec<_> = lines.into_iter().skip(skip).map(print).collect();
        let goes_on = part.follow && brief.is_none();
        if goes_on { stream::iter(printed).chain(stream::pending()).boxed() } else { stream::iter(printed).boxed() }
    }
}

/// Runs programs: `cat` says what is typed, `size` how large the terminal is, `fail` ends badly, `refused` is not run,
/// `flood` prints without end, and `sleep` does nothing and reads nothing.
#[derive(Default)]
pub(crate) struct Parrot {
    /// How often the flood was let through.
    pub(crate) waves: Arc<AtomicU32>,
    /// Told when a program is left before its end.
    pub(crate) left: Arc<Notify>,
}

struct Leaving(Arc<Notify>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Shells for Parrot {
    fn run(
        &self,
        _: &str,
        program: Program,
        input: mpsc::Receiver<Input>,
    ) -> BoxStream<'static, Result<Output, String>> {
        let leaving = Leaving(Arc::clone(&self.left));
        let waves = Arc::clone(&self.waves);
        match program.words[0].as_str() {
            "cat" => stream::unfold(Some(input), async |input| {
                let mut input = input?;
                match input.recv().await? {
                    Input::Bytes(bytes) => Some((Ok(Output::Out(bytes)), Some(input))),
                    _ => Some((Ok(Output::Ended(0)), None)),
                }
            })
            .boxed(),
            "size" => stream::unfold(Some(input), async |input| match input?.recv().await? {
                Input::Size { columns, rows } => Some((Ok(Output::Out(format!("{columns}x{rows}").into())), None)),
                other => panic!("{other:?}"),
            })
            .chain(stream::iter([Ok(Output::Ended(0))]))
            .boxed(),
            "fail" => {
                let words = program.words[1..].join(" ");
                stream::iter([Ok(Output::Err(words.into())), Ok(Output::Ended(3))]).boxed()
            }
            "refused" => stream::iter([Err("It is frozen".to_owned())]).boxed(),
            "flood" => stream::repeat_with(move || {
                waves.fetch_add(1, Ordering::Relaxed);
                Ok(Output::Out(Bytes::from_static(&[7; 16 << 10])))
            })
            .boxed(),
            _ => stream::pending()
                .chain(stream::once(async move {
                    drop((leaving, input));
                    Ok(Output::Ended(0))
                }))
                .boxed(),
        }
    }
}

/// Counts on by a second, and a quarter of one that was spent, whenever it is asked.
#[derive(Default)]
struct Meter(AtomicU32);

/// A machine with one link, on which nothing is tried.
struct Wires;

impl Nets for Wires {
    fn show(&self) -> BoxFuture<'_, Result<Value, String>> {
        let device = json!({
            "name": "enp3s0", "declaredBy": "lan", "up": true, "carrier": true, "addresses": ["192.168.1.10/24"],
            "routes": [{ "to": "0.0.0.0/0", "via": "192.168.1.1", "metric": 0 }],
        });
        Box::pin(async move { Ok(json!({ "items": [device] })) })
    }

    fn confirm<'a>(
        &'a self,
        _trial: Option<&'a str>,
        _arrival: Option<Arrival>,
    ) -> BoxFuture<'a, Result<(), Unconfirmed>> {
        Box::pin(async { Err(Unconfirmed::Refused("No change of links waits to be confirmed".to_owned())) })
    }

    fn retry(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

impl Gauges for Meter {
    fn usage<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Usage, String>> {
        let seconds = self.0.fetch_add(1, Ordering::Relaxed);
        let usage = Usage {
            at: "2026-01-01T06:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds.into()),
            processor_nanoseconds: 250_000_000 * u64::from(seconds),
            memory_bytes: 3 << 20,
            memory_limit_bytes: 1 << 30,
            received_bytes: 10,
            sent_bytes: 20,
            read_bytes: 30,
            written_bytes: 40,
            tasks: 5,
        };
        Box::pin(async move { if container == "mute" { Err("It does not run".to_owned()) } else { Ok(usage) } })
    }
}

/// Has one image, and takes in what says that it is one.
struct Shed;

impl Archives for Shed {
    fn export<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Outgoing>, String>> {
        let bytes = stream::iter([Ok(Bytes::from_static(b"arch")), Ok(Bytes::from_static(b"ive"))]).boxed();
        let outgoing = Outgoing { size: 7, digest: "sha256:a".to_owned(), bytes };
        Box::pin(async move { Ok((reference == "app:1").then_some(outgoing)) })
    }

    fn import<'a>(
        &'a self,
        bytes: BoxStream<'a, io::Result<Bytes>>,
        name: Option<String>,
    ) -> BoxFuture<'a, Result<Vec<Arrived>, String>> {
        Box::pin(async move {
            let all = bytes.try_fold(Vec::new(), async |mut all, part| {
                all.extend(part);
                Ok(all)
            });
            match all.await {
                Ok(all) if all.starts_with(b"archive") => {
                    let name = name.unwrap_or_else(|| format!("app:{}", all.len()));
                    Ok(vec![Arrived { name, image_id: "sha256:b".to_owned(), digest: None }])
                }
                _ => Err("The archive can't be used: it is no tar".to_owned()),
            }
        })
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

    fn return_to<'a>(&'a self, _: &'a str, _: &'a str, digest: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let known = digest == "sha256:old";
        Box::pin(async move { if known { Ok(()) } else { Err(format!("{digest} was tried and failed")) } })
    }
}

impl DiskDoor for Willing {
    fn list(&self) -> BoxFuture<'_, Result<Vec<DiskShown>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn wipe_ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<WipeTicket, String>> {
        Box::pin(async move {
            if disk != typed {
                return Err(format!("`{typed}` is not the serial number of {disk}"));
            }
            Ok(WipeTicket { ticket: "wipe-0123456789abcdef01234567".to_owned(), ..WipeTicket::default() })
        })
    }

    fn unlock<'a>(
        &'a self,
        _: &'a str,
        _: &'a DiskSpec,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<(), String>> {
        let known = **key == recovery_key();
        Box::pin(async move { if known { Ok(()) } else { Err("The key does not open /dev/sdb".to_owned()) } })
    }

    fn recovery_key<'a>(
        &'a self,
        _: &'a str,
        _: &'a DiskSpec,
    ) -> BoxFuture<'a, Result<(u8, Zeroizing<String>), String>> {
        Box::pin(async move { Ok((2, Zeroizing::new(recovery_key()))) })
    }

    fn prove_recovery<'a>(
        &'a self,
        _: &'a str,
        _: &'a DiskSpec,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<u8, String>> {
        let known = **key == recovery_key();
        Box::pin(async move { if known { Ok(2) } else { Err("This is no recovery key of /dev/sdb".to_owned()) } })
    }
}

/// The one recovery key that there is.
pub(crate) fn recovery_key() -> String {
    ["cbcbcbcb"; 8].join("-")
}

impl Installer for Willing {
    fn look(&self) -> BoxFuture<'_, Result<Value, String>> {
        let blank = json!({ "device": "vda", "name": "a disk, 8 GB", "serial": "S4EVNX0N123456", "model": "", "size": 8_000_000_000_u64,
            "holds": "nothing", "ready": true, "why": "it is blank" });
        Box::pin(async move { Ok(json!({ "items": [blank] })) })
    }

    fn ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move { self.wipe_ticket(disk, typed).await.map(|it| json!(it)) })
    }

    fn install(&self, order: Order) -> BoxFuture<'_, Result<BoxStream<'static, Value>, String>> {
        Box::pin(async move {
            let serial = order.select.serial.unwrap_or_default();
            let at = UnderWay { step: 1, steps: 1, text: format!("marking {serial}"), ..UnderWay::default() };
            let begun = Told { at, ..Told::default() };
            let Some(ticket) = order.wipe else {
                let refused = Told::refused(format!("{serial}: it is not blank"));
                return Ok(stream::iter([json!(begun), json!(refused)]).boxed());
            };
            let key = Told { recovery_key: Some(format!("key-of-{ticket}").into()), ..begun.clone() };
            let at = UnderWay { text: format!("{serial} holds the system"), ..begun.at.clone() };
            let last = Told { complete: true, at, ..begun.clone() };
            Ok(stream::iter([json!(begun), json!(key), json!(last)]).boxed())
        })
    }
}

/// A machine `attic` with one disk for data, which has the next start reset it for whoever types its name.
#[derive(Default)]
pub(crate) struct Renewable {
    leave: Mutex<Option<ResetOrder>>,
    pending: Mutex<Option<ResetOrder>>,
}

impl Resetter for Renewable {
    fn look(&self) -> BoxFuture<'_, Result<Value, String>> {
        let disk = json!({ "device": "sdb", "name": "WD-1", "serial": "WD-1", "holds": "ext4 \"photos\"" });
        let all = json!({ "machine": "attic", "disks": [disk], "pending": self.pending() });
        Box::pin(async move { Ok(all) })
    }

    fn ticket<'a>(&'a self, asked: &'a Asked) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move {
            if asked.machine != "attic" {
                return Err(format!("`{}` is not the name of this machine, which is `attic`", asked.machine));
            }
            let erase = match &asked.data {
                Data::Keep => Vec::new(),
                Data::Erase(all) => all.iter().map(|it| Erase { name: it.disk.clone(), ..Erase::default() }).collect(),
            };
            let order = ResetOrder { ticket: "reset-1".to_owned(), erase, ..ResetOrder::default() };
            *self.leave.lock().unwrap() = Some(order);
            Ok(json!({ "ticket": "reset-1" }))
        })
    }

    fn order<'a>(&'a self, ticket: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move {
            let leave = self.leave.lock().unwrap().take_if(|it| it.ticket == ticket);
            let leave = leave.ok_or_else(|| format!("there is no ticket `{ticket}`, or it was used up"))?;
            *self.pending.lock().unwrap() = Some(leave);
            Ok(json!({ "pending": self.pending() }))
        })
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Err("it goes on".to_owned()) })
    }

    fn cancel(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async { Ok(self.pending.lock().unwrap().take().is_some()) })
    }

    fn pending(&self) -> Option<ResetOrder> {
        self.pending.lock().unwrap().clone()
    }
}

impl Prunes for Willing {
    fn prune(&self, _: bool) -> BoxFuture<'_, Result<Vec<Pruned>, String>> {
        let image =
            Pruned { id: "sha256:0123456789abcdef".to_owned(), names: vec!["nginx:1.26".to_owned()], size: 2048 };
        Box::pin(async move { Ok(vec![image]) })
    }
}

impl Trust for Willing {
    fn look(&self) -> BoxFuture<'_, Standing> {
        Box::pin(async { Standing::new(Vec::new(), false) })
    }

    fn quote<'a>(&'a self, _: &'a [u8], _: Pcrs) -> BoxFuture<'a, Result<Quote, String>> {
        Box::pin(async { Err("this machine has no TPM".to_owned()) })
    }

    fn why(&self) -> BoxFuture<'_, Result<Why, String>> {
        let message = "this machine has no TPM".to_owned();
        Box::pin(async { Ok(Why::nothing(Verdict::NoLog, message, Pcrs::NONE)) })
    }

    fn seal(&self, _: SealWish) -> BoxFuture<'_, Result<Standing, String>> {
        Box::pin(async { Err("this machine has no TPM".to_owned()) })
    }

    fn reseal(&self, _: Rebinding) -> BoxFuture<'_, Result<Standing, String>> {
        Box::pin(async { Err("this machine has no TPM".to_owned()) })
    }

    fn rebind(&self, _: DiskRebinding) -> BoxFuture<'_, Result<Vec<(u8, u8)>, String>> {
        Box::pin(async { Err("this is no encrypted disk".to_owned()) })
    }

    fn unseal(&self) -> BoxFuture<'_, Result<Standing, String>> {
        Box::pin(async { Ok(Standing::new(Vec::new(), false)) })
    }

    fn enrol(&self, _: DiskWish) -> BoxFuture<'_, Result<u8, String>> {
        Box::pin(async { Err("this machine has no TPM".to_owned()) })
    }

    fn recovery(&self, _: DiskKey) -> BoxFuture<'_, Result<DiskRecovery, String>> {
        Box::pin(async { Err("this is no encrypted disk".to_owned()) })
    }

    fn forget(&self, _: DiskKey, _: u8) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Err("this is no encrypted disk".to_owned()) })
    }
}

impl Wakes for Willing {
    fn wake(&self, source: &str) -> bool {
        source == "home"
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
