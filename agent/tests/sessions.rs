//! Users and the sessions of their browsers, over the API: how they begin, what they open, how they end, and that nothing
//! secret of them is seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

#[path = "api/support.rs"]
mod support;

use std::{
    io::Write,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Extension,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use piccolo_agent::api::Peer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use support::{CONTAINERS, House};

const PASSWORD: &str = "correct horse battery";

/// A browser somewhere in the network.
#[derive(Clone, Default)]
struct Browser {
    cookie: Option<String>,
    key: Option<String>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

impl Browser {
    /// Asks as a page of the machine's own does, with the lines that a test wants otherwise.
    async fn ask(&self, house: &House, method: &str, path: &str, lines: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "attic:8080");
        let own =
            [("origin", "https://attic:8080"), ("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
        for (name, value) in own.iter().filter(|(name, _)| !lines.iter().any(|(other, _)| other == name)) {
            request = request.header(*name, *value);
        }
        for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("theme=dark; {cookie}"));
        }
        if let Some(key) = &self.key {
            request = request.header("piccolo-key", key);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let peer = Peer::Remote(IpAddr::from([192, 0, 2, 7]));
        let response = house.door.clone().layer(Extension(peer)).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Answer { status: parts.status, headers: parts.headers, json }
    }

    async fn get(&self, house: &House, path: &str) -> StatusCode {
        self.ask(house, "GET", path, &[], "").await.status
    }

    /// Logs in, and returns the browser as it is from then on.
    async fn log_in(house: &House, name: &str, password: &str) -> Self {
        let body = json!({ "name": name, "password": password }).to_string();
        let answer = Self::default().ask(house, "POST", "/login", &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        let set = answer.headers["set-cookie"].to_str().unwrap();
        let (cookie, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Strict");
        assert_eq!(answer.headers["cache-control"], "no-store");
        Self { cookie: Some(cookie.to_owned()), key: answer.json["key"].as_str().map(str::to_owned) }
    }
}

/// All that is logged, by every test here.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A house with a user, made by root.
async fn house_of(role: &str) -> House {
    let house = House::open().await;
    let body = json!({ "name": "anna", "role": role, "password": PASSWORD }).to_string();
    let made = house.send("POST", "/users", &[("content-type", "application/json")], body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    house
}

#[tokio::test]
async fn a_session_needs_both_halves_and_ends_with_the_logout() {
    let house = house_of("operator").await;
    let browser = Browser::log_in(&house, "anna", PASSWORD).await;
    let whoami = browser.ask(&house, "GET", "/whoami", &[], "").await;
    assert_eq!(
        (whoami.status, &whoami.json["name"], &whoami.json["role"]),
        (StatusCode::OK, &json!("anna"), &json!("operator"))
    );
    assert_eq!(whoami.headers["cache-control"], "no-store");
    assert_eq!(whoami.headers["cross-origin-resource-policy"], "same-origin");
    // What a container on another port of this host would hold.
    let half = Browser { key: None, ..browser.clone() };
    assert_eq!(half.get(&house, "/plan").await, 401);
    let other = Browser { cookie: None, ..browser.clone() };
    let refused = other.ask(&house, "GET", "/plan", &[], "").await;
    assert_eq!(refused.status, 401);
    assert!(!refused.headers.contains_key("www-authenticate"), "the browser would ask for a password itself");
    // Git takes tokens alone, neither the session nor the password.
    assert_eq!(browser.get(&house, "/git/config.git/info/refs?service=git-upload-pack").await, 401);
    let basic = "Basic YW5uYTpjb3JyZWN0IGhvcnNlIGJhdHRlcnk=";
    let git = Browser::default().ask(&house, "GET", "/git/config.git/info/refs", &[("authorization", basic)], "").await;
    assert_eq!(git.status, 401);
    // A token that is wrong is not made good by a session.
    let both = browser.ask(&house, "GET", "/plan", &[("authorization", "Bearer pic_x")], "").await;
    assert_eq!(both.status, 401);
    let out = browser.ask(&house, "POST", "/logout", &[], "").await;
    assert_eq!(out.status, 204);
    assert!(out.headers["set-cookie"].to_str().unwrap().ends_with("Max-Age=0"));
    assert_eq!(browser.get(&house, "/whoami").await, 401);
}

#[tokio::test]
async fn pages_of_others_change_nothing_with_a_session() {
    let house = house_of("operator").await;
    house.put_web().await;
    let browser = Browser::log_in(&house, "anna", PASSWORD).await;
    let path = format!("{CONTAINERS}/web");
    for lines in [
        &[("origin", ""), ("sec-fetch-site", "")][..],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "")],
        &[("origin", "https://attic:8443"), ("sec-fetch-site", "same-site")],
        &[("origin", "null"), ("sec-fetch-site", "")],
        &[("sec-fetch-site", "none"), ("origin", "")],
        &[("sec-fetch-site", "cross-site")],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "")],
    ] {
        for (method, path) in [("DELETE", path.as_str()), ("POST", "/history/rollback"), ("POST", "/logout")] {
            let answer = browser.ask(&house, method, path, lines, "{}").await;
            assert!([403, 415].contains(&answer.status.as_u16()), "{method} {path} {lines:?}: {}", answer.status);
        }
    }
    assert!(house.file("containers/web.toml").exists());
    assert_eq!(browser.ask(&house, "DELETE", &path, &[], "").await.status, 200);
    // Git is told once all is recorded that came in.
    assert_eq!(house.get("/git/config.git/info/refs?service=git-upload-pack").await.status, 200);
    let history = browser.ask(&house, "GET", "/history?limit=1", &[], "").await;
    assert_eq!(history.json["items"][0]["author"], "anna", "{}", history.json);
}

#[tokio::test]
async fn who_is_unknown_hears_what_others_hear() {
    let house = house_of("reader").await;
    let mut told = Vec::new();
    for (name, password) in [("anna", "wrong horse battery"), ("ben", PASSWORD), ("anna", ""), ("A\u{0}", PASSWORD)] {
        let body = json!({ "name": name, "password": password }).to_string();
        let answer = Browser::default().ask(&house, "POST", "/login", &[], &body).await;
        told.push((answer.status, answer.json));
    }
    assert!(told.iter().all(|it| *it == told[0]) && told[0].0 == 403, "{told:?}");
    // A form of a page is no login.
    let body = json!({ "name": "anna", "password": PASSWORD }).to_string();
    let form = Browser::default().ask(&house, "POST", "/login", &[("content-type", "text/plain")], &body).await;
    assert_eq!(form.status, 415);
}

#[tokio::test]
async fn what_goes_on_in_a_session_ends_with_it() {
    for change in ["logout", "password", "role", "remove"] {
        let house = house_of("operator").await;
        let browser = Browser::log_in(&house, "anna", PASSWORD).await;
        let (address, _stop) = house.serve();
        let mut socket = house.connect().await;
        let follow = format!(
            "GET /journal?follow=true HTTP/1.1\r\nHost: {address}\r\nCookie: {}\r\nPiccolo-Key: {}\r\n\
             Connection: close\r\n\r\n",
            browser.cookie.as_ref().unwrap(),
            browser.key.as_ref().unwrap()
        );
        socket.write_all(follow.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        let media = [("content-type", "application/json")];
        let status = match change {
            "logout" => browser.ask(&house, "POST", "/logout", &[], "").await.status,
            "password" => {
                house.send("PATCH", "/users/anna", &media, r#"{"password":"another horse battery"}"#).await.status
            }
            "role" => house.send("PATCH", "/users/anna", &media, r#"{"role":"reader"}"#).await.status,
            _ => house.send("DELETE", "/users/anna", &[], "").await.status,
        };
        assert!(status.is_success(), "{change}: {status}");
        let mut rest = String::new();
        let ended = socket.read_to_string(&mut rest);
        tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it goes on").unwrap();
        assert_eq!(browser.get(&house, "/whoami").await, 401, "{change}");
    }
}

#[tokio::test]
async fn the_audit_says_who_and_nothing_secret() {
    let log = Log::default();
    let (writer, all) = (log.clone(), tracing_subscriber::EnvFilter::new("trace"));
    tracing_subscriber::fmt().with_writer(move || writer.clone()).with_env_filter(all).with_ansi(false).init();
    let house = house_of("admin").await;
    let log_in = async |name: &str, password: &str| {
        let body = json!({ "name": name, "password": password }).to_string();
        Browser::default().ask(&house, "POST", "/login", &[], &body).await.status
    };
    assert_eq!(log_in("anna", "a canary, and a wrong one").await, 403);
    // Somebody typed the password where the name belongs.
    assert_eq!(log_in(PASSWORD, "canary").await, 403);
    let browser = Browser::log_in(&house, "Anna", PASSWORD).await;
    let body = json!({ "name": "ben", "role": "reader", "password": "bens canary in a mine" }).to_string();
    assert_eq!(browser.ask(&house, "POST", "/users", &[], &body).await.status, 201);
    assert_eq!(browser.ask(&house, "PATCH", "/users/ben", &[], r#"{"role":"operator"}"#).await.status, 200);
    assert_eq!(browser.ask(&house, "DELETE", "/users/ben", &[], "").await.status, 200);
    assert_eq!(browser.ask(&house, "POST", "/logout", &[], "").await.status, 204);
    let lines = house.audited(8).await;
    let told: Vec<_> = lines
        .iter()
        .map(|it| {
            let object = it.object.as_deref().unwrap_or("-");
            format!("{} {} {} {object} {}", it.who, it.door, it.action, it.result)
        })
        .collect();
    let root = &lines[0].who;
    assert_eq!(
        told,
        [
            &format!("{root} api POST /users user/anna 201"),
            "- api POST /login user/anna 403",
            "- api POST /login - 403",
            "anna api POST /login user/anna 200",
            "anna browser POST /users user/ben 201",
            "anna browser PATCH /users/ben user/ben 200",
            "anna browser DELETE /users/ben user/ben 200",
            "anna browser POST /logout - 204",
        ]
    );
    assert_eq!(house.get("/audit?limit=100").await.json()["items"].as_array().unwrap().len(), 8);
    let told = house.get("/journal?limit=1000").await.text + &house.get("/users").await.text;
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(!logged.is_empty());
    let kept = all_files(house.dir.path()) + &told + &logged;
    for secret in [PASSWORD, "canary", &browser.cookie.unwrap()[15..], &browser.key.unwrap()] {
        assert!(!kept.contains(secret), "{secret} is kept");
    }
}

#[tokio::test]
async fn a_mistake_in_a_secret_is_told_without_it() {
    let house = house_of("admin").await;
    let media = [("content-type", "application/json")];
    for path in ["/users", "/login", "/claim", "/claim/key"] {
        for body in [
            r#"{"name":"ben","role":"reader","password":{"canary":1}}"#,
            r#"{"name":"ben","role":"reader","canary":"x"}"#,
            r#"{"name":"ben","role":"canary","password":"x"}"#,
            "\"canary\"",
            "canary",
        ] {
            let answer = house.send("POST", path, &media, body).await;
            assert!(
                answer.status.is_client_error() && !answer.text.contains("canary"),
                "{path} {body}: {}",
                answer.text
            );
        }
    }
    for (path, body, status) in [
        ("/users/anna", "{}", 400),
        ("/users/anna", r#"{"password":"short"}"#, 400),
        ("/users/ben", r#"{"role":"reader"}"#, 404),
    ] {
        assert_eq!(house.send("PATCH", path, &media, body).await.status, status, "{path} {body}");
    }
}

/// Returns all bytes of all files below a directory.
fn all_files(directory: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&all_files(&path));
        } else if path.is_file() {
            all.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
    all
}

#[tokio::test]
async fn the_page_runs_its_own_script_and_no_other() {
    let house = House::open().await;
    let page = house.get("/").await;
    assert!(page.text.contains("data-claimed=\"false\"") && page.text.contains("piccolo claim attic.local"));
    assert!(page.text.contains(&house.plate.print.unwrap().to_string()) && !page.text.contains("{{"));
    let policy = page.header("content-security-policy").to_owned();
    for (tag, rule) in [("script", "script-src"), ("style", "style-src")] {
        let (_, rest) = page.text.split_once(&format!("<{tag}>")).unwrap();
        let (text, rest) = rest.split_once(&format!("</{tag}>")).unwrap();
        assert!(!rest.contains(&format!("<{tag}")), "there is a second {tag}");
        let digest = STANDARD.encode(Sha256::digest(text));
        assert!(policy.contains(&format!("{rule} 'sha256-{digest}';")), "{policy}");
    }
    assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"), "{policy}");
    for inline in ["unsafe", "http:", "https:", "*"] {
        assert!(!policy.contains(inline), "{policy}");
    }
    for outside in ["http://", "https://", " src=", "onclick=", "onload=", "style=", "innerHTML", "eval("] {
        assert!(!page.text.contains(outside), "{outside}");
    }
    assert!(page.text.len() < 16 << 10, "{}", page.text.len());
    let body = json!({ "name": "anna", "role": "reader", "password": PASSWORD }).to_string();
    house.send("POST", "/users", &[("content-type", "application/json")], body).await;
    assert!(house.get("/").await.text.contains("data-claimed=\"true\""));
    // What it shows is for those who may read.
    let browser = Browser::log_in(&house, "anna", PASSWORD).await;
    house.put_web().await;
    let overview = async || browser.ask(&house, "GET", "/overview", &[], "").await.json;
    let stands = async {
        while overview().await["well"].as_array().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stands).await.unwrap();
    let overview = overview().await;
    assert_eq!(overview["well"][0]["about"], "container/web", "{overview}");
    assert_eq!(overview["caller"], json!({ "name": "anna", "role": "reader" }));
    assert_eq!(Browser::default().get(&house, "/overview").await, 401);
}
