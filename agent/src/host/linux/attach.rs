//! The engine's raw connection to a program: what is typed, and what it prints.
//!
//! Not by the engine's client, which takes what a terminal prints for frames when it begins with a small byte.

use std::io;

use bollard::{Docker as Client, query_parameters::ResizeExecOptionsBuilder};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
};

use super::error;
use crate::{
    console::{Input, Output},
    host::HostError,
};

/// The most that is read at once.
const CHUNK: usize = 16 << 10;
/// The longest refusal that is read.
const REFUSAL: usize = 64 << 10;

/// Starts a program that was made ready, and returns the connection to it.
pub(super) async fn start(socket: &str, exec: &str, terminal: bool) -> Result<TokioIo<Upgraded>, HostError> {
    let lost = |error: &dyn std::fmt::Display| error::unavailable(&error.to_string());
    let stream = UnixStream::connect(socket).await.map_err(|error| lost(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
    // Ends when the connection is taken over, or with the answer.
    tokio::spawn(connection.with_upgrades());
    let request = Request::post(format!("/exec/{exec}/start"))
        .header(header::HOST, "docker")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(json!({ "Detach": false, "Tty": terminal }).to_string())))
        .map_err(|error| lost(&error))?;
    let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return hyper::upgrade::on(response).await.map(TokioIo::new).map_err(|error| lost(&error));
    }
    let refusal = Limited::new(response.into_body(), REFUSAL).collect().await.map_err(|error| lost(&error))?;
    let refusal: Value = serde_json::from_slice(&refusal.to_bytes()).unwrap_or_default();
    Err(error::answered(status.as_u16(), refusal["message"].as_str().unwrap_or("it does not start the program")))
}

/// Hands on what is typed, until nobody types any more.
pub(super) async fn typed(
    mut to: impl AsyncWrite + Unpin,
    mut input: mpsc::Receiver<Input>,
    client: &Client,
    exec: &str,
) {
    while let Some(input) = input.recv().await {
        let written = match input {
            Input::Bytes(bytes) => to.write_all(&bytes).await,
            Input::End => to.shutdown().await,
            Input::Size { columns, rows } => {
                resize(client, exec, columns, rows).await;
                Ok(())
            }
        };
        // The program reads no more; what it prints tells the rest.
        if written.is_err() {
            return;
        }
    }
}

/// Gives the terminal another size. A program that does not run yet, or no more, has none.
async fn resize(client: &Client, exec: &str, columns: u16, rows: u16) {
    let size = ResizeExecOptionsBuilder::new().w(columns.into()).h(rows.into()).build();
    if let Err(error) = client.resize_exec(exec, size).await {
        tracing::debug!(%error, "a terminal keeps its size");
    }
}

/// Hands on what a program prints, until it prints no more. Ends as well when nobody wants it any more.
pub(super) async fn printed(
    mut from: impl AsyncRead + Unpin,
    terminal: bool,
    to: &mpsc::Sender<Result<Output, HostError>>,
) -> io::Result<()> {
    if terminal {
        return pass(from, Output::Out, to).await;
    }
    while let Some((stream, length)) = head(&mut from).await? {
        let wrap = if stream == 2 { Output::Err } else { Output::Out };
        pass((&mut from).take(length.into()), wrap, to).await?;
    }
    Ok(())
}

/// Reads the head of a frame: the number of its stream, and how many bytes follow.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, u32)>> {
    let mut head = [0; 8];
    if from.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..]).await?;
    let [stream, _, _, _, length @ ..] = head;
    Ok(Some((stream, u32::from_be_bytes(length))))
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    wrap: fn(Bytes) -> Output,
    to: &mpsc::Sender<Result<Output, HostError>>,
) -> io::Result<()> {
    let mut chunk = BytesMut::new();
    loop {
        chunk.reserve(CHUNK);
        if from.read_buf(&mut chunk).await? == 0 {
            return Ok(());
        }
        to.send(Ok(wrap(chunk.split().freeze()))).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], terminal: bool) -> (io::Result<()>, Vec<Output>) {
        let (to, mut from) = mpsc::channel(16);
        let end = printed(bytes, terminal, &to).await;
        drop(to);
        let mut all = Vec::new();
        while let Some(output) = from.recv().await {
            all.push(output.unwrap());
        }
        (end, all)
    }

    #[tokio::test]
    async fn frames_are_told_apart_and_a_terminal_has_none() {
        let frames = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x00\x02\0\0\0\0\0\0\x01!";
        let (end, all) = read(frames, false).await;
        assert_eq!((end.is_ok(), all), (true, vec![Output::Out("hi".into()), Output::Err("!".into())]));
        let (end, all) = read(frames, true).await;
        assert_eq!((end.is_ok(), all), (true, vec![Output::Out(Bytes::from_static(frames))]));
    }

    #[tokio::test]
    async fn a_frame_that_lies_takes_no_room() {
        let (end, all) = read(b"\x01\0\0\0\xff\xff\xff\xffhi", false).await;
        assert_eq!((end.is_ok(), all), (true, vec![Output::Out("hi".into())]));
        assert!(read(b"\x01\0\0", false).await.0.is_err());
    }

    #[tokio::test]
    async fn nobody_who_listens_is_an_end() {
        let (to, from) = mpsc::channel(1);
        drop(from);
        assert!(printed(tokio::io::repeat(7), true, &to).await.is_err());
    }
}
