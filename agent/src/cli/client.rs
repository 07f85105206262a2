//! A small HTTP client: one connection a request, over a unix socket or TCP.

use std::{error::Error as _, io, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    Method, Request, StatusCode,
    body::{Body, Frame, Incoming},
    client::conn::http1,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

use zeroize::Zeroizing;

use super::{contexts::Context, failure::Failure, host::Host, tls};
use crate::access::Print;

/// How long a connection or the beginning of an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Both forms of answers; with the second named, refusals are problem documents.
const ACCEPT: &str = "application/json, application/problem+json";

/// The header that names the file of a manifest.
const FILE: &str = "piccolo-file";
/// The header with the digest of the image in an archive.
const DIGEST: &str = "piccolo-digest";
/// The header that names the change on trial, and that of the Links that are put on trial.
const TRIAL: &str = "piccolo-trial";
const LINKS: &str = "piccolo-links-on-trial";

/// The daemon, seen from here.
pub(super) struct Client {
    host: Host,
    /// What is known of the machine there; nothing of this very one.
    known: Option<Context>,
    patience: Duration,
}

/// A web socket to the daemon.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    /// What the daemon has to say beside it.
    pub(super) warnings: Vec<String>,
    /// The file of the manifest that is answered with.
    pub(super) file: Option<String>,
    /// The change on trial that it became a part of.
    pub(super) trial: Option<String>,
    /// The Links that it puts on trial.
    pub(super) links: Vec<String>,
    pub(super) body: Bytes,
}

/// An answer that goes on.
pub(super) struct Flow {
    /// How many bytes it will have, if that is known.
    pub(super) size: Option<u64>,
    /// The digest of what comes, if there is one.
    pub(super) digest: Option<String>,
    host: String,
    body: Incoming,
    rest: Vec<u8>,
}

impl Client {
    pub(super) const fn new(host: Host, known: Option<Context>) -> Self {
        Self { host, known, patience: PATIENCE }
    }

    /// Returns it with another time for the beginning of an answer.
    pub(super) fn patient(&self, patience: Duration) -> Self {
        Self { host: self.host.clone(), known: self.known.clone(), patience }
    }

    pub(super) const fn place(&self) -> &Host {
        &self.host
    }

    /// Returns what is known of the machine.
    pub(super) const fn known(&self) -> Option<&Context> {
        self.known.as_ref()
    }

    /// Asks the machine for its authority, and sends nothing.
    pub(super) async fn look(&self) -> Result<(String, Print), Failure> {
        let Host::Tls(at) = &self.host else {
            return Err(Failure::Usage("only over a network is a machine known by its fingerprint".to_owned()));
        };
        let looked = async { tls::look(TcpStream::connect(at).await.map_err(|it| self.unreachable(it))?, at).await };
        tokio::time::timeout(self.patience, looked).await.map_err(|_| self.late())?
    }

    pub(super) fn host(&self) -> String {
        self.host.to_string()
    }

    /// Reads a document.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(&self.send(Method::GET, path, &[], Bytes::new()).await?)
    }

    /// Sends a request and reads the whole answer; what is refused is a failure.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Failure> {
        let response = self.begin(method, path, headers, Full::new(body.into())).await?;
        let answer = self.whole(response).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(super) async fn ask(&self, path: &str) -> Result<Answer, Failure> {
        let response = self.begin(Method::GET, path, &[], Full::default()).await?;
        self.whole(response).await
    }

    /// Reads an answer as it comes.
    pub(super) async fn follow(&self, path: &str, headers: &[(HeaderName, &str)]) -> Result<Flow, Failure> {
        self.flow(Method::GET, path, headers, Bytes::new()).await
    }

    /// Sends a request, and reads its answer as it comes.
    pub(super) async fn flow(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Flow, Failure> {
        let response = self.begin(method, path, headers, Full::new(body.into())).await?;
        if !response.status().is_success() {
            let answer = self.whole(response).await?;
            return Err(self.refused(&answer));
        }
        let text = |name| response.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let size = text(header::CONTENT_LENGTH.as_str()).and_then(|it| it.parse().ok());
        let digest = text(DIGEST);
        Ok(Flow { size, digest, host: self.host(), body: response.into_body(), rest: Vec::new() })
    }

    /// Sends what comes of a stream, and reads the whole answer.
    pub(super) async fn upload<S>(&self, path: &str, size: Option<u64>, bytes: S) -> Result<Answer, Failure>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let body = StreamBody::new(Box::pin(bytes.map_ok(Frame::data)));
        let size = size.map(|size| size.to_string());
        let headers = size.iter().map(|size| (header::CONTENT_LENGTH, size.as_str())).collect::<Vec<_>>();
        let response = self.begin(Method::POST, path, &headers, body).await?;
        let answer = self.whole(response).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    /// Opens a web socket that speaks this protocol.
    pub(super) async fn open(&self, path: &str, protocol: &str) -> Result<Socket, Failure> {
        let key = generate_key();
        let headers = [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_PROTOCOL, protocol),
            (header::SEC_WEBSOCKET_KEY, &key),
        ];
        let response = self.begin(Method::GET, path, &headers, Full::default()).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answer = self.whole(response).await?;
            return Err(self.refused(&answer));
        }
        let accepted = derive_accept_key(key.as_bytes());
        if response.headers().get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|it| *it != *accepted) {
            return Err(self.garbled(&"it is no web socket"));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| self.garbled(&error))?;
        Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await)
    }

    /// Reads an answer's body as JSON.
    pub(super) fn json(&self, answer: &Answer) -> Result<Value, Failure> {
        serde_json::from_slice(&answer.body).map_err(|error| self.garbled(&error))
    }

    async fn begin<B>(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: B,
    ) -> Result<hyper::Response<Incoming>, Failure>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let host = match &self.host {
            Host::Unix(_) => "localhost",
            Host::Tls(authority) => authority,
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| self.garbled(&error))?;
        let mut all = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ACCEPT, ACCEPT)].iter().chain(headers) {
            all.insert(name, value.parse().map_err(|error| self.garbled(&error))?);
        }
        if let Some(token) = self.known.as_ref().map(|it| &it.token).filter(|it| !it.is_empty()) {
            let value = Zeroizing::new(format!("Bearer {}", token.as_str()));
            let mut value: HeaderValue = value.parse().map_err(|_| self.garbled(&"the token for it is none"))?;
            value.set_sensitive(true);
            all.insert(header::AUTHORIZATION, value);
        }
        *request.headers_mut() = all;
        let answered = async {
            match &self.host {
                Host::Unix(path) => {
                    let socket = UnixStream::connect(path).await.map_err(|error| self.unreachable(error))?;
                    self.exchange(socket, request).await
                }
                Host::Tls(at) => {
                    let known = self.known.as_ref().ok_or_else(|| Failure::Stranger(at.clone()))?;
                    let socket = TcpStream::connect(at).await.map_err(|error| self.unreachable(error))?;
                    self.exchange(tls::connect(socket, at, &known.authority).await?, request).await
                }
            }
        };
        tokio::time::timeout(self.patience, answered).await.map_err(|_| self.late())?
    }

    fn unreachable(&self, source: io::Error) -> Failure {
        Failure::Unreachable { host: self.host(), source }
    }

    fn late(&self) -> Failure {
        let late = format!("no answer within {:?}", self.patience);
        self.unreachable(io::Error::new(io::ErrorKind::TimedOut, late))
    }

    async fn exchange<S, B>(&self, socket: S, request: Request<B>) -> Result<hyper::Response<Incoming>, Failure>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|error| self.garbled(&error))?;
        // Ends with the last body that it carries; its errors show there.
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(|error| self.unanswered(error))
    }

    /// Says why there is no answer: whoever took the connection may have left with it, as a daemon that ends does.
    fn unanswered(&self, source: hyper::Error) -> Failure {
        if source.is_user() {
            let cause = source.source().unwrap_or(&source).to_string();
            return Failure::Unsent { host: self.host(), cause };
        }
        if source.is_parse() { self.garbled(&source) } else { Failure::HungUp { host: self.host(), source } }
    }

    async fn whole(&self, response: hyper::Response<Incoming>) -> Result<Answer, Failure> {
        let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let warnings = response.headers().get_all(header::WARNING).iter().filter_map(warning).collect();
        let text =
            |header| response.headers().get(header).map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        let (file, trial) = (text(FILE), text(TRIAL));
        let links = text(LINKS).iter().flat_map(|it| it.split(',')).map(str::to_owned).collect();
        let status = response.status();
        let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await;
        let body = body.map_err(|_| self.garbled(&"it does not end"))?.map_err(|error| self.garbled(&error))?;
        Ok(Answer { status, etag, warnings, file, trial, links, body: body.to_bytes() })
    }

    fn refused(&self, answer: &Answer) -> Failure {
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(problem) if problem.is_object() => Failure::Refused(problem),
            _ => self.garbled(&answer.status),
        }
    }

    /// Says that the connection broke, or that what came over it makes no sense.
    pub(super) fn garbled(&self, cause: &dyn std::fmt::Display) -> Failure {
        Failure::Garbled { host: self.host(), cause: cause.to_string() }
    }
}

impl Flow {
    /// Returns the next bytes, none at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_) => continue,
                },
                Err(error) => return Err(Failure::Garbled { host: self.host.clone(), cause: error.to_string() }),
            }
        }
    }

    /// Returns the next document of a stream that has one a line, none at the end.
    pub(super) async fn document(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let garbled =
                    |error: serde_json::Error| Failure::Garbled { host: self.host.clone(), cause: error.to_string() };
                return serde_json::from_slice(&line).map(Some).map_err(garbled);
            }
            let Some(chunk) = self.chunk().await? else { return Ok(None) };
            self.rest.extend_from_slice(&chunk);
        }
    }
}

/// Returns the text of `299 - "text"`.
fn warning(value: &HeaderValue) -> Option<String> {
    let quoted = str::from_utf8(value.as_bytes()).ok()?.strip_prefix("299 - \"")?.strip_suffix('"')?;
    let mut text = String::new();
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        text.extend(if c == '\\' { rest.next() } else { Some(c) });
    }
    Some(text)
}
