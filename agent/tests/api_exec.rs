//! Programs in containers: who may run them, what goes to and fro, and that none is left behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

#[path = "api/support.rs"]
mod support;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use piccolo_agent::{
    access::{Scope, Wish},
    api,
    console::{
        Input,
        channel::{self, Channel, PROTOCOL},
    },
};
use piccolo_schema::{Kind, Role};
use serde_json::json;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use support::{CONTAINERS, House};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    house: House,
    address: SocketAddr,
    token: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct Shell(WebSocketStream<TlsStream<TcpStream>>);

impl Server {
    async fn open() -> Self {
        let house = House::open().await;
        house.put_web().await;
        house.writer.report(Kind::Container, "web", json!({ "state": "running", "containerId": "web" }));
        let (address, stop) = (house.plate.listen.unwrap(), CancellationToken::new());
        let token = house.token(Role::Operator);
        let task = tokio::spawn(api::serve(house.door.clone(), None, house.gate(), stop.clone()));
        Self { house, address, token, stop, task }
    }

    /// Asks to run a program, with headers beside those of a web socket. What is refused is a status.
    async fn ask(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Shell, u16> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        // Whoever shows a session shows no token beside it.
        if !headers.iter().any(|(name, _)| *name == "cookie") {
            let token = HeaderValue::from_str(&format!("Bearer {}", self.token)).unwrap();
            request.headers_mut().insert("authorization", token);
        }
        match client_async(request, self.house.connect().await).await {
            Ok((socket, _)) => Ok(Shell(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn shell(&self, query: &str) -> Shell {
        let path = format!("{CONTAINERS}/web/exec?{query}");
        self.ask(&path, &[("sec-websocket-protocol", PROTOCOL)]).await.unwrap_or_else(|status| panic!("{status}"))
    }
}

impl Shell {
    async fn say(&mut self, input: Input) {
        self.0.send(Message::Binary(input.message())).await.unwrap();
    }

    /// Returns what comes next; none when the connection ended.
    async fn hear(&mut self) -> Option<(Channel, Bytes)> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.unwrap()? {
                Ok(Message::Binary(message)) => return Some(Channel::read(message).unwrap()),
                Ok(Message::Ping(_) | Message::Close(_)) => {}
                // The last word was said before, and the connection is cut.
                Err(Error::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => return None,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns how the program ended.
    async fn end(&mut self) -> Result<i64, String> {
        let (channel, status) = self.hear().await.unwrap();
        assert_eq!(channel, Channel::Status);
        let ended = channel::ended(&status);
        assert_eq!(self.hear().await, None);
        ended
    }
}

impl Shell {
    /// Sees that a program is over soon, and why.
    async fn is_ended(&mut self, server: &Server) {
        assert_eq!(self.end().await, Err("the token or session that this belongs to has ended".to_owned()));
        timeout(PATIENCE, server.house.shells.left.notified()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_typed_and_printed_goes_to_and_fro() {
    let server = Server::open().await;
    let mut shell = server.shell("command=cat&stdin=true").await;
    for typed in ["one", "\0two\n"] {
        shell.say(Input::Bytes(typed.into())).await;
        assert_eq!(shell.hear().await, Some((Channel::Out, Bytes::from(typed))));
    }
    shell.say(Input::End).await;
    assert_eq!(shell.end().await, Ok(0));
    let mut shell = server.shell("command=size&tty=true").await;
    shell.say(Input::Size { columns: 132, rows: 50 }).await;
    assert_eq!(shell.hear().await, Some((Channel::Out, Bytes::from("132x50"))));
    assert_eq!(shell.end().await, Ok(0));
    let mut shell = server.shell("command=fail&command=a%20b&command=c%26d").await;
    assert_eq!(shell.hear().await, Some((Channel::Err, Bytes::from("a b c&d"))));
    assert_eq!(shell.end().await, Ok(3));
    assert_eq!(server.shell("command=refused").await.end().await, Err("It is frozen".to_owned()));
}

#[tokio::test]
async fn pages_of_others_run_nothing() {
    let server = Server::open().await;
    let path = format!("{CONTAINERS}/web/exec?command=cat");
    let protocol = ("sec-websocket-protocol", PROTOCOL);
    let own = format!("https://{}", server.address);
    for own in [vec![], vec![("origin", own.as_str())], vec![("sec-fetch-site", "same-origin")]] {
        let headers = [own, vec![protocol]].concat();
        assert!(server.ask(&path, &headers).await.is_ok(), "{headers:?}");
    }
    for foreign in [
        ("origin", "https://evil.example"),
        // Another port of this machine is another program's page.
        ("origin", "https://127.0.0.1:3000"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(server.ask(&path, &[foreign, protocol]).await.err(), Some(403), "{foreign:?}");
    }
    assert_eq!(server.ask(&path, &[("host", "evil.example"), protocol]).await.err(), Some(421));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = Server::open().await;
    let protocol = [("sec-websocket-protocol", PROTOCOL)];
    for (path, status) in [("web/exec", 400), ("web/exec?command=cat&tty=perhaps", 400), ("db/exec?command=cat", 404)] {
        assert_eq!(server.ask(&format!("{CONTAINERS}/{path}"), &protocol).await.err(), Some(status), "{path}");
    }
    let path = format!("{CONTAINERS}/web/exec?command=cat");
    assert_eq!(server.ask(&path, &[("sec-websocket-protocol", "chat")]).await.err(), Some(426));
    let plain = server.house.get(&path).await;
    assert_eq!(plain.status, 426);
    assert!(plain.json()["help"].as_str().unwrap().contains("piccolo exec"), "{}", plain.text);
    server.house.writer.report(Kind::Container, "web", json!({ "state": "pulling" }));
    let nothing = server.house.get(&path).await;
    assert_eq!(nothing.status, 502);
    assert_eq!(nothing.json()["help"], "`piccolo describe container web` says why");
    let networks = CONTAINERS.replace("containers", "networks");
    assert_eq!(server.ask(&format!("{networks}/web/exec?command=cat"), &protocol).await.err(), Some(404));
}

#[tokio::test]
async fn who_leaves_leaves_no_program_behind() {
    let server = Server::open().await;
    let shell = server.shell("command=sleep").await;
    drop(shell);
    timeout(PATIENCE, server.house.shells.left.notified()).await.unwrap();
}

#[tokio::test]
async fn programs_are_few_at_a_time_and_none_keeps_its_place() {
    let server = Server::open().await;
    let mut shells = Vec::new();
    for _ in 0..32 {
        shells.push(server.shell("command=sleep").await);
    }
    let path = format!("{CONTAINERS}/web/exec?command=cat");
    let protocol = [("sec-websocket-protocol", PROTOCOL)];
    assert_eq!(server.ask(&path, &protocol).await.err(), Some(429));
    assert_eq!(server.house.get("/livez").await.status, 200);
    drop(shells);
    let again = async {
        while server.ask(&path, &protocol).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_flood_stops_when_nobody_takes_it_and_keeps_no_server_from_its_end() {
    let server = Server::open().await;
    let mut shell = server.shell("command=flood").await;
    assert_eq!(shell.hear().await.unwrap().1.len(), 16 << 10);
    let mut waves = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = server.house.shells.waves.load(Ordering::Relaxed);
        assert!(now < 4096, "64 MiB wait for nobody");
        if now == waves {
            break;
        }
        waves = now;
    }
    server.stop.cancel();
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
    drop(shell);
}

#[tokio::test]
async fn the_end_of_the_server_ends_programs() {
    let server = Server::open().await;
    let mut shell = server.shell("command=sleep").await;
    server.stop.cancel();
    assert_eq!(shell.end().await, Err("piccolod stops".to_owned()));
    timeout(PATIENCE, server.house.shells.left.notified()).await.unwrap();
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_program_ends_with_the_token_that_it_was_begun_by() {
    for over in [false, true] {
        let mut server = Server::open().await;
        let wish = Wish {
            label: "a hand".to_owned(),
            role: Role::Operator,
            scope: Scope::All,
            lifetime: Some(Duration::from_secs(3600)),
        };
        let (listed, token) = server.house.access.mint(&wish, Timestamp::now()).unwrap();
        server.token = token.text().to_string();
        let mut shell = server.shell("command=sleep").await;
        if over {
            server.house.access.tidy((Instant::now(), Timestamp::now() + Duration::from_secs(3601))).unwrap();
        } else {
            server.house.access.revoke(&listed.id).unwrap();
        }
        shell.is_ended(&server).await;
    }
}

#[tokio::test]
async fn a_program_ends_with_the_session_and_the_user_that_it_was_begun_by() {
    for change in ["logout", "idle", "password", "role", "remove", "reset"] {
        let server = Server::open().await;
        let access = &server.house.access;
        let password = || Zeroizing::new("correct horse battery".to_owned());
        let digest = access.digest(password()).await.unwrap();
        access.add_user("anna", Role::Operator, digest, Timestamp::now()).unwrap();
        let session = access.log_in("anna", password(), None).await.unwrap().session;
        let cookie = format!("__Host-piccolo={}", *session.cookie);
        let origin = format!("https://{}", server.address);
        let path = format!("{CONTAINERS}/web/exec?command=sleep");
        let shown = [
            ("sec-websocket-protocol", PROTOCOL),
            ("cookie", cookie.as_str()),
            ("piccolo-key", session.key.as_str()),
            ("origin", origin.as_str()),
        ];
        assert_eq!(server.ask(&path, &shown[..2]).await.err(), Some(401), "with half a session");
        assert_eq!(server.ask(&path, &shown[..3]).await.err(), Some(403), "not from the machine's own page");
        let mut shell = server.ask(&path, &shown).await.unwrap_or_else(|status| panic!("{change}: {status}"));
        let now = Instant::now();
        match change {
            "logout" => access.log_out(&session.cookie),
            "idle" => access.tidy((now + Duration::from_secs(31 * 60), Timestamp::now())).unwrap(),
            "reset" => access.reset(now).unwrap(),
            "remove" => assert_eq!(server.house.send("DELETE", "/users/anna", &[], "").await.status, 200),
            change => {
                let body = json!({ change: if change == "role" { "reader" } else { "another horse battery" } });
                let media = [("content-type", "application/json")];
                let changed = server.house.send("PATCH", "/users/anna", &media, body.to_string()).await;
                assert_eq!(changed.status, 200, "{change}: {}", changed.text);
            }
        }
        shell.is_ended(&server).await;
        // After a reset the machine is nobody's.
        let met = if change == "reset" { 403 } else { 401 };
        assert_eq!(server.ask(&path, &shown).await.err(), Some(met), "{change}");
    }
}
