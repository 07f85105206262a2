//! Measures the daemon beside the floor, in the same run on the same engine, and prints a table. Asserts nothing.
//! Usage: `bench [start] [converge] [edit] [downtime] [push] [tls] [idle]`; all when none is named.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "it prints a table, writes manifests as an editor does, and runs once"
)]

use std::{
    collections::BTreeSet,
    collections::HashMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use piccolo_agent::{
    host::{
        Engine as _, GroundPlaces,
        linux::{Declared, Docker, Followed, Footing, Memory, Updater, Vault},
    },
    reconcile::{Reconciler, container::Containers},
    secrets::Identity,
};
use piccolo_e2e::{
    Engine, Machine, PATIENCE, container, downtime,
    floor::{Floor, SIDE_BY_SIDE, spec},
    image,
    latency::{self, Measured, Way, resident},
    machine::story,
    pushes, sleeper,
};
use piccolo_schema::{Container, Desired};
use tokio::sync::watch;

/// Rounds of a converge of 20; the one of 100 takes a third of them.
const ROUNDS: usize = 3;
/// How long a machine is left alone between two tries of something small.
const QUIET: Duration = Duration::from_secs(2);
/// Tries of everything small.
const TRIES: usize = 7;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, how, socket] = words.as_slice()
        && word == "front"
    {
        return latency::front(how, socket.into()).await;
    }
    let engine = Engine::connect().await?;
    let vault = Vault::new("/run/piccolo/secrets".into(), Ok(Identity::generate()));
    let declared = watch::channel(Declared::default()).1;
    let state = "/var/lib/piccolo".as_ref();
    let memory = Memory::open(state, watch::channel(BTreeSet::new()).1)?;
    let floor = Floor(Docker::open(&std::env::var("DOCKER_HOST")?, vault, memory, declared, state)?);
    floor.0.pull(&image("1")?).await?;
    println!("| what | piccolo | floor | bar | |\n|---|---|---|---|---|");
    let wanted = |part: &str| words.is_empty() || words.iter().any(|it| it == part);
    if wanted("start") {
        start().await?;
    }
    for count in [20, 100].into_iter().filter(|_| wanted("converge")) {
        story(&engine, converge(&engine, &floor, count)).await?;
    }
    if wanted("edit") {
        story(&engine, one_of_a_hundred(&engine, &floor)).await?;
    }
    if wanted("downtime") {
        story(&engine, downtimes(&engine)).await?;
    }
    if wanted("push") {
        push().await?;
    }
    if wanted("tls") {
        tls().await?;
    }
    if wanted("idle") {
        story(&engine, idle(&engine)).await?;
    }
    Ok(())
}

/// Prints a row of milliseconds.
fn row(what: &str, ours: &mut [f64], floor: &mut [f64], bar: &str, good: impl Fn(f64, f64) -> bool) {
    let (ours, floor) = (median(ours), median(floor));
    let verdict = if good(ours, floor) { "kept" } else { "missed" };
    println!("| {what} | {ours:.0} ms | {floor:.0} ms | {bar} | {verdict} ({:.2}x) |", ours / floor);
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

async fn start() -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let mut machine = Machine::new()?;
        let start = Instant::now();
        machine.start().await?;
        times.push(millis(start));
        machine.stop().await?;
    }
    let ours = median(&mut times);
    let verdict = if ours <= 200.0 { "kept" } else { "missed" };
    println!("| start to API answering | {ours:.0} ms | | ≤ 200 ms | {verdict} |");
    Ok(())
}

async fn converge(engine: &Engine, floor: &Floor, count: usize) -> anyhow::Result<()> {
    let wanted = wanted(count)?;
    let specs =
        wanted.iter().map(|(name, text)| Ok((name.clone(), spec(text)?))).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut ours, mut theirs) = (Vec::new(), SIDE_BY_SIDE.map(|hands| (hands, Vec::new())));
    for _ in 0..(ROUNDS * 20 / count).max(2) {
        for (hands, times) in &mut theirs {
            let starts = tokio::spawn(starts(engine.clone(), count));
            let begin = Instant::now();
            floor.converge(&specs, *hands).await?;
            starts.await??;
            times.push(millis(begin));
            engine.clear().await?;
        }

        let mut machine = Machine::new()?;
        machine.start().await?;
        let starts = tokio::spawn(starts(engine.clone(), count));
        let begin = drop_in(&machine, &wanted)?;
        starts.await??;
        ours.push(millis(begin));
        machine.stop().await?;
        engine.clear().await?;
    }
    let mut best = theirs.map(|(_, mut times)| median(&mut times));
    best.sort_by(f64::total_cmp);
    row(&format!("converge {count}"), &mut ours, &mut best[..1], "≤ 1.05x", |ours, floor| ours <= 1.05 * floor);
    Ok(())
}

async fn one_of_a_hundred(engine: &Engine, floor: &Floor) -> anyhow::Result<()> {
    let wanted = wanted(100)?;
    let mut machine = Machine::new()?;
    machine.start().await?;
    drop_in(&machine, &wanted)?;
    machine.until_settled().await?;
    passes(floor, &wanted).await?;

    let changed = |round: usize| sleeper("c-050", &format!("env = {{ ROUND = \"{round}\" }}"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..TRIES {
        let one = tokio::spawn(starts(engine.clone(), 1));
        let begin = Instant::now();
        fs::write(machine.path(".next"), changed(round)?)?;
        fs::rename(machine.path(".next"), machine.path("all/c-050.toml"))?;
        one.await??;
        ours.push(millis(begin));
        machine.until_settled().await?;
    }
    let mut repairs = Vec::new();
    for number in 60..60 + TRIES {
        // The looks that follow the last start are not to fall into this removal, as they would on no quiet machine.
        tokio::time::sleep(QUIET).await;
        engine.remove(&format!("c-{number:03}")).await?;
        let begin = Instant::now();
        starts(engine.clone(), 1).await?;
        repairs.push(millis(begin));
        machine.until_settled().await?;
    }
    machine.stop().await?;
    let mut remakes = Vec::new();
    for round in 0..TRIES {
        let one = tokio::spawn(starts(engine.clone(), 1));
        let begin = Instant::now();
        floor.replace("c-050", &spec(&changed(round + 100)?)?).await?;
        one.await??;
        theirs.push(millis(begin));
        tokio::time::sleep(QUIET).await;
        engine.remove("c-060").await?;
        let begin = Instant::now();
        floor.make("c-060", &spec(&sleeper("c-060", "")?)?).await?;
        remakes.push(millis(begin));
    }
    let bar = |ours: f64, floor: f64| ours <= floor + 100.0;
    row("edit one of 100 to running", &mut ours, &mut theirs, "≤ floor + 100 ms", bar);
    row("repair after a removal, of 100", &mut repairs, &mut remakes, "≤ floor + 100 ms", bar);
    Ok(())
}

/// A pass that finds nothing to do, in this process, beside one list call.
async fn passes(floor: &Floor, wanted: &[(String, String)]) -> anyhow::Result<()> {
    let room = tempfile::tempdir()?;
    let nothing = watch::channel(Followed::default()).1;
    let footing = Arc::new(Footing::open(room.path(), watch::channel(GroundPlaces::default()).1));
    let reconciler = Containers(floor.0.clone(), Updater::open(floor.0.clone(), room.path(), nothing)?, footing);
    let specs = wanted.iter().map(|(name, text)| Ok(Container::new(name, spec(text)?)));
    let desired = Desired::complete(specs.collect::<anyhow::Result<Vec<_>>>()?);
    let client = Engine::connect().await?;
    let options = || bollard::query_parameters::ListContainersOptionsBuilder::new().all(true).build();
    let (mut ours, mut lists) = (Vec::new(), Vec::new());
    reconciler.observe().await?;
    for _ in 0..30 {
        let begin = Instant::now();
        let observed = reconciler.observe().await?;
        let plan = Containers::<Docker, Updater, Footing>::plan(&desired, &observed);
        let reports = Containers::<Docker, Updater, Footing>::report(&desired.manifests, &observed);
        ours.push(millis(begin));
        anyhow::ensure!(plan.is_settled() && reports.len() == 100, "{:?}", plan.steps.first().map(ToString::to_string));
        let begin = Instant::now();
        client.0.list_containers(Some(options())).await?;
        lists.push(millis(begin));
    }
    row("pass with nothing to do, of 100", &mut ours, &mut lists, "≤ 2x a list call", |ours, list| {
        ours <= 2.0 * list
    });
    Ok(())
}

/// Another image, which is not here yet, beside a stop, a make and a start by hand with everything here.
async fn downtimes(engine: &Engine) -> anyhow::Result<()> {
    let mut machine = Machine::new()?;
    machine.start().await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for tag in ["1", "2"].into_iter().cycle().take(TRIES + 1) {
        let image = image(tag)?;
        // There is nothing to remove in the first round.
        let _ = engine.0.remove_image(&image, None::<bollard::query_parameters::RemoveImageOptions>, None).await;
        let begin = jiff::Timestamp::now();
        machine.write(
            "app.toml",
            &container("app", &image, "command = [\"sleep\", \"1000000\"]\nstopSignal = \"SIGKILL\""),
        )?;
        let runs = async || engine.inspect("app").await.is_some_and(|it| it.image == image && it.state == "running");
        machine.until("it runs the image", runs).await?;
        machine.until_settled().await?;
        if let Ok(downtime) = downtime::since(engine, begin, "app").await {
            ours.push(downtime);
        }
        tokio::time::sleep(QUIET).await;
        theirs.push(downtime::by_hand(engine, &image).await?);
    }
    machine.stop().await?;
    anyhow::ensure!(ours.len() == TRIES, "{} downtimes were seen", ours.len());
    row("downtime of another image", &mut ours, &mut theirs, "≤ 1.2x", |ours, floor| ours <= 1.2 * floor);
    Ok(())
}

/// One change among a thousand manifests, with its plan, beside a push to a repository alone.
async fn push() -> anyhow::Result<()> {
    let (ours, floor) = pushes::times(1000, TRIES).await?;
    let millis = |times: Vec<Duration>| times.iter().map(|time| time.as_secs_f64() * 1000.0).collect::<Vec<_>>();
    row("push one of 1,000", &mut millis(ours), &mut millis(floor), "≤ 1 s", |ours, _| ours <= 1000.0);
    Ok(())
}

/// What it costs to ask over a network, and what a process before the daemon would add. What TLS adds to a connection over
/// TCP is measured by the bench `tls` of the agent, as the daemon has no door over TCP without it.
async fn tls() -> anyhow::Result<()> {
    let all = latency::measure().await?;
    let micros = |it: Duration| it.as_secs_f64() * 1e6;
    let floor = micros(all.first().context("the socket")?.latency[0]);
    for Measured { way, latency: [median, late], resident } in all {
        let what = match way {
            Way::Socket => continue,
            Way::Tls => "a small GET over TCP and TLS, beside the socket",
            Way::Bytes => "the same, TLS in a process of its own",
            Way::Requests => "the same, TLS and HTTP in a process of its own",
        };
        let (times, memory) = (micros(median) / floor, resident.map(|it| format!(", {it:.1} MB")));
        let late = micros(late);
        let memory = memory.unwrap_or_default();
        println!(
            "| {what} | {:.0} µs | {floor:.0} µs | | measured ({times:.2}x, 99 %: {late:.0} µs{memory}) |",
            micros(median)
        );
    }
    Ok(())
}

async fn idle(engine: &Engine) -> anyhow::Result<()> {
    let mut machine = Machine::new()?;
    machine.start().await?;
    drop_in(&machine, &wanted(50)?)?;
    machine.until_settled().await?;
    machine.stop().await?;
    // A daemon that has only watched for a while, with nobody listening to it.
    machine.start_unheard().await?;
    machine.until_settled().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let pid = machine.pid().context("it runs")?;
    let before = cpu(pid)?;
    let window = Duration::from_secs(60);
    tokio::time::sleep(window).await;
    let percent = (cpu(pid)? - before) / window.as_secs_f64() * 100.0;
    let resident = resident(pid)?;
    let verdict = |good: bool| if good { "kept" } else { "missed" };
    println!("| resident memory, idle with 50 | {resident:.1} MB | | ≤ 20 MB | {} |", verdict(resident <= 20.0));
    println!("| processor, idle with 50 | {percent:.2} % | | ≤ 0.1 % | {} |", verdict(percent <= 0.1));
    anyhow::ensure!(engine.ours().await?.len() == 50);
    machine.stop().await
}

/// Returns what a process has used of a processor, in seconds.
fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum();
    // The kernel counts in hundredths of a second for every program.
    Ok(ticks / 100.0)
}

/// Returns this many manifests by name.
fn wanted(count: usize) -> anyhow::Result<Vec<(String, String)>> {
    (0..count).map(|number| format!("c-{number:03}")).map(|name| Ok((name.clone(), sleeper(&name, "")?))).collect()
}

/// Gives a machine all its manifests at one instant, and returns that.
fn drop_in(machine: &Machine, wanted: &[(String, String)]) -> anyhow::Result<Instant> {
    let aside = machine.state().join("all");
    fs::create_dir_all(&aside)?;
    for (name, text) in wanted {
        fs::write(aside.join(format!("{name}.toml")), text)?;
    }
    let begin = Instant::now();
    fs::rename(aside, machine.path("all"))?;
    Ok(begin)
}

/// Waits for this many starts of containers, as the engine tells them.
async fn starts(engine: Engine, count: usize) -> anyhow::Result<()> {
    let filters = HashMap::from([("type", vec!["container"]), ("event", vec!["start"])]);
    let options = EventsOptionsBuilder::new().filters(&filters).build();
    let events = engine.0.events(Some(options)).take(count).for_each(async |_| {});
    tokio::time::timeout(PATIENCE * 3, events).await.context("containers did not start")
}
