//! Programs that people run in containers, over a web socket with the words of `kubectl exec`.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{
        Path, Query, State as Extract,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{StatusCode, Uri},
    response::Response,
};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt, stream::BoxStream};
use piccolo_schema::{Kind, Role};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{State, fault::Fault, lookup, params::Params, stream::Ending};
use crate::access::Caller;
use crate::console::{Input, Output, Program, channel, channel::Channel};

/// The most programs at a time.
const SESSIONS: usize = 32;
/// The largest message that is taken.
const MESSAGE: usize = 1 << 20;
/// How often a person is asked whether they are still there: one who is gone is seen by it even when the program reads
/// nothing and prints nothing.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a person has to hear the last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// The places for programs.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SESSIONS)))
    }
}

pub(super) async fn run(
    Extract(state): Extract<State>,
    Path((plural, name)): Path<(String, String)>,
    (Extension(places), Extension(caller)): (Extension<Places>, Extension<Caller>),
    uri: Uri,
    params: Params,
    ending: Ending,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Fault> {
    let id = lookup::container(&state, &plural, &name)?;
    may_run(&state, &name, caller.role)?;
    let program = program(&uri, &params)?;
    let upgrade = upgrade.map_err(|_| no_socket())?.protocols([channel::PROTOCOL, channel::OLDER]);
    if upgrade.selected_protocol().is_none() {
        return Err(no_socket());
    }
    let place = places.0.try_acquire_owned().map_err(|_| {
        Fault::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", format!("{SESSIONS} programs are run already"))
    })?;
    // What is run may hold secrets, so only that it is run is told.
    tracing::info!(container = name, terminal = program.terminal, "a person runs a program");
    let upgrade = upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE);
    Ok(upgrade.on_upgrade(async move |socket| {
        let (input, typed) = mpsc::channel(1);
        let output = state.shells.run(&id, program, typed);
        converse(socket, input, output, &ending).await;
        drop(place);
    }))
}

/// Refuses a program in a container that is as good as root on the machine to whoever may not declare one.
fn may_run(state: &State, name: &str, role: Role) -> Result<(), Fault> {
    let snapshot = state.manifests.snapshot();
    let needs = snapshot.declared.get(&(Kind::Container, name.to_owned())).map_or(Role::Admin, |it| it.manifest.role());
    if role >= needs {
        return Ok(());
    }
    let detail = format!("a program in `{name}` needs the role {needs}: it is as good as root on this machine");
    Err(Fault::new(StatusCode::FORBIDDEN, "Forbidden", detail).about(Kind::Container, name))
}

fn program(uri: &Uri, params: &Params) -> Result<Program, Fault> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).unwrap_or_default();
    let words: Vec<_> = pairs.into_iter().filter(|(key, _)| key == "command").map(|(_, word)| word).collect();
    if words.is_empty() {
        return Err(Fault::bad_request("say which program to run: command=…, once for each word"));
    }
    Ok(Program { words, input: params.flag("stdin")?, terminal: params.flag("tty")? })
}

fn no_socket() -> Fault {
    let detail = format!("programs are run over a web socket that speaks {}", channel::PROTOCOL);
    Fault::new(StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", detail)
        .help("use `piccolo exec`, or kubectl 1.31 or newer")
}

/// Hands on what is typed and printed until the program ends, the person leaves, or the server stops. Dropped, the
/// program is hung up.
async fn converse(
    socket: WebSocket,
    input: mpsc::Sender<Input>,
    output: BoxStream<'static, Result<Output, String>>,
    ending: &Ending,
) {
    let _held = ending.hold();
    let (to, from) = socket.split();
    let mut hears = pin!(hear(from, input));
    tokio::select! {
        () = &mut hears => return,
        told = tell(to, output, ending) => if told.is_err() { return },
        // Who does not listen does not hear of the end either.
        () = cut(ending) => return,
    }
    // The connection is cut if anything that was sent is left unread, and takes the last words with it.
    let _ = timeout(FAREWELL, hears).await;
}

async fn cut(ending: &Ending) {
    ending.stopped().await;
    sleep(FAREWELL).await;
}

/// Takes what is typed, no faster than the program does, until the person leaves.
async fn hear(mut from: impl Stream<Item = Result<Message, axum::Error>> + Unpin, input: mpsc::Sender<Input>) {
    while let Some(Ok(message)) = from.next().await {
        if let Message::Binary(message) = message
            && let Some(said) = Input::read(message)
        {
            // A program that reads no more does not mind.
            let _ = input.send(said).await;
        }
    }
}

/// Tells what is printed, no faster than the person takes it, and how it ended.
async fn tell(
    mut to: impl Sink<Message, Error = axum::Error> + Unpin,
    output: BoxStream<'static, Result<Output, String>>,
    ending: &Ending,
) -> Result<(), axum::Error> {
    let mut output = pin!(output.take_until(ending.stopped()));
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        let printed = tokio::select! {
            printed = output.next() => printed,
            _ = heartbeat.tick() => {
                to.send(Message::Ping(Bytes::new())).await?;
                continue;
            }
        };
        match printed {
            Some(Ok(Output::Out(bytes))) => to.send(Message::Binary(Channel::Out.message(&bytes))).await?,
            Some(Ok(Output::Err(bytes))) => to.send(Message::Binary(Channel::Err.message(&bytes))).await?,
            Some(Ok(Output::Ended(code))) => break Ok(code),
            Some(Err(why)) => break Err(why),
            None => break Err(ending.why().to_owned()),
        }
    };
    let status = channel::status(&ended).to_string();
    to.send(Message::Binary(Channel::Status.message(status.as_bytes()))).await?;
    to.send(Message::Close(None)).await
}
