//! What runs on the machine of the tests: containers that print and are measured, programs in them, a link, images.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream};
use jiff::Timestamp;
use piccolo_agent::{
    api::{Archives, Arrival, Gauges, Logs, Nets, Shells, Strangers, Unconfirmed},
    archive::{Arrived, Outgoing},
    capture::{self, Capture, Captured, Found},
    console::{Excerpt, Input, Output, Program, Usage},
};
use piccolo_schema::ContainerSpec;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

/// Printed one line at six and one at seven; with `follow` nothing more, forever. One called `brief-5` printed one line,
/// at five minutes past eight, and has ended.
pub(super) struct Greeting;

impl Logs for Greeting {
    fn read(&self, container: &str, part: &Excerpt) -> BoxStream<'static, Result<Bytes, String>> {
        if container == "mute" {
            return stream::iter([Err("the engine has no log of it".to_owned())]).boxed();
        }
        let brief = container.strip_prefix("brief-").map(|minute| format!("2026-01-01T08:0{minute}:00.000000001Z"));
        let lines = match &brief {
            Some(time) => vec![(time.as_str(), "says so")],
            None => vec![("2026-01-01T06:00:00Z", "starts"), ("2026-01-01T07:00:00Z", "is up")],
        };
        let within = |time: &str| {
            let time = time.parse().unwrap();
            part.since.is_none_or(|since| since <= time) && part.until.is_none_or(|until| time <= until)
        };
        let lines: Vec<_> = lines.into_iter().filter(|(time, _)| within(time)).collect();
        let skip = lines.len().saturating_sub(part.tail.map_or(usize::MAX, |tail| tail as usize));
        let time = |time| if part.timestamps { format!("{time} ") } else { String::new() };
        let print = |(at, text)| Ok(Bytes::from(format!("{}{container} {text}\n", time(at))));
        let printed: Vec<_> = lines.into_iter().skip(skip).map(print).collect();
        let goes_on = part.follow && brief.is_none();
        if goes_on { stream::iter(printed).chain(stream::pending()).boxed() } else { stream::iter(printed).boxed() }
    }
}

/// Runs programs: `cat` says what is typed, `size` how large the terminal is, `fail` ends badly, `refused` is not run,
/// `flood` prints without end, and `sleep` does nothing and reads nothing.
#[derive(Default)]
pub(crate) struct Parrot {
    /// How often the flood was let through.
    pub(crate) waves: Arc<AtomicU32>,
    /// Told when a program is left before its end.
    pub(crate) left: Arc<Notify>,
}

pub(super) struct Leaving(Arc<Notify>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Shells for Parrot {
    fn run(
        &self,
        _: &str,
        program: Program,
        input: mpsc::Receiver<Input>,
    ) -> BoxStream<'static, Result<Output, String>> {
        let leaving = Leaving(Arc::clone(&self.left));
        let waves = Arc::clone(&self.waves);
        match program.words[0].as_str() {
            "cat" => stream::unfold(Some(input), async |input| {
                let mut input = input?;
                match input.recv().await? {
                    Input::Bytes(bytes) => Some((Ok(Output::Out(bytes)), Some(input))),
                    _ => Some((Ok(Output::Ended(0)), None)),
                }
            })
            .boxed(),
            "size" => stream::unfold(Some(input), async |input| match input?.recv().await? {
                Input::Size { columns, rows } => Some((Ok(Output::Out(format!("{columns}x{rows}").into())), None)),
                other => panic!("{other:?}"),
            })
            .chain(stream::iter([Ok(Output::Ended(0))]))
            .boxed(),
            "fail" => {
                let words = program.words[1..].join(" ");
                stream::iter([Ok(Output::Err(words.into())), Ok(Output::Ended(3))]).boxed()
            }
            "refused" => stream::iter([Err("It is frozen".to_owned())]).boxed(),
            "flood" => stream::repeat_with(move || {
                waves.fetch_add(1, Ordering::Relaxed);
                Ok(Output::Out(Bytes::from_static(&[7; 16 << 10])))
            })
            .boxed(),
            _ => stream::pending()
                .chain(stream::once(async move {
                    drop((leaving, input));
                    Ok(Output::Ended(0))
                }))
                .boxed(),
        }
    }
}

/// Counts on by a second, and a quarter of one that was spent, whenever it is asked.
#[derive(Default)]
pub(super) struct Meter(AtomicU32);

/// A machine with one link, on which nothing is tried.
#[derive(Default)]
pub(crate) struct Wires {
    /// The Link that is on trial.
    pub(crate) tried: Mutex<Option<&'static str>>,
}

impl Nets for Wires {
    fn show(&self) -> BoxFuture<'_, Result<Value, String>> {
        let device = json!({
            "name": "enp3s0", "declaredBy": "lan", "up": true, "carrier": true, "addresses": ["192.168.1.10/24"],
            "routes": [{ "to": "0.0.0.0/0", "via": "192.168.1.1", "metric": 0 }],
        });
        let trial = self
            .tried
            .lock()
            .unwrap()
            .map(|link| json!({ "id": "net-1", "tried": { link: "new" }, "secondsLeft": 60 }));
        let all = match trial {
            Some(trial) => json!({ "items": [device], "trial": trial }),
            None => json!({ "items": [device] }),
        };
        Box::pin(async move { Ok(all) })
    }

    fn confirm<'a>(
        &'a self,
        trial: Option<&'a str>,
        arrival: Option<Arrival>,
    ) -> BoxFuture<'a, Result<(), Unconfirmed>> {
        // Whoever asks over the machine's own socket proves nothing.
        let is_proof = trial == Some("net-1") && arrival.is_some();
        let confirmed = self.tried.lock().unwrap().take_if(|_| is_proof).is_some();
        let none = || Unconfirmed::Refused("No change of links waits to be confirmed".to_owned());
        Box::pin(async move { confirmed.then_some(()).ok_or_else(none) })
    }

    fn retry(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

impl Gauges for Meter {
    fn usage<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Usage, String>> {
        let seconds = self.0.fetch_add(1, Ordering::Relaxed);
        let usage = Usage {
            at: "2026-01-01T06:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds.into()),
            processor_nanoseconds: 250_000_000 * u64::from(seconds),
            memory_bytes: 3 << 20,
            memory_limit_bytes: 1 << 30,
            received_bytes: 10,
            sent_bytes: 20,
            read_bytes: 30,
            written_bytes: 40,
            tasks: 5,
        };
        Box::pin(async move { if container == "mute" { Err("It does not run".to_owned()) } else { Ok(usage) } })
    }
}

/// Has one image, and takes in what says that it is one.
pub(super) struct Shed;

impl Archives for Shed {
    fn export<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Outgoing>, String>> {
        let bytes = stream::iter([Ok(Bytes::from_static(b"arch")), Ok(Bytes::from_static(b"ive"))]).boxed();
        let outgoing = Outgoing { size: 7, digest: "sha256:a".to_owned(), bytes };
        Box::pin(async move { Ok((reference == "app:1").then_some(outgoing)) })
    }

    fn import<'a>(
        &'a self,
        bytes: BoxStream<'a, io::Result<Bytes>>,
        name: Option<String>,
    ) -> BoxFuture<'a, Result<Vec<Arrived>, String>> {
        Box::pin(async move {
            let all = bytes.try_fold(Vec::new(), async |mut all, part| {
                all.extend(part);
                Ok(all)
            });
            match all.await {
                Ok(all) if all.starts_with(b"archive") => {
                    let name = name.unwrap_or_else(|| format!("app:{}", all.len()));
                    Ok(vec![Arrived { name, image_id: "sha256:b".to_owned(), digest: None }])
                }
                _ => Err("The archive can't be used: it is no tar".to_owned()),
            }
        })
    }
}

/// Runs one container beside ours.
pub(super) struct Neighbour;

pub(super) fn their_web() -> Found {
    let seen = json!({ "Id": "1f", "Name": "/their_web", "Image": "sha256:1", "State": { "Status": "running" },
        "Config": { "Image": "nginx:1.27", "Env": ["ADMIN_PASSWORD=hunter2"], "Tty": true },
        "HostConfig": { "NetworkMode": "bridge" } });
    Found { containers: vec![seen], ..Found::default() }
}

impl Strangers for Neighbour {
    fn capture(&self) -> BoxFuture<'_, Result<Capture, String>> {
        Box::pin(async { Ok(capture::all(&their_web())) })
    }

    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Captured>, String>> {
        let found = their_web();
        let captured = capture::container(&found.containers[0], &found);
        Box::pin(async move { Ok(Some(captured).filter(|it| it.called == name)) })
    }

    fn rename<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn adopt<'a>(&'a self, _: &'a str, _: &'a str, _: ContainerSpec) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}
