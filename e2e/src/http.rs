//! A client for the socket of the API: one request, one answer.

use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// Sends a request without a body, and returns the answer before its body is read.
///
/// # Errors
/// When nobody answers.
pub async fn send(socket: &Path, method: &str, path: &str) -> anyhow::Result<Response<Incoming>> {
    request(socket, method, path, "").await
}

/// Confirms a mass removal that is held; false when the confirmation is refused.
///
/// # Errors
/// When nobody answers.
pub async fn confirm(socket: &Path, id: &str) -> anyhow::Result<bool> {
    let body = serde_json::json!({ "id": id }).to_string();
    Ok(request(socket, "POST", "/confirm", &body).await?.status().is_success())
}

/// Puts a document in the place of another and returns its status once the answer is there.
///
/// # Errors
/// When nobody answers.
pub async fn put(socket: &Path, path: &str, document: &Value) -> anyhow::Result<StatusCode> {
    Ok(typed(socket, "PUT", path, "application/json", &document.to_string()).await?.status())
}

/// Merges this into a document and returns its status once the answer is there.
///
/// # Errors
/// When nobody answers.
pub async fn patch(socket: &Path, path: &str, change: &Value) -> anyhow::Result<StatusCode> {
    Ok(typed(socket, "PATCH", path, "application/merge-patch+json", &change.to_string()).await?.status())
}

async fn request(socket: &Path, method: &str, path: &str, body: &str) -> anyhow::Result<Response<Incoming>> {
    typed(socket, method, path, "application/json", body).await
}

async fn typed(socket: &Path, method: &str, path: &str, media: &str, body: &str) -> anyhow::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await.context("nobody answers at the socket")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", media)
        .body(Full::new(Bytes::from(body.to_owned())))?;
    Ok(sender.send_request(request).await?)
}

/// Gets a document.
///
/// # Errors
/// When there is none.
pub async fn get(socket: &Path, path: &str) -> anyhow::Result<Value> {
    let response = send(socket, "GET", path).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
    }
    serde_json::from_slice(&body).with_context(|| format!("{path} is no JSON"))
}

/// Gets a text, whatever the status of the answer.
///
/// # Errors
/// When nobody answers.
pub async fn text(socket: &Path, path: &str) -> anyhow::Result<String> {
    let body = send(socket, "GET", path).await?.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}
