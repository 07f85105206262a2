//! The installer: a process of its own with the rights that it takes, and the way to it for the API.
//!
//! The daemon has no rights to devices, and needs none for this: on the image systemd listens at a socket that only root
//! reaches, and starts `piccolod installer` for each question. Who asks and goes away does not end what was begun.

mod kind;

use std::{
    fs::File,
    io::{BufRead, ErrorKind, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use piccolo_schema::{disk::Selector, install::Mirror};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{mpsc, watch},
    time::timeout,
};

use self::kind::Followed;
use crate::{
    api::{Installer, WipeTicket},
    clock,
    host::{Installs as _, linux::Stick},
    install::{Asked, Order, Tell, Told, install, offers, replace},
    manifests::Snapshot,
    store::{Event, Writer},
};

/// Where the installer of a stick is asked.
const SOCKET: &str = "/run/piccolo-installer.sock";
/// What it needs for itself, in memory.
const DIR: &str = "/run/piccolo-installer";
/// The longest question.
const LONGEST: u64 = 16 << 10;
/// The most that is told of one installation.
const MOST_TOLD: u64 = 16 << 20;
/// How long it may be silent: a large state is copied without a word.
const SILENCE: Duration = Duration::from_secs(3600);
/// How long one who listens may stand still before nothing more is told.
const STILL: Duration = Duration::from_secs(5);
/// How long it may take to look at all disks.
const LOOK: Duration = Duration::from_secs(120);

/// The way to the installer.
pub(super) struct Door {
    socket: PathBuf,
    followed: Followed,
    manifests: watch::Receiver<Arc<Snapshot>>,
    /// Where it is written down what becomes of the machine's own disks.
    journal: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Door {
    /// Returns it, for what these manifests ask for.
    pub(super) fn open(manifests: watch::Receiver<Arc<Snapshot>>, store: Arc<Writer>) -> Self {
        let journal = Arc::new(move |event| store.event(event));
        Self { socket: SOCKET.into(), followed: Followed::default(), manifests, journal }
    }

    async fn ask(&self, asked: &Asked) -> Result<BufReader<Take<OwnedReadHalf>>, String> {
        let none = |error: std::io::Error| match error.kind() {
            // Only on the image somebody listens there.
            ErrorKind::NotFound => match asked {
                Asked::Replace(_) => "this system was not installed from an image, so it does not lie on two disks",
                _ => "this system does not run from a stick, so there is nothing to be installed",
            }
            .to_owned(),
            _ => format!("the installer can't be reached ({error})"),
        };
        let (from, mut to) = UnixStream::connect(&self.socket).await.map_err(none)?.into_split();
        let line = format!("{}\n", json!(asked));
        to.write_all(line.as_bytes()).await.map_err(|error| format!("the installer does not listen ({error})"))?;
        // The other half stays open with this one: nothing is dropped before the answer.
        to.forget();
        Ok(BufReader::new(from.take(MOST_TOLD)))
    }

    /// Returns what is told of something that takes its time.
    async fn told(&self, asked: Asked) -> Result<BoxStream<'static, Value>, String> {
        let lines = self.ask(&asked).await?;
        let told = stream::unfold(Some(lines), |lines| async {
            let mut lines = lines?;
            match timeout(SILENCE, line(&mut lines)).await {
                Ok(Some(told)) => {
                    let is_last = told["complete"] == true || !told["refused"].is_null();
                    Some((told, (!is_last).then_some(lines)))
                }
                _ => Some((json!(Told::refused("the installer broke off; what it did is seen on the disk")), None)),
            }
        });
        Ok(told.boxed())
    }

    async fn answer(&self, asked: Asked) -> Result<Value, String> {
        let mut lines = self.ask(&asked).await?;
        let late = |_| "the installer does not answer".to_owned();
        let line = timeout(LOOK, line(&mut lines)).await.map_err(late)?;
        let answer = line.ok_or("the installer broke off")?;
        match answer["refused"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(answer),
        }
    }
}

impl Installer for Door {
    fn look(&self) -> BoxFuture<'_, Result<Value, String>> {
        self.answer(Asked::Look {}).boxed()
    }

    fn ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        self.answer(Asked::Ticket { disk: disk.to_owned(), serial: typed.to_owned() }).boxed()
    }

    fn install(&self, order: Order) -> BoxFuture<'_, Result<BoxStream<'static, Value>, String>> {
        self.told(Asked::Install(Box::new(order))).boxed()
    }

    fn replace(&self, with: Mirror) -> BoxFuture<'_, Result<BoxStream<'static, Value>, String>> {
        async move {
            let (journal, disk) = (Arc::clone(&self.journal), called(&with.select));
            let told = self.told(Asked::Replace(Box::new(with))).await?;
            Ok(heard(told, move |it| replacing(&disk, it).into_iter().for_each(|event| journal(event))))
        }
        .boxed()
    }
}

/// Returns all that is told, which is heard to its end whether somebody reads it or not: who goes away ends nothing.
fn heard(mut told: BoxStream<'static, Value>, hear: impl Fn(&Value) + Send + 'static) -> BoxStream<'static, Value> {
    let (to, from) = mpsc::channel(16);
    drop(tokio::spawn(async move {
        let mut to = Some(to);
        while let Some(it) = told.next().await {
            hear(&it);
            if let Some(reader) = &to
                && !matches!(timeout(STILL, reader.send(it)).await, Ok(Ok(())))
            {
                to = None;
            }
        }
    }));
    stream::unfold(from, |mut from| async { from.recv().await.map(|it| (it, from)) }).boxed()
}

/// Returns what a disk is called that was asked for.
fn called(select: &Selector) -> String {
    let known = [&select.serial, &select.wwn, &select.id, &select.model].into_iter().flatten().next();
    known.map_or_else(|| "that was chosen".to_owned(), Clone::clone)
}

/// Returns what is written down of a disk that takes the place of a lost one.
fn replacing(disk: &str, told: &Value) -> Option<Event> {
    if let Some(why) = told["refused"].as_str() {
        return Some(Event::new("DiskNotTakenIn", format!("the disk {disk} is not taken in: {why}")).warning());
    }
    if told["complete"] == true {
        return Some(Event::new(
            "DiskTakenIn",
            format!("the disk {disk} holds the system, and its half of the state is being filled"),
        ));
    }
    let begins = told["step"] == 1 && told["done"].is_null();
    begins.then(|| Event::new("DiskReplacing", format!("the disk {disk} is to take the place of a lost one of two")))
}

/// Reads one document.
async fn line(lines: &mut BufReader<Take<OwnedReadHalf>>) -> Option<Value> {
    let mut text = zeroize::Zeroizing::new(String::new());
    lines.read_line(&mut text).await.ok().filter(|length| *length > 0)?;
    serde_json::from_str(&text).ok()
}

/// Answers one question on standard input, for as long as it takes, whether somebody listens or not.
pub async fn installer() -> ExitCode {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LONGEST).read_line(&mut text);
    let asked = read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<Asked>(&text).map_err(|error| error.to_string()));
    let ear = Ear::new(std::io::stdout().as_fd().try_clone_to_owned().ok(), STILL);
    let answered = match asked {
        Err(why) => Err(format!("the question can't be understood ({why})")),
        Ok(asked) => answer(asked, Path::new(DIR), &ear).await,
    };
    match answered {
        Ok(last) => {
            ear.tell(&last);
            ExitCode::SUCCESS
        }
        Err(why) => {
            tracing::warn!(why, "nothing was done");
            ear.tell(&json!(Told::refused(why)));
            ExitCode::FAILURE
        }
    }
}

/// Returns the last line of the answer.
async fn answer(asked: Asked, dir: &Path, ear: &Ear) -> Result<Value, String> {
    let open = async || Stick::open(dir).await.map_err(|error| error.message);
    match asked {
        Asked::Look {} => {
            let offers = offers(&Stick::look(dir)).await.map_err(|why| why.to_string())?;
            Ok(json!({ "items": offers }))
        }
        Asked::Targets {} => {
            let stick = Stick::look(dir);
            if let Some(why) = stick.obstacle() {
                return Err(why);
            }
            let (targets, tickets) = (stick.targets().await, stick.tickets().await);
            let targets = targets.map_err(|error| error.message)?;
            Ok(json!({ "targets": targets, "tickets": tickets.map_err(|error| error.message)? }))
        }
        Asked::Ticket { disk, serial } => {
            let (disk, ticket) = open().await?.ticket(&disk, &serial).await.map_err(|error| error.message)?;
            let until = clock::text(ticket.until());
            Ok(json!(WipeTicket { ticket: ticket.ticket, name: disk.name(), holds: disk.content(), until }))
        }
        Asked::Install(order) => {
            let stick = open().await?;
            // Else what one left that was cut off would use the disk.
            stick.clear().await;
            told(ear, async |tell| install(&stick, &order, clock::now(), tell).await).await
        }
        Asked::Replace(with) => {
            let stick = open().await?;
            stick.clear().await;
            told(ear, async |tell| replace(&stick, &with, clock::now(), tell).await).await
        }
    }
}

/// Tells how far something is that takes its time, and returns the last that is told.
async fn told(ear: &Ear, work: impl AsyncFnOnce(&Tell<'_>)) -> Result<Value, String> {
    let told = Mutex::new(None);
    let hear = |it: Told| {
        if it.is_last() {
            if let Ok(mut told) = told.lock() {
                *told = Some(it);
            }
        } else {
            ear.tell(&json!(it));
        }
    };
    work(&hear).await;
    let last = told.into_inner().ok().flatten().unwrap_or_else(|| Told::refused("nothing was told"));
    match &last.refused {
        Some(why) => Err(why.clone()),
        None => Ok(json!(last)),
    }
}

/// Who asked, for as long as it listens: one that went away or stands still ends nothing, and delays nothing but once.
struct Ear(Mutex<Option<File>>);

impl Ear {
    fn new(out: Option<OwnedFd>, still: Duration) -> Self {
        if let Some(out) = &out {
            // What is no socket is a file or a terminal, and stands still for nobody.
            let _ = set_socket_timeout(out, Timeout::Send, Some(still));
        }
        Self(Mutex::new(out.map(File::from)))
    }

    /// Writes a line, if somebody listens.
    fn tell(&self, document: &Value) {
        let text = zeroize::Zeroizing::new(format!("{document}\n"));
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if out.as_mut().is_some_and(|it| it.write_all(text.as_bytes()).is_err()) {
            *out = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_becomes_of_a_disk_that_is_taken_in_is_written_down() {
        let written = |told: Value| replacing("A", &told).map(|it| format!("{it:?}"));
        let begun = written(json!({ "step": 1, "steps": 4, "text": "marking the disk" }));
        assert!(begun.unwrap().contains("the disk A is to take the place"));
        assert_eq!(written(json!({ "step": 2, "steps": 4, "done": 5, "total": 9 })), None);
        let ended = written(json!({ "step": 4, "steps": 4, "text": "done", "complete": true }));
        assert!(ended.unwrap().contains("DiskTakenIn"));
        assert!(
            written(json!({ "step": 0, "refused": "it is in use" })).unwrap().contains("not taken in: it is in use")
        );
    }

    #[tokio::test]
    async fn the_end_is_written_down_though_nobody_reads_it() {
        let told = || stream::iter((0..9).map(|step| json!({ "step": step }))).boxed();
        let (to, mut written) = mpsc::channel(16);
        let hear = move |it: &Value| to.try_send(it.clone()).unwrap();
        drop(heard(told(), hear.clone()));
        for step in 0..9 {
            assert_eq!(written.recv().await, Some(json!({ "step": step })));
        }
        assert_eq!(heard(told(), hear).count().await, 9);
    }

    #[test]
    fn a_disk_without_a_serial_number_has_a_name() {
        let wwn = Selector { wwn: Some("0x5000".to_owned()), ..Selector::default() };
        assert_eq!((called(&wwn), called(&Selector::default())), ("0x5000".to_owned(), "that was chosen".to_owned()));
    }

    #[test]
    fn one_who_stands_still_is_told_nothing_more() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let ear = Ear::new(Some(near.into()), Duration::from_millis(1));
        ear.tell(&json!({ "step": 1 }));
        let mut told = [0; 11];
        far.read_exact(&mut told).unwrap();
        assert_eq!(&told, b"{\"step\":1}\n");
        // More than any buffer holds, and nobody reads.
        let long = json!("x".repeat(1 << 20));
        (0..64).for_each(|_| ear.tell(&long));
        assert!(ear.0.lock().unwrap().is_none());
        Ear::new(None, STILL).tell(&long);
    }
}
