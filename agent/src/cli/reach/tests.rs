//! A command that watches its change, at a machine that answers from a script.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use super::*;

#[test]
fn what_is_on_trial_of_others_is_told_apart() {
    let trial = json!({ "tried": { "lan": "new", "mgmt": "new" } });
    let own = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(others(&trial, &own(&["lan"])), ["link/mgmt"]);
    assert!(others(&trial, &own(&["lan", "mgmt", "more"])).is_empty());
}

/// How far a machine is that sets up `lan`, and `mgmt` only after that was confirmed.
#[derive(Debug, Default)]
struct Script {
    confirmed: Vec<String>,
    /// How often it was asked how its links stand since the first confirmation.
    asked: u32,
}

impl Script {
    fn answer(&mut self, request: &str) -> Value {
        let trial = |id: &str, link: &str| json!({ "id": id, "tried": { link: "new" }, "secondsLeft": 60 });
        let first = request.lines().next().unwrap_or_default();
        if first.starts_with("POST /net/confirm") {
            let body = request.split("\r\n\r\n").nth(1).and_then(|it| serde_json::from_str::<Value>(it).ok());
            self.confirmed.push(body.unwrap_or_default()["trial"].as_str().unwrap_or_default().to_owned());
            return json!({});
        }
        let left = self.confirmed.len() < 2;
        if first.starts_with("GET /plan") {
            let step = json!({ "subject": "mgmt", "text": "write link mgmt", "disruption": "none" });
            let steps = if left { vec![step] } else { Vec::new() };
            return json!({ "plans": [{ "kind": "Link", "steps": steps, "waiting": [], "complete": true }] });
        }
        // The second begins some time after the first has ended.
        self.asked += u32::from(self.confirmed.len() == 1);
        let trial = match self.confirmed.len() {
            0 => trial("net-1", "lan"),
            1 if self.asked > 2 => trial("net-2", "mgmt"),
            _ => Value::Null,
        };
        json!({ "trial": trial, "refused": {} })
    }
}

/// Serves the script, one request a connection.
async fn serve(at: PathBuf, script: Arc<Mutex<Script>>) {
    let listener = UnixListener::bind(at).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = heard(&mut stream).await;
        let body = script.lock().unwrap().answer(&request).to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
        stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    }
}

/// Reads a request to the end of its body.
async fn heard(stream: &mut UnixStream) -> String {
    let mut text = String::new();
    loop {
        let length =
            text.lines().find_map(|it| it.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
        if body.is_some_and(|body| body >= length.unwrap_or(0)) {
            return text;
        }
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

#[tokio::test]
async fn a_trial_that_begins_after_another_was_confirmed_is_confirmed_too() {
    let home = tempfile::TempDir::new().unwrap();
    let (at, script) = (home.path().join("api.sock"), Arc::new(Mutex::new(Script::default())));
    let machine = tokio::spawn(serve(at.clone(), Arc::clone(&script)));
    while !at.exists() {
        tokio::task::yield_now().await;
    }
    let names = || ["lan", "mgmt"].map(str::to_owned).into();
    let changed = Changed { links: names(), tried: names(), addresses: Vec::new() };
    let places = vec![Client::new(Host::Unix(at), None)];
    let screen = Screen::new();
    Watch::new(&changed, places, &screen).run().await.unwrap();
    assert_eq!(script.lock().unwrap().confirmed, ["net-1", "net-2"]);
    machine.abort();
}
