//! The server: who is let in, what is limited, how it ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

#[path = "api/support.rs"]
mod support;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use piccolo_agent::api::{self, Gate};
use piccolo_schema::Role;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixListener, UnixStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use support::House;

struct Server {
    house: House,
    tcp: SocketAddr,
    token: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn open() -> Self {
        Self::behind(&[]).await
    }

    /// Behind proxies with these addresses.
    async fn behind(proxies: &[IpAddr]) -> Self {
        let house = House::open().await;
        let unix = UnixListener::bind(house.dir.path().join("api.sock")).unwrap();
        let (tcp, stop) = (house.plate.listen.unwrap(), CancellationToken::new());
        let token = house.token(Role::Admin);
        let gate = house.gate().map(|it| Gate { proxies: proxies.into(), ..it });
        let task = tokio::spawn(api::serve(house.door.clone(), Some(unix), gate, stop.clone()));
        Self { house, tcp, token, stop, task }
    }

    async fn over_tcp(&self, request: &str) -> String {
        let shown = format!("\r\nAuthorization: Bearer {}\r\n", self.token);
        exchange(self.house.connect().await, &request.replacen("\r\n", &shown, 1)).await
    }

    async fn over_unix(&self, request: &str) -> String {
        exchange(UnixStream::connect(self.house.dir.path().join("api.sock")).await.unwrap(), request).await
    }
}

/// Returns the first line and the last line of the answer.
async fn exchange(mut socket: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

fn get(host: &str) -> String {
    format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn change(headers: &str) -> String {
    format!(
        "POST /confirm HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: 10\r\n\r\n{{\"id\":\"x\"}}"
    )
}

#[tokio::test]
async fn only_who_means_this_machine_is_answered_over_a_network() {
    let server = Server::open().await;
    for host in ["localhost", "127.0.0.1:8080", "[::1]:1", "127.3.2.1", "attic.local:8080"] {
        let answer = server.over_tcp(&get(host)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", ""] {
        let answer = server.over_tcp(&get(host)).await;
        assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("problem+json"), "{host}: {answer}");
        let answer = server.over_unix(&get(host)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
    let absolute = "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(server.over_tcp(absolute).await.starts_with("HTTP/1.1 421"));
    let nameless = "GET /livez HTTP/1.0\r\n\r\n";
    assert!(server.over_tcp(nameless).await.starts_with("HTTP/1.0 421"));
    let twice = "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(server.over_tcp(twice).await.starts_with("HTTP/1.1 421"));
}

/// So a request has no `:authority` that could say something else than `Host`: there is no HTTP/2.
#[tokio::test]
async fn http_1_is_all_that_is_spoken() {
    let server = Server::open().await;
    assert!(server.house.connect_for(&[b"h2"]).await.is_err());
    let either = server.house.connect_for(&[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(either.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut answer = Vec::new();
    let mut socket = server.house.connect().await;
    socket.write_all(preface.as_bytes()).await.unwrap();
    // Frames would begin with a length of three bytes. The end may be a rude one.
    drop(socket.read_to_end(&mut answer).await);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    // Who asks to go over to it is answered in HTTP/1.1 all the same.
    answer.clear();
    let mut socket = server.house.connect().await;
    let wish = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk";
    socket.write_all(get("localhost").replace("Connection: close", wish).as_bytes()).await.unwrap();
    answer.resize(12, 0);
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn who_speaks_in_plain_is_sent_to_where_it_is_safe() {
    let server = Server::open().await;
    let plain = |request: String| {
        let tcp = server.tcp;
        async move { exchange(TcpStream::connect(tcp).await.unwrap(), &request).await.to_lowercase() }
    };
    for request in
        [get("attic.local:8080"), change("Authorization: Bearer x\r\n").replace("localhost", "attic.local:8080")]
    {
        let answer = plain(request).await;
        assert!(answer.starts_with("http/1.1 308") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(answer.contains("location: https://attic.local:8080/"), "{answer}");
        assert!(!answer.contains("cookie"), "{answer}");
    }
    let answer = plain(get("evil.example")).await;
    assert!(answer.starts_with("http/1.1 421") && !answer.contains("location"), "{answer}");
    assert!(!plain("nonsense\r\n\r\n".to_owned()).await.contains("location"));
}

#[tokio::test]
async fn pages_of_others_change_nothing() {
    let server = Server::open().await;
    for own in ["", "Origin: https://localhost\r\n", "Sec-Fetch-Site: none\r\n", "Sec-Fetch-Site: same-origin\r\n"] {
        let answer = server.over_tcp(&change(own)).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{own}: {answer}");
    }
    for foreign in [
        "Origin: https://evil.example\r\n",
        // Another port of this machine is another program's page.
        "Origin: https://localhost:3000\r\n",
        // A page that came in plain may be anybody's.
        "Origin: http://localhost\r\n",
        "Origin: null\r\n",
        "Origin: file://localhost\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        let answer = server.over_tcp(&change(foreign)).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{foreign}: {answer}");
    }
}

#[tokio::test]
async fn only_a_listed_proxy_is_believed_for_whom_it_asks() {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (proxies, address) in [(&[here][..], "198.51.100.7"), (&["192.0.2.1".parse().unwrap()], "127.0.0.1")] {
        let server = Server::behind(proxies).await;
        let told = "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\nForwarded: for=203.0.113.8\r\n";
        assert!(server.over_tcp(&change(told)).await.starts_with("HTTP/1.1 404"));
        assert_eq!(server.house.audited(1).await[0].address.as_deref(), Some(address));
        // Where a request is meant for is no proxy's to say.
        let elsewhere = get("evil.example").replacen("\r\n", "\r\nX-Forwarded-Host: localhost\r\n", 1);
        assert!(server.over_tcp(&elsewhere).await.starts_with("HTTP/1.1 421"));
    }
}

#[tokio::test]
async fn an_end_is_quick_though_streams_are_open() {
    let server = Server::open().await;
    let mut socket = server.house.connect().await;
    let follow = format!(
        "GET /journal?follow=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        server.token
    );
    socket.write_all(follow.as_bytes()).await.unwrap();
    let mut idle = TcpStream::connect(server.tcp).await.unwrap();
    idle.write_all(b"GET /li").await.unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    server.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), server.task).await.expect("it waits for them").unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream ends whole: {rest}");
}

#[tokio::test]
async fn a_flood_of_connections_does_not_shut_the_other_door() {
    let server = Server::open().await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(TcpStream::connect(server.tcp).await.unwrap());
    }
    assert!(server.over_unix(&get("localhost")).await.starts_with("HTTP/1.1 200"));
    drop(flood);
    // The others' ends are noticed one after the other; until then there is no place.
    let place = async { while server.house.connect_for(&[]).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), place).await.unwrap();
    assert!(server.over_tcp(&get("localhost")).await.starts_with("HTTP/1.1 200"));
}
