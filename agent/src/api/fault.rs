//! What went wrong with a request, in words and in the two forms that clients read.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use piccolo_schema::{
    GROUP, Kind,
    parse::{Diagnostic, Rejected},
};
use serde_json::{Map, Value, json};

use crate::manifests::WriteError;

/// A request that is refused, and why.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The status of the answer.
    pub(super) status: StatusCode,
    /// The cause in PascalCase, a word of the Kubernetes API where it has one.
    pub(super) reason: &'static str,
    /// One sentence.
    pub(super) detail: Box<str>,
    /// What to do.
    pub(super) help: Option<Box<str>>,
    /// The manifest that it speaks of.
    pub(super) about: Option<(Kind, Box<str>)>,
    /// Every mistake in the manifest that was sent.
    pub(super) errors: Box<[Diagnostic]>,
    /// The fingerprint that the manifest has now.
    pub(super) etag: Option<Box<str>>,
    /// After how many seconds it may be tried again.
    pub(super) wait: Option<u16>,
}

/// In which form a client reads errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A problem document, RFC 9457.
    Problem,
    /// A `Status` of the Kubernetes API.
    Kubernetes,
}

impl Fault {
    pub(super) fn new(status: StatusCode, reason: &'static str, detail: impl Into<Box<str>>) -> Self {
        let (detail, errors) = (detail.into(), Box::default());
        Self { status, reason, detail, help: None, about: None, errors, etag: None, wait: None }
    }

    pub(super) fn bad_request(detail: impl Into<Box<str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", detail)
    }

    pub(super) fn conflict(detail: impl Into<Box<str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", detail)
    }

    pub(super) fn expired() -> Self {
        Self::new(StatusCode::GONE, "Expired", "that resourceVersion is too old, or not of this machine")
            .help("list again and watch from the resourceVersion of that list")
    }

    pub(super) fn not_found(kind: Kind, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{}.{GROUP} \"{name}\" not found", kind.plural()))
            .about(kind, name)
    }

    pub(super) fn invalid(rejected: Rejected) -> Self {
        let detail = match rejected.diagnostics.len() {
            1 => "the manifest has a mistake".to_owned(),
            count => format!("the manifest has {count} mistakes"),
        };
        let mut fault = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", detail);
        fault.about = rejected.kind.map(|kind| (kind, rejected.name.unwrap_or_default().into()));
        fault.errors = rejected.diagnostics.into();
        fault
    }

    pub(super) fn stopping() -> Self {
        WriteError::Stopping.into()
    }

    /// Returns what is said of a status that something beneath the routes answered with.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let (reason, detail) = match status {
            StatusCode::METHOD_NOT_ALLOWED => ("MethodNotAllowed", "this path does not take this method"),
            StatusCode::PAYLOAD_TOO_LARGE => ("RequestEntityTooLarge", "the body is larger than 1 MiB"),
            StatusCode::BAD_REQUEST => ("BadRequest", "the request can't be understood"),
            _ => ("InternalError", "the request could not be answered"),
        };
        Self::new(status, reason, detail)
    }

    pub(super) fn help(mut self, help: impl Into<Box<str>>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn about(mut self, kind: Kind, name: impl Into<Box<str>>) -> Self {
        self.about = Some((kind, name.into()));
        self
    }

    /// Says after how many seconds it may be tried again.
    pub(super) fn wait(mut self, seconds: u64) -> Self {
        self.wait = Some(u16::try_from(seconds).unwrap_or(u16::MAX));
        self
    }

    /// Renders it for a client.
    pub(super) fn render(&self, dialect: Dialect) -> Response {
        let (media, body) = match dialect {
            Dialect::Problem => ("application/problem+json", self.problem()),
            Dialect::Kubernetes => ("application/json", self.kubernetes()),
        };
        let mut response = (self.status, [(header::CONTENT_TYPE, media)], body.to_string()).into_response();
        if let Some(etag) = self.etag.as_ref().and_then(|etag| HeaderValue::try_from(format!("\"{etag}\"")).ok()) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        if let Some(wait) = self.wait {
            response.headers_mut().insert(header::RETRY_AFTER, wait.into());
        }
        response
    }

    fn problem(&self) -> Value {
        let mut problem = Map::new();
        problem.insert("type".to_owned(), json!(format!("urn:piccolo:problem:{}", self.reason)));
        problem.insert("title".to_owned(), json!(self.status.canonical_reason().unwrap_or("Error")));
        problem.insert("status".to_owned(), json!(self.status.as_u16()));
        problem.insert("detail".to_owned(), json!(self.detail));
        if let Some(help) = &self.help {
            problem.insert("help".to_owned(), json!(help));
        }
        if !self.errors.is_empty() {
            problem.insert("errors".to_owned(), self.errors.iter().map(diagnostic).collect());
        }
        Value::Object(problem)
    }

    /// Renders it as a `Status`; with this message and these details kubectl prints every mistake.
    pub(super) fn kubernetes(&self) -> Value {
        let subject = self.about.as_ref().map(|(kind, name)| format!("{kind}.{GROUP} \"{name}\""));
        let mut message = match (&subject, self.errors.is_empty()) {
            (Some(subject), false) => {
                let all: Vec<_> = self.errors.iter().map(sentence).collect();
                format!("{subject} is invalid: {}", all.join("; "))
            }
            _ => self.detail.to_string(),
        };
        if let Some(help) = &self.help {
            message = format!("{message}; {help}");
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": self.reason, "code": self.status.as_u16(),
        });
        if let Some((kind, name)) = &self.about {
            let causes: Value = self.errors.iter().map(cause).collect();
            // Of what is not found kubectl expects the plural here, of what is invalid the kind.
            let word = if self.errors.is_empty() { kind.plural() } else { kind.as_str() };
            status["details"] = json!({ "name": name, "group": GROUP, "kind": word, "causes": causes });
        }
        status
    }
}

impl IntoResponse for Fault {
    /// Leaves the form to [`edge::answer`](super::edge::answer), which knows the client.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        let detail = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match error {
            WriteError::Invalid(rejected) => Self::invalid(rejected),
            WriteError::Mistakes(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", detail),
            WriteError::NotFound { kind, name } => Self::not_found(kind, &name),
            WriteError::Conflict { current } => Self {
                etag: current.map(Into::into),
                ..Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", detail)
                    .help("read it again, repeat your change on it and send the new ETag")
            },
            WriteError::TooLarge => Self::of_status(StatusCode::PAYLOAD_TOO_LARGE),
            WriteError::Misdirected { .. } => Self::bad_request(detail),
            WriteError::Io { .. } => Self::new(StatusCode::INSUFFICIENT_STORAGE, "WriteFailed", detail),
            WriteError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", detail),
            WriteError::OnTrial { id } => Self::new(StatusCode::CONFLICT, "OnTrial", detail)
                .help(format!("`piccolo confirm {id}` first, or join it by `confirmWithin` (--confirm-within)")),
            WriteError::Forbidden { kind, ref name, .. } => {
                let name = name.clone();
                Self::new(StatusCode::FORBIDDEN, "Forbidden", detail).about(kind, name)
            }
            WriteError::NoTrial { .. } => Self::new(StatusCode::NOT_FOUND, "NotFound", detail),
            WriteError::Duplicate { .. }
            | WriteError::Broken { .. }
            | WriteError::Occupied { .. }
            | WriteError::OutsideTree { .. } => Self::conflict(detail),
        }
    }
}

/// Renders a mistake for programs. A line of 0 means that there was no text, only a tree.
pub(super) fn diagnostic(it: &Diagnostic) -> Value {
    let mut error = Map::new();
    error.insert("code".to_owned(), json!(it.code.to_string()));
    error.insert("path".to_owned(), json!(it.path));
    if it.line > 0 {
        error.insert("line".to_owned(), json!(it.line));
        error.insert("column".to_owned(), json!(it.column));
        error.insert("length".to_owned(), json!(it.length));
        error.insert("sourceLine".to_owned(), json!(it.source_line));
    }
    error.insert("reason".to_owned(), json!(it.reason));
    if let Some(help) = &it.help {
        error.insert("help".to_owned(), json!(help));
    }
    Value::Object(error)
}

fn cause(it: &Diagnostic) -> Value {
    json!({ "reason": "FieldValueInvalid", "field": it.path, "message": explained(it) })
}

fn sentence(it: &Diagnostic) -> String {
    if it.path.is_empty() { explained(it) } else { format!("{}: {}", it.path, explained(it)) }
}

fn explained(it: &Diagnostic) -> String {
    match &it.help {
        Some(help) => format!("{} [{}] ({help})", it.reason, it.code),
        None => format!("{} [{}]", it.reason, it.code),
    }
}
