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
    net::{TcpListener, UnixListener},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{guard, stream::Ending};

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
    let server = |router| Server { router, connections: connections.clone(), stop: shutdown.clone(), cut: cut.clone() };
    let on_unix = async {
        if let Some(unix) = unix {
            server(router.clone()).accept(async || unix.accept().await.map(|(socket, _)| socket)).await;
        }
    };
    let on_tcp = async {
        if let Some(tcp) = tcp {
            let guarded = router.clone().layer(from_fn(guard::loopback_host));
            server(guarded).accept(async || tcp.accept().await.map(|(socket, _)| socket)).await;
        }
    };
    tokio::join!(on_unix, on_tcp);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        cut.cancel();
        connections.wait().await;
    }
}

struct Server {
    router: Router,
    connections: TaskTracker,
    /// Asks connections to end.
    stop: CancellationToken,
    /// Ends them.
    cut: CancellationToken,
}

impl Server {
    async fn accept<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        mut next: impl AsyncFnMut() -> io::Result<S>,
    ) {
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
                    let connection = self.connection(socket);
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
    ) -> impl Future<Output = ()> + Send + 'static {
        let service = TowerToHyperService::new(self.router.clone());
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
