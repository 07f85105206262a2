//! A small HTTP client: one connection a request, over a unix socket or TCP.

use std::{io, path::PathBuf, str::FromStr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use super::failure::Failure;

/// How long a connection or the beginning of an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Both forms of answers; with the second named, refusals are problem documents.
const ACCEPT: &str = "application/json, application/problem+json";

/// The header that names the file of a manifest.
const FILE: &str = "piccolo-file";

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// At a unix socket.
    Unix(PathBuf),
    /// At a host and port.
    Tcp(String),
}

/// The daemon, seen from here.
pub(super) struct Client {
    host: Host,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    /// What the daemon has to say beside it.
    pub(super) warnings: Vec<String>,
    /// The file of the manifest that is answered with.
    pub(super) file: Option<String>,
    pub(super) body: Bytes,
}

/// An answer that goes on.
pub(super) struct Flow {
    host: String,
    body: Incoming,
    rest: Vec<u8>,
}

impl Client {
    pub(super) const fn new(host: Host) -> Self {
        Self { host }
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
        let response = self.begin(method, path, headers, body.into()).await?;
        let answer = self.whole(response).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(super) async fn ask(&self, path: &str) -> Result<Answer, Failure> {
        let response = self.begin(Method::GET, path, &[], Bytes::new()).await?;
        self.whole(response).await
    }

    /// Reads an answer as it comes.
    pub(super) async fn follow(&self, path: &str, headers: &[(HeaderName, &str)]) -> Result<Flow, Failure> {
        let response = self.begin(Method::GET, path, headers, Bytes::new()).await?;
        if !response.status().is_success() {
            let answer = self.whole(response).await?;
            return Err(self.refused(&answer));
        }
        Ok(Flow { host: self.host(), body: response.into_body(), rest: Vec::new() })
    }

    /// Reads an answer's body as JSON.
    pub(super) fn json(&self, answer: &Answer) -> Result<Value, Failure> {
        serde_json::from_slice(&answer.body).map_err(|error| self.garbled(&error))
    }

    async fn begin(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> Result<hyper::Response<Incoming>, Failure> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer within 30 s");
        let unreachable = |source| Failure::Unreachable { host: self.host(), source };
        let host = match &self.host {
            Host::Unix(_) => "localhost",
            Host::Tcp(authority) => authority,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| self.garbled(&error))?;
        let mut all = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ACCEPT, ACCEPT)].iter().chain(headers) {
            all.insert(name, value.parse().map_err(|error| self.garbled(&error))?);
        }
        *request.headers_mut() = all;
        let answered = async {
            match &self.host {
                Host::Unix(path) => self.exchange(UnixStream::connect(path).await.map_err(unreachable)?, request).await,
                Host::Tcp(at) => self.exchange(TcpStream::connect(at).await.map_err(unreachable)?, request).await,
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_| unreachable(late()))?
    }

    async fn exchange<S>(&self, socket: S, request: Request<Full<Bytes>>) -> Result<hyper::Response<Incoming>, Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|error| self.garbled(&error))?;
        // Ends with the last body that it carries; its errors show there.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| self.garbled(&error))
    }

    async fn whole(&self, response: hyper::Response<Incoming>) -> Result<Answer, Failure> {
        let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let warnings = response.headers().get_all(header::WARNING).iter().filter_map(warning).collect();
        let file = response.headers().get(FILE).map(|file| String::from_utf8_lossy(file.as_bytes()).into_owned());
        let status = response.status();
        let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await;
        let body = body.map_err(|_| self.garbled(&"it does not end"))?.map_err(|error| self.garbled(&error))?;
        Ok(Answer { status, etag, warnings, file, body: body.to_bytes() })
    }

    fn refused(&self, answer: &Answer) -> Failure {
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(problem) if problem.is_object() => Failure::Refused(problem),
            _ => self.garbled(&answer.status),
        }
    }

    fn garbled(&self, cause: &dyn std::fmt::Display) -> Failure {
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

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        match text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) {
            Some(host) if !host.is_empty() && !host.contains('/') => {
                let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                Ok(Self::Tcp(if has_port { host.to_owned() } else { format!("{host}:8080") }))
            }
            _ => Err("write unix:///path/to.sock or http://127.0.0.1:8080".to_owned()),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}
