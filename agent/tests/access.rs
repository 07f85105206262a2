//! Who may do what over the API: every operation that it describes, for everybody there is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and tells its figures"
)]

#[path = "api/support.rs"]
mod support;

use std::{net::IpAddr, sync::Mutex, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, HttpBody},
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use jiff::Timestamp;
use piccolo_agent::{
    access::{Scope, Session, Wish},
    api::Peer,
};
use piccolo_schema::{Kind, Role};
use serde_json::{Value, json};
use tower::ServiceExt;
use zeroize::Zeroizing;

use support::House;

/// Somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Unclaimed,
    Nobody,
    Metrics,
    Reader,
    Operator,
    Admin,
    Expired,
    Revoked,
    /// A browser with a session.
    Session(Role),
    /// One that shows the cookie of a session alone, as it sends it to every port.
    Cookie,
    /// One whose session was ended.
    LoggedOut,
    /// Whoever may use the socket.
    Group,
    Root,
}

const ASKERS: [Asker; 15] = [
    Asker::Unclaimed,
    Asker::Nobody,
    Asker::Metrics,
    Asker::Reader,
    Asker::Operator,
    Asker::Admin,
    Asker::Expired,
    Asker::Revoked,
    Asker::Session(Role::Reader),
    Asker::Session(Role::Operator),
    Asker::Session(Role::Admin),
    Asker::Cookie,
    Asker::LoggedOut,
    Asker::Group,
    Asker::Root,
];

/// The password of every user here.
const PASSWORD: &str = "correct horse battery";

/// How a request is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// It is for the route to answer.
    Let,
    Unknown,
    Forbidden,
}

impl Asker {
    /// Returns what the description says of an operation that needs this role.
    fn met(self, role: Option<&str>, path: &str) -> Met {
        let needs = match role {
            None if ["/", "/livez", "/readyz", "/claim", "/claim/key"].contains(&path) => return Met::Let,
            None if self == Self::Unclaimed => return Met::Forbidden,
            None => return Met::Let,
            Some("root") => return if self == Self::Root { Met::Let } else { Met::Forbidden },
            Some(role) => role.parse::<Role>().unwrap(),
        };
        let role = match self {
            Self::Nobody | Self::Expired | Self::Revoked | Self::Cookie | Self::LoggedOut => return Met::Unknown,
            Self::Session(role) => role,
            Self::Unclaimed => return Met::Forbidden,
            Self::Metrics => return if path == "/metrics" { Met::Let } else { Met::Forbidden },
            Self::Reader | Self::Group => Role::Reader,
            Self::Operator => Role::Operator,
            Self::Admin | Self::Root => Role::Admin,
        };
        if role >= needs { Met::Let } else { Met::Forbidden }
    }
}

/// A house, and everybody who asks there.
struct Stage {
    house: House,
    empty: House,
    tokens: Vec<(Asker, String)>,
    sessions: Mutex<Vec<(Asker, Session)>>,
}

impl Stage {
    async fn open() -> Self {
        let (house, empty) = (House::open().await, House::open().await);
        let mut tokens = Vec::new();
        for (asker, role) in
            [(Asker::Reader, Role::Reader), (Asker::Operator, Role::Operator), (Asker::Admin, Role::Admin)]
        {
            tokens.push((asker, house.token(role)));
        }
        let wish = |label: &str, scope, lifetime| Wish { label: label.to_owned(), role: Role::Admin, scope, lifetime };
        let now = Timestamp::now();
        let mint = |wish: &Wish, at| house.access.mint(wish, at).unwrap();
        tokens.push((Asker::Metrics, mint(&wish("figures", Scope::Metrics, None), now).1.text().to_string()));
        let over = mint(&wish("over", Scope::All, Some(Duration::from_secs(1))), now - Duration::from_secs(2));
        tokens.push((Asker::Expired, over.1.text().to_string()));
        let revoked = mint(&wish("revoked", Scope::All, None), now);
        house.access.revoke(&revoked.0.id).unwrap();
        tokens.push((Asker::Revoked, revoked.1.text().to_string()));
        let stage = Self { house, empty, tokens, sessions: Mutex::default() };
        for role in [Role::Reader, Role::Operator, Role::Admin] {
            let digest = stage.house.access.digest(Zeroizing::new(PASSWORD.to_owned())).await.unwrap();
            stage.house.access.add_user(role.as_str(), role, digest, now).unwrap();
            stage.log_in(Asker::Session(role), role).await;
        }
        let mut half = stage.log_in(Asker::Cookie, Role::Admin).await;
        half.key = Zeroizing::default();
        stage.sessions.lock().unwrap().insert(0, (Asker::Cookie, half));
        let out = stage.log_in(Asker::LoggedOut, Role::Admin).await;
        stage.house.access.log_out(&out.cookie);
        stage
    }

    /// Begins a session for somebody in place of the one before.
    async fn log_in(&self, asker: Asker, role: Role) -> Session {
        let password = Zeroizing::new(PASSWORD.to_owned());
        let session = self.house.access.log_in(role.as_str(), password, None).await.unwrap().session;
        self.sessions.lock().unwrap().insert(0, (asker, session.clone()));
        session
    }

    /// Returns the latest revisions, once all is recorded that came in.
    async fn history(&self, limit: u32) -> Value {
        let refs = "/git/config.git/info/refs?service=git-upload-pack";
        assert_eq!(self.ask(Asker::Reader, "GET", refs, "").await.0, 200);
        self.ask(Asker::Reader, "GET", &format!("/history?limit={limit}"), "").await.1
    }

    async fn ask(&self, asker: Asker, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
        let house = if asker == Asker::Unclaimed { &self.empty } else { &self.house };
        let peer = match asker {
            Asker::Root => Peer::User(0),
            Asker::Group => Peer::User(4_000_000),
            _ => Peer::Remote(IpAddr::from([127, 0, 0, 1])),
        };
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some((_, token)) = self.tokens.iter().find(|(of, _)| *of == asker) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some((_, session)) = self.sessions.lock().unwrap().iter().find(|(of, _)| *of == asker) {
            request = request.header("cookie", format!("__Host-piccolo={}", *session.cookie));
            request = request.header("piccolo-key", &*session.key).header("sec-fetch-site", "same-origin");
        }
        ask(&house.door, peer, request.body(Body::from(body.to_owned())).unwrap()).await
    }
}

async fn ask(door: &Router, peer: Peer, request: Request<Body>) -> (StatusCode, Value) {
    let response = door.clone().layer(Extension(peer)).oneshot(request).await.unwrap();
    let status = response.status();
    // A stream goes on for as long as somebody listens; what has an end is read to it.
    let body = response.into_body();
    let patience = if body.size_hint().exact().is_some() { 20_000 } else { 500 };
    let body = tokio::time::timeout(Duration::from_millis(patience), body.collect()).await;
    let body = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn met(status: StatusCode, answer: &Value) -> Met {
    match (status, answer["reason"].as_str().or_else(|| answer["type"].as_str().and_then(|it| it.rsplit(':').next()))) {
        (StatusCode::UNAUTHORIZED, _) => Met::Unknown,
        (StatusCode::FORBIDDEN, Some("Forbidden" | "Unclaimed")) => Met::Forbidden,
        _ => Met::Let,
    }
}

/// Every operation as a path that can be asked for.
fn operations(description: &Value) -> Vec<(String, String, String, Option<String>)> {
    let mut all = Vec::new();
    for (path, place) in description["paths"].as_object().unwrap() {
        for (method, operation) in place.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let role = operation["x-piccolo-role"].as_str().map(str::to_owned);
            let is_open = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(is_open, role.is_none(), "{method} {path}");
            let asked = path.replace("{name}", "nobody").replace("{namespace}", "default").replace("{id}", "aaaaaaaa");
            all.push((method.to_uppercase(), path.clone(), asked.replace("{source}", "nobody"), role));
        }
    }
    all
}

#[tokio::test]
async fn every_operation_is_for_those_it_is_for() {
    let stage = Stage::open().await;
    let (_, description) = stage.ask(Asker::Admin, "GET", "/openapi.json", "").await;
    let operations = operations(&description);
    assert!(operations.len() > 60, "{}", operations.len());
    let mut cells = 0;
    for (method, path, asked, role) in &operations {
        for asker in ASKERS {
            // It would take the tokens of all others away.
            if (method.as_str(), path.as_str(), asker) == ("DELETE", "/pairing", Asker::Root) {
                continue;
            }
            let (status, answer) = stage.ask(asker, method, asked, "{}").await;
            if let ("/logout", Asker::Session(role)) = (path.as_str(), asker) {
                assert_eq!(status, 204, "{asker:?}");
                assert_eq!(stage.ask(asker, "GET", "/whoami", "").await.0, 401, "the session goes on");
                stage.log_in(asker, role).await;
            }
            let wanted = asker.met(role.as_deref(), path);
            assert_eq!(met(status, &answer), wanted, "{method} {path} as {asker:?}: {status} {answer}");
            assert!(!status.is_server_error() || status == 503, "{method} {path} as {asker:?}: {status} {answer}");
            cells += 1;
        }
    }
    println!("{cells} cells: {} operations, {} askers", operations.len(), ASKERS.len());
    let manifests = std::fs::read_dir(stage.empty.dir.path().join("piccolo")).unwrap().count();
    assert_eq!(manifests, 0, "somebody changed a machine that is nobody's");
}

#[tokio::test]
async fn the_description_says_how_each_is_proved() {
    let stage = Stage::open().await;
    let (_, description) = stage.ask(Asker::Reader, "GET", "/openapi.json", "").await;
    let schemes = &description["components"]["securitySchemes"];
    assert_eq!(schemes["cookie"], json!({ "type": "apiKey", "in": "cookie", "name": "__Host-piccolo" }));
    assert_eq!(schemes["key"], json!({ "type": "apiKey", "in": "header", "name": "piccolo-key" }));
    let of = |path: &str, method: &str| description["paths"][path][method]["security"].clone();
    assert_eq!(of("/plan", "get"), json!([{ "token": [] }, { "cookie": [], "key": [] }]));
    assert_eq!(of("/login", "post"), json!([]));
    assert_eq!(of("/pairing", "get"), json!([{ "token": [] }]), "no session is root");
}

#[tokio::test]
async fn what_nobody_describes_is_for_nobody() {
    let stage = Stage::open().await;
    for (method, path) in
        [("GET", "/nowhere"), ("POST", "/nowhere"), ("TRACE", "/livez"), ("PUT", "/tokens"), ("GET", "//tokens")]
    {
        let (status, answer) = stage.ask(Asker::Nobody, method, path, "").await;
        assert_eq!(met(status, &answer), Met::Unknown, "{method} {path}: {status}");
    }
    for hook in ["/git/hooks/pre-receive", "/git/hooks/proc-receive"] {
        let (status, _) = stage.ask(Asker::Admin, "POST", hook, "{}").await;
        assert_eq!(status, 403, "{hook}");
    }
    let (status, _) = stage.ask(Asker::Operator, "POST", "/git/config.git/git-receive-pack", "").await;
    assert_ne!(status, 403);
    let (status, _) = stage.ask(Asker::Reader, "POST", "/git/config.git/git-receive-pack", "").await;
    assert_eq!(status, 403);
    // Without a word of the server about who asks, nobody does.
    let request = Request::get("/version").body(Body::empty()).unwrap();
    assert_eq!(stage.house.door.clone().oneshot(request).await.unwrap().status(), 403);
}

#[tokio::test]
async fn what_is_as_good_as_root_is_for_admins() {
    let stage = Stage::open().await;
    let mighty = json!({
        "apiVersion": "piccolo.os/v1alpha1", "kind": "Container", "metadata": { "name": "web" },
        "spec": { "image": "nginx:1.27", "privileged": true, "grants": ["privileged"] },
    });
    let path = format!("{}/web", support::CONTAINERS);
    let put = async |asker, object: &Value| stage.ask(asker, "PUT", &path, &object.to_string()).await.0;
    assert_eq!(put(Asker::Operator, &mighty).await, 403);
    assert!(!stage.house.file("containers/web.toml").exists());
    assert_eq!(put(Asker::Admin, &mighty).await, 201);
    // Neither is it taken away, nor made less, nor used.
    let mut meek = mighty.clone();
    meek["spec"] = json!({ "image": "nginx:1.27" });
    assert_eq!(put(Asker::Operator, &meek).await, 403);
    assert_eq!(stage.ask(Asker::Operator, "DELETE", &path, "").await.0, 403);
    let patch = r#"{"spec":{"image":"nginx:1.28"}}"#;
    let request = Request::patch(&path).header("content-type", "application/merge-patch+json");
    let (_, token) = stage.tokens.iter().find(|(of, _)| *of == Asker::Operator).unwrap();
    let request = request.header("authorization", format!("Bearer {token}")).body(Body::from(patch)).unwrap();
    assert_eq!(ask(&stage.house.door, Peer::Remote([127, 0, 0, 1].into()), request).await.0, 403);
    assert_eq!(put(Asker::Admin, &meek).await, 200);
    assert_eq!(put(Asker::Operator, &mighty).await, 403);
    meek["spec"]["image"] = json!("nginx:1.28");
    assert_eq!(put(Asker::Operator, &meek).await, 200);
    // Going back to what was mighty is making it.
    let history = stage.history(10).await;
    let revisions = history["items"].as_array().unwrap();
    assert!(revisions.iter().any(|it| it["author"] == "a operator"), "{history}");
    let back = json!({ "revision": revisions[2]["revision"] }).to_string();
    assert_eq!(stage.ask(Asker::Operator, "POST", "/history/rollback", &back).await.0, 403, "{history}");
    assert_eq!(stage.ask(Asker::Admin, "POST", "/history/rollback", &back).await.0, 200);
}

#[tokio::test]
async fn a_machine_is_claimed_once_over_the_api() {
    let stage = Stage::open().await;
    let claim = async |code: &str| {
        let body = json!({ "code": code, "label": "laptop" }).to_string();
        stage.ask(Asker::Unclaimed, "POST", "/claim", &body).await
    };
    assert_eq!(claim("AAAA-AAAA").await.0, 403);
    let code = stage.empty.access.code(std::time::Instant::now()).unwrap().unwrap().0;
    let (status, answer) = claim(&code).await;
    assert_eq!((status, &answer["role"]), (StatusCode::CREATED, &json!("admin")), "{answer}");
    assert_eq!(claim(&code).await.0, 409);
    let token = answer["token"].as_str().unwrap();
    let request =
        Request::get("/whoami").header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
    let (status, answer) = ask(&stage.empty.door, Peer::Remote([192, 0, 2, 1].into()), request).await;
    assert_eq!((status, &answer["name"]), (StatusCode::OK, &json!("laptop")));
    // A form of a page is no claim.
    let form = Request::post("/claim").header("content-type", "text/plain").body(Body::from("{}")).unwrap();
    assert_eq!(ask(&stage.house.door, Peer::Remote([192, 0, 2, 1].into()), form).await.0, 415);
}

#[tokio::test]
async fn what_goes_on_ends_with_its_token() {
    let stage = Stage::open().await;
    let (listed, token) = {
        let wish = Wish { label: "watcher".to_owned(), role: Role::Reader, scope: Scope::All, lifetime: None };
        stage.house.access.mint(&wish, Timestamp::now()).unwrap()
    };
    let (address, _stop) = stage.house.serve();
    let mut socket = stage.house.connect().await;
    let follow = format!(
        "GET /journal?follow=true HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        *token.text()
    );
    tokio::io::AsyncWriteExt::write_all(&mut socket, follow.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut socket, &mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stage.house.access.revoke(&listed.id).unwrap();
    let mut rest = String::new();
    let ended = tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut rest);
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it goes on").unwrap();
}

#[tokio::test]
async fn the_author_of_a_change_is_the_token_by_its_label() {
    let stage = Stage::open().await;
    stage.house.put_web().await;
    let path = format!("{}/web", support::CONTAINERS);
    assert_eq!(stage.ask(Asker::Operator, "DELETE", &path, "").await.0, 200);
    let history = stage.history(1).await;
    assert_eq!(history["items"][0]["author"], "a operator", "{history}");
    assert!(stage.house.manifests.snapshot().declared.keys().all(|(kind, _)| *kind != Kind::Container));
}
