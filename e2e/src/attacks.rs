//! Sites of others: pages that attack, names that lead elsewhere in the middle of it, and a careless machine on which the
//! same attacks succeed.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use axum::{
    Router,
    extract::{FromRequestParts, Request, State, ws::WebSocketUpgrade},
    http::{HeaderValue, Method, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use piccolo_agent::{
    access::{Authority, Names, Shown},
    api::{Gate, serve},
};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The page of all attacks.
const PAGE: &str = concat!(
    "<!doctype html><meta charset=\"utf-8\"><title>A free puzzle</title><body><script>\n",
    include_str!("attacks/page.js"),
    "</script>"
);
/// What a careless machine gives away.
pub const LOOT: &str = "everything-it-knows";

/// A site that answers until it is dropped.
#[derive(Debug)]
pub struct Site {
    /// Where.
    pub address: SocketAddr,
    _stop: DropGuard,
    _certificate: Option<TempDir>,
}

/// Which attacks reached a careless machine.
pub type Reached = Arc<Mutex<BTreeSet<String>>>;

impl Site {
    /// Opens a site over TLS that is called so.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn safe(at: IpAddr, names: &[&str], router: Router) -> anyhow::Result<Self> {
        let (room, stop) = (TempDir::with_prefix("piccolo-site-")?, CancellationToken::new());
        let more: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let names = Names::new("elsewhere", [at], &more);
        let shown = Arc::new(Shown::default());
        let (certificate, _) = Authority::open(room.path())?.leaf(&names, Timestamp::now())?;
        shown.show(certificate);
        let listener = TcpListener::bind((at, 0)).await?;
        let address = listener.local_addr()?;
        let names = watch::Sender::new(Arc::new(names)).subscribe();
        let gate = Gate { listener, tls: shown.config()?, names, proxies: Arc::default() };
        tokio::spawn(serve(router, None, Some(gate), stop.clone()));
        Ok(Self { address, _stop: stop.drop_guard(), _certificate: Some(room) })
    }

    /// Opens a site in plain.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn plain(at: IpAddr, router: Router) -> anyhow::Result<Self> {
        let (listener, stop) = (TcpListener::bind((at, 0)).await?, CancellationToken::new());
        let address = listener.local_addr()?;
        let end = stop.clone();
        tokio::spawn(async move { end.run_until_cancelled(axum::serve(listener, router).into_future()).await });
        Ok(Self { address, _stop: stop.drop_guard(), _certificate: None })
    }
}

/// Returns the page of somebody who attacks. Each connection is for one answer, so that the next one may lead elsewhere.
pub fn attacker() -> Router {
    Router::new().route("/", get(async || ([(header::CONNECTION, "close")], Html(PAGE))))
}

/// Returns a machine that asks nobody who he is and lets everybody read, as too many do.
pub fn careless(reached: &Reached) -> Router {
    Router::new().fallback(answer).with_state(Arc::clone(reached))
}

async fn answer(State(reached): State<Reached>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let by = query.split('&').find_map(|it| it.strip_prefix("by=")).unwrap_or_default().to_owned();
    if parts.method != Method::OPTIONS {
        reached.lock().unwrap_or_else(PoisonError::into_inner).insert(by);
    }
    if let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        return upgrade.on_upgrade(async |mut socket| drop(socket.send(LOOT.into()).await));
    }
    let wants = |media: &str| {
        parts.headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).is_some_and(|it| it.contains(media))
    };
    let (media, text) = match () {
        () if wants("text/event-stream") => ("text/event-stream", format!("data: {LOOT}\n\n")),
        () => ("text/plain", LOOT.to_owned()),
    };
    let mut response =
        (StatusCode::OK, [(header::CONTENT_TYPE, media), (header::CONNECTION, "close")], text).into_response();
    let headers = response.headers_mut();
    let origin = parts.headers.get(header::ORIGIN).cloned().unwrap_or(HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A name that leads to one place and then to another, as one does whose owner answers for a second at a time.
#[derive(Debug)]
pub struct Rebinding {
    /// Where it is asked.
    pub address: SocketAddr,
    to: watch::Sender<SocketAddr>,
    carries: JoinHandle<()>,
}

impl Rebinding {
    /// Leads to this place first.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn to(at: IpAddr, first: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((at, 0)).await?;
        let address = listener.local_addr().context("an address")?;
        let to = watch::Sender::new(first);
        let leads = to.subscribe();
        let carries = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut leads = leads.clone();
                let place = *leads.borrow_and_update();
                tokio::spawn(async move {
                    // A connection that was opened ahead of time would lead to where the name did before.
                    tokio::select! {
                        () = carry(near, place) => {}
                        _ = leads.changed() => {}
                    }
                });
            }
        });
        Ok(Self { address, to, carries })
    }

    /// Leads to this place from now on.
    pub fn lead(&self, place: SocketAddr) {
        self.to.send_replace(place);
    }
}

async fn carry(mut near: TcpStream, place: SocketAddr) {
    let Ok(mut far) = TcpStream::connect(place).await else { return };
    // Whoever breaks off first is right.
    drop(copy_bidirectional(&mut near, &mut far).await);
}

impl Drop for Rebinding {
    fn drop(&mut self) {
        self.carries.abort();
    }
}
