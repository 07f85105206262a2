//! The first words on a connection over a network: TLS, or a request in plain that is sent there.

use std::{io, sync::Arc, time::Duration};

use axum::http::{Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{HEAD_SIZE, HEAD_TIME};
use crate::access::Names;

/// How TLS begins.
const HANDSHAKE: u8 = 0x16;
/// How long a client may take until it has a connection that is safe.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// Makes the connection safe. None if it was meant to be in plain: then it was told where to ask.
pub(super) async fn greet(
    socket: TcpStream,
    acceptor: &TlsAcceptor,
    names: &Arc<Names>,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let mut first = [0];
    if timeout(HELLO_TIME, socket.peek(&mut first)).await.map_err(late)?? == 0 {
        return Ok(None);
    }
    if first[0] == HANDSHAKE {
        return timeout(HELLO_TIME, acceptor.accept(socket)).await.map_err(late)?.map(Some);
    }
    let elsewhere =
        service_fn(|request| std::future::ready(Ok::<_, std::convert::Infallible>(redirect(&request, names))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_SIZE).keep_alive(false);
    let told = timeout(HELLO_TIME, http.serve_connection(TokioIo::new(socket), elsewhere)).await.map_err(late)?;
    told.map(|()| None).map_err(io::Error::other)
}

/// Answers with where to ask, and nothing else. Only to who meant this machine, so that nobody is sent elsewhere.
fn redirect(request: &Request<Incoming>, names: &Names) -> Response<Empty<Bytes>> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| names.holds(host));
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let mut response = Response::new(Empty::new());
    let place = host.and_then(|host| header::HeaderValue::try_from(format!("https://{host}{path}")).ok());
    match place {
        Some(place) => {
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(header::LOCATION, place);
        }
        None => *response.status_mut() = StatusCode::MISDIRECTED_REQUEST,
    }
    response
}
