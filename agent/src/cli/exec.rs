//! `piccolo exec`: a program in a container.

use std::{
    convert::Infallible,
    io::{ErrorKind, Read},
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt, stream::FuturesUnordered};
use piccolo_schema::Kind;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{client::Client, failure::Failure, screen::Screen, subject, terminal};
use crate::console::{
    Input,
    channel::{self, Channel},
};

/// Runs a program in a container and exits with its exit code.
///
/// It runs beside what runs there. It is ended when this command is, with all that it started: hung up as by a terminal that is closed, and killed if it goes on for ten seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo exec web -- cat /etc/hosts\n  piccolo exec -it web -- sh")]
pub(super) struct Args {
    /// The name of the container.
    name: String,
    /// Hands on what is typed, or comes through a pipe.
    #[arg(short = 'i', long = "stdin")]
    input: bool,
    /// Gives it a terminal.
    #[arg(short = 't', long = "tty")]
    terminal: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// The most that is read at once of what is typed.
const CHUNK: usize = 32 << 10;
/// What ends a command, and would leave a terminal behind that hands on every key.
const ENDS: [SignalKind; 4] =
    [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let name = args.name.strip_prefix("container/").unwrap_or(&args.name);
    let path = format!("{}/exec?{}", subject::path(Kind::Container, name), query(args));
    let (to, from) = client.open(&path, channel::PROTOCOL).await?.split();
    let keys = args.terminal && args.input;
    let ends = if keys { ends()? } else { Vec::new() };
    // However this is left, the terminal is then as it was.
    let _raw = keys.then(terminal::raw).flatten();
    let input = inputs(args)?;
    tokio::select! {
        ended = listen(from, client, screen) => ended,
        never = talk(to, input) => match never {},
        code = asked_to_end(ends) => Ok(code),
    }
}

fn ends() -> Result<Vec<(SignalKind, Signal)>, Failure> {
    ENDS.into_iter().map(|kind| Ok((kind, signal(kind).map_err(Failure::Output)?))).collect()
}

/// Waits for the first of these signals, and returns the exit code of a command that it ended.
async fn asked_to_end(ends: Vec<(SignalKind, Signal)>) -> u8 {
    let mut first: FuturesUnordered<_> = ends
        .into_iter()
        .map(async |(kind, mut signal)| {
            signal.recv().await;
            code(128 + i64::from(kind.as_raw_value()))
        })
        .collect();
    match first.next().await {
        Some(code) => code,
        None => std::future::pending().await,
    }
}

fn query(args: &Args) -> String {
    let mut query = format!("stdin={}&stdout=true&stderr={}&tty={}", args.input, !args.terminal, args.terminal);
    query.extend(args.command.iter().map(|word| format!("&command={}", subject::escape(word))));
    query
}

/// Prints what the program prints, and returns the code that it ended with.
async fn listen(
    mut from: impl Stream<Item = Result<Message, Error>> + Unpin,
    client: &Client,
    screen: &Screen,
) -> Result<u8, Failure> {
    while let Some(message) = from.next().await {
        let Message::Binary(message) = message.map_err(|error| client.garbled(&error))? else { continue };
        match Channel::read(message) {
            Some((Channel::Out, bytes)) => screen.data(&bytes)?,
            Some((Channel::Err, bytes)) => screen.complaint(&bytes)?,
            Some((Channel::Status, status)) => return channel::ended(&status).map(code).map_err(Failure::Program),
            _ => {}
        }
    }
    Err(client.garbled(&"it ended before the program did"))
}

/// Keeps what an exit code can say.
fn code(code: i64) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

/// Sends what is typed, and the size of the terminal whenever it changes. Whether it arrives is told by what is heard.
async fn talk(mut to: impl Sink<Message> + Unpin, mut input: mpsc::Receiver<Input>) -> Infallible {
    while let Some(input) = input.recv().await {
        if to.send(Message::Binary(input.message())).await.is_err() {
            break;
        }
    }
    std::future::pending().await
}

/// Reads what is typed and watches the terminal, as far as the program wants it. One message at a time waits to be sent.
fn inputs(args: &Args) -> Result<mpsc::Receiver<Input>, Failure> {
    let (say, said) = mpsc::channel(1);
    if args.terminal {
        let changes = signal(SignalKind::window_change()).map_err(Failure::Output)?;
        tokio::spawn(sizes(changes, say.clone()));
    }
    if args.input {
        // A thread that nobody waits for: a read from a terminal can't be given up.
        std::thread::spawn(move || typed(&say));
    }
    Ok(said)
}

async fn sizes(mut changes: Signal, say: mpsc::Sender<Input>) {
    loop {
        let size = terminal::size().map(|size| Input::Size { columns: size.columns, rows: size.rows });
        if let Some(size) = size
            && say.send(size).await.is_err()
        {
            return;
        }
        changes.recv().await;
    }
}

fn typed(say: &mpsc::Sender<Input>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let input = match std::io::stdin().lock().read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => Input::End,
            Ok(length) => Input::Bytes(Bytes::copy_from_slice(&chunk[..length])),
        };
        if say.blocking_send(input.clone()).is_err() || input == Input::End {
            return;
        }
    }
}
