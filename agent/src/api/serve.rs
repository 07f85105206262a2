//! The server beneath the routes: listeners, limits and an end.

mod crowd;
mod proxy;
mod tls;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Extension, Router, middleware::from_fn_with_state};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Layer;

use self::crowd::Crowd;
use super::{guard, stream::Ending};
use crate::access::Names;

/// The most connections of one listener.
const CONNECTIONS: usize = 256;
/// How long a client may take to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_SIZE: usize = 16 << 10;
/// How long requests under way may go on once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(2);

/// The other end of a connection, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A program on this machine, by the number of its user.
    User(u32),
    /// Whoever is at this address of a network. An address proves nothing, not even one of the loopback.
    Remote(IpAddr),
}

/// A connection over a network, as it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it did.
    pub at: Instant,
    /// Who is at its other end, even if that is a proxy.
    pub from: IpAddr,
    /// The number of the link that such an address is of which others may have too; 0 for all others.
    pub over: u32,
}

/// The door to networks.
pub struct Gate {
    /// Where connections come in.
    pub listener: TcpListener,
    /// How TLS is spoken.
    pub tls: Arc<ServerConfig>,
    /// What the machine is called, to which requests must be addressed.
    pub names: watch::Receiver<Arc<Names>>,
    /// The proxies whose word counts for who asks.
    pub proxies: Arc<[IpAddr]>,
}

/// Serves until asked to stop, then lets requests under way end for at most two seconds. Streams end at once.
///
/// Dropped, it takes no more connections, and those that are open go on until the token is cancelled.
pub async fn serve(router: Router, unix: Option<UnixListener>, gate: Option<Gate>, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let router = router.layer(Extension(Ending::new(shutdown.clone(), connections.clone())));
    let cut = CancellationToken::new();
    let server = Server { connections: connections.clone(), stop: shutdown, cut: cut.clone() };
    tokio::join!(server.on_socket(unix, &router), server.on_network(gate, &router));
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        cut.cancel();
        connections.wait().await;
    }
}

/// Returns the routes as networks see them: for who asks this machine, and before any route is looked for.
pub fn for_networks(router: Router, names: watch::Receiver<Arc<Names>>, proxies: Arc<[IpAddr]>) -> Router {
    let addressed = from_fn_with_state(names, guard::addressed).layer(router);
    Router::new().fallback_service(from_fn_with_state(proxies, proxy::behind).layer(addressed))
}

#[derive(Clone)]
struct Server {
    connections: TaskTracker,
    /// Asks connections to end.
    stop: CancellationToken,
    /// Ends them.
    cut: CancellationToken,
}

impl Server {
    async fn on_socket(&self, listener: Option<UnixListener>, router: &Router) {
        let Some(listener) = listener else { return };
        let listener = &listener;
        let next = || async move {
            let (socket, _) = listener.accept().await?;
            Ok((socket.peer_cred()?.uid(), socket))
        };
        self.accept(next, |(user, socket)| self.connection(socket, Peer::User(user), router.clone())).await;
    }

    async fn on_network(&self, gate: Option<Gate>, router: &Router) {
        let Some(Gate { listener, tls, names, proxies }) = gate else { return };
        let (acceptor, crowd) = (TlsAcceptor::from(tls), Crowd::default());
        let router = for_networks(router.clone(), names.clone(), proxies.clone());
        let welcome = |(socket, address): (TcpStream, SocketAddr)| {
            let from = address.ip().to_canonical();
            let over = if let SocketAddr::V6(address) = address { address.scope_id() } else { 0 };
            let (peer, arrival) = (Peer::Remote(from), Arrival { at: Instant::now(), from, over });
            let (server, router, acceptor) = (self.clone(), router.clone(), acceptor.clone());
            let names = Arc::clone(&names.borrow());
            // Through a listed proxy everybody comes; how many they are together is bounded all the same.
            let is_proxy = proxies.contains(&from);
            let place = if is_proxy { None } else { crowd.enter(address.ip()) };
            async move {
                if place.is_none() && !is_proxy {
                    return;
                }
                let _place = place;
                // What is said in two parts would wait for the first to be acknowledged.
                drop(socket.set_nodelay(true));
                let greeted = tokio::select! {
                    greeted = tls::greet(socket, &acceptor, &names) => greeted,
                    () = server.stop.cancelled() => return,
                };
                match greeted {
                    Ok(Some(socket)) => server.connection(socket, peer, router.layer(Extension(arrival))).await,
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%address, %error, "a connection did not become one"),
                }
            }
        };
        self.accept(|| listener.accept(), welcome).await;
    }

    /// Takes connections, as many as there are places.
    async fn accept<S, N, W>(&self, next: impl Fn() -> N, welcome: impl Fn(S) -> W)
    where
        N: Future<Output = io::Result<S>>,
        W: Future<Output = ()> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, next().await)
            };
            let (place, socket) = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = accepted => accepted,
            };
            match socket {
                Ok(socket) => {
                    let connection = welcome(socket);
                    self.connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Mostly a lack of file descriptors, which asking again at once would not mend.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        socket: S,
        peer: Peer,
        router: Router,
    ) -> impl Future<Output = ()> + Send + 'static {
        let service = TowerToHyperService::new(Extension(peer).layer(router));
        let (stop, cut) = (self.stop.clone(), self.cut.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_SIZE);
        async move {
            let mut connection = Box::pin(http.serve_connection(TokioIo::new(socket), service).with_upgrades());
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = stop.cancelled() => None,
            };
            let ended: Result<_, hyper::Error> = match ended {
                Some(ended) => ended,
                None => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => ended,
                        () = cut.cancelled() => Ok(()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        }
    }
}
