//! What TLS adds to a small request on a kept connection: the API over TCP with TLS, as it is served, beside the same routes
//! over TCP without, in turns. The daemon itself has no such door; this bench opens it, on the loopback address alone.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench is no interface, stops where it breaks, and prints what it measured"
)]

#[path = "../tests/api/support.rs"]
mod support;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Extension;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http1::{self, SendRequest},
    server,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use piccolo_agent::api::{self, Peer};
use piccolo_schema::Role;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

use support::House;

/// How many requests are one turn, after which the other way has its turn.
const TURN: usize = 200;
/// How many turns each way has, the first few of which do not count.
const TURNS: usize = 110;
const COLD: usize = 10;
/// What TLS may add.
const BAR: f64 = 1.15;
/// What is asked for: the smallest answer that takes a token.
const PATH: &str = "/version";

fn main() {
    // As the daemon and a client: each has its own threads.
    let machine = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let house = machine.block_on(House::open());
    let (safe, _stop) = machine.block_on(async { house.serve() });
    let plain = machine.block_on(without(&house));
    let token = house.token(Role::Reader);
    let client = Builder::new_current_thread().enable_all().build().unwrap();
    let all = client.block_on(measure(&house, safe, plain, &token));
    tell(&all);
    stop(client, machine, house);
}

/// The worlds end before the house is swept.
fn stop(client: Runtime, machine: Runtime, house: House) {
    client.shutdown_timeout(Duration::from_secs(5));
    machine.shutdown_timeout(Duration::from_secs(5));
    drop(house);
}

/// Answers with these routes over TCP, with the limits of the server itself.
async fn without(house: &House) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api::for_networks(house.door.clone(), house.plate.names.clone(), Arc::default())
        .layer(Extension(Peer::Remote(IpAddr::V4(Ipv4Addr::LOCALHOST))));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut http = server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10)).max_buf_size(16 << 10);
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(http.serve_connection(TokioIo::new(socket), service).with_upgrades());
        }
    });
    address
}

/// Returns the times of each turn, without TLS and with it.
async fn measure(house: &House, safe: SocketAddr, plain: SocketAddr, token: &str) -> [Vec<Vec<Duration>>; 2] {
    assert_eq!(Some(safe), house.plate.listen);
    let socket = TcpStream::connect(plain).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let encrypted = house.connect().await;
    encrypted.get_ref().0.set_nodelay(true).unwrap();
    let mut ways = [client(socket).await, client(encrypted).await];
    let mut all = [Vec::new(), Vec::new()];
    for turn in 0..TURNS {
        for (sender, turns) in ways.iter_mut().zip(&mut all) {
            let mut times = Vec::with_capacity(TURN);
            for _ in 0..TURN {
                let begin = Instant::now();
                ask(sender, token).await;
                times.push(begin.elapsed());
            }
            if turn >= COLD {
                turns.push(times);
            }
        }
    }
    all
}

async fn client<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, token: &str) {
    let request = Request::get(PATH).header("host", "localhost").header("authorization", format!("Bearer {token}"));
    sender.ready().await.unwrap();
    let answer = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.into_body().collect().await.unwrap();
}

fn tell([plain, safe]: &[Vec<Vec<Duration>>; 2]) {
    let micros = |turns: &[Vec<Duration>], percent: usize| {
        let all = turns.iter().flatten().map(|it| it.as_secs_f64() * 1e6).collect();
        at(all, percent)
    };
    let median = |turn: &Vec<Duration>| at(turn.iter().map(Duration::as_secs_f64).collect(), 50);
    // Two turns side by side see the same machine.
    let ratios: Vec<f64> = plain.iter().zip(safe).map(|(plain, safe)| median(safe) / median(plain)).collect();
    let (low, middle, high) = (at(ratios.clone(), 10), at(ratios.clone(), 50), at(ratios, 90));
    let verdict = if middle <= BAR { "kept" } else { "missed" };
    println!("| what | with TLS | without | bar | |\n|---|---|---|---|---|");
    println!(
        "| a small GET over TCP, on a kept connection | {:.1} µs | {:.1} µs | ≤ {BAR}x | {verdict} ({middle:.3}x; of nine \
         turns in ten {low:.3}x to {high:.3}x; 99 %: {:.0} µs and {:.0} µs) |",
        micros(safe, 50),
        micros(plain, 50),
        micros(safe, 99),
        micros(plain, 99),
    );
}

/// Returns what this share of all is below.
fn at(mut all: Vec<f64>, percent: usize) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() * percent / 100]
}
