//! The server beneath the routes: listeners, limits and an end.

use std::{io, sync::Arc, time::Duration};

use axum::{Extension, Router, middleware::from_fn};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Layer;

use super::{guard, stream::Ending};
use crate::manifests::{By, Door, Who};

/// The most connections of one listener.
const CONNECTIONS: usize = 128;
/// How long a client may take to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_SIZE: usize = 64 << 10;
/// How long requests under way may go on once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until asked to stop, then lets requests under way end for at most two seconds. Streams end at once.
///
/// Dropped, it takes no more connections, and those that are open go on until the token is cancelled.
pub async fn serve(router: Router, unix: Option<UnixListener>, tcp: Option<TcpListener>, shutdown: CancellationToken) {
    let router = router.layer(Extension(Ending(shutdown.clone())));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let server = Server { connections: connections.clone(), stop: shutdown, cut: cut.clone() };
    let on_unix = async {
        if let Some(unix) = &unix {
            server.accept(unix, &router).await;
        }
    };
    let on_tcp = async {
        if let Some(tcp) = &tcp {
            server.accept(tcp, &router.clone().layer(from_fn(guard::loopback_host))).await;
        }
    };
    tokio::join!(on_unix, on_tcp);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        cut.cancel();
        connections.wait().await;
    }
}

/// A place where connections come in.
trait Listener: Sync {
    type Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<(Self::Socket, Who)>> + Send;
}

impl Listener for TcpListener {
    type Socket = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Who)> {
        self.accept().await.map(|(socket, _)| (socket, Who::Unknown))
    }
}

impl Listener for UnixListener {
    type Socket = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Who)> {
        let (socket, _) = self.accept().await?;
        let who = socket.peer_cred().map_or(Who::Unknown, |peer| Who::User(peer.uid()));
        Ok((socket, who))
    }
}

struct Server {
    connections: TaskTracker,
    /// Asks connections to end.
    stop: CancellationToken,
    /// Ends them.
    cut: CancellationToken,
}

impl Server {
    async fn accept(&self, listener: &impl Listener, router: &Router) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.next().await)
            };
            let (place, socket) = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = accepted => accepted,
            };
            match socket {
                Ok((socket, who)) => {
                    let connection = self.connection(socket, By { door: Door::Api, who }, router.clone());
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
        by: By,
        router: Router,
    ) -> impl Future<Output = ()> + Send + 'static {
        let service = TowerToHyperService::new(Extension(by).layer(router));
        let (stop, cut) = (self.stop.clone(), self.cut.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_SIZE);
        async move {
            let mut connection = Box::pin(http.serve_connection(TokioIo::new(socket), service));
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
