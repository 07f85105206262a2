//! The daemon is killed while something comes in by a door: what is there afterwards is old or new, never a mixture, and the
//! history says the same as the files. Nothing is to be run here.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use piccolo_e2e::{Machine, container, http};
use serde_json::json;
use tempfile::TempDir;

use crate::push::{git, words};

/// How often the daemon is killed at each door.
const KILLS: u32 = 100;
/// The manifests of a set that is pushed.
const FILES: u32 = 10;
/// The lines of one manifest that change together.
const LINES: u32 = 200;

/// What was there after a kill.
#[derive(Default)]
struct Outcomes {
    old: u32,
    /// The new one, which nobody was told of.
    unheard: u32,
    new: u32,
}

impl Outcomes {
    fn count(&mut self, is_new: bool, is_told: bool) {
        let one = match (is_new, is_told) {
            (false, _) => &mut self.old,
            (true, false) => &mut self.unheard,
            (true, true) => &mut self.new,
        };
        *one += 1;
    }

    fn tell(&self, door: &str) {
        let Self { old, unheard, new } = self;
        println!("{KILLS} kills in {door}: {old} times the old, {unheard} times the new unheard, {new} times the new");
    }
}

#[tokio::test]
async fn a_push_brings_the_old_set_or_the_new_one() -> anyhow::Result<()> {
    let mut machine = machine().await?;
    let clone = TempDir::new()?;
    let repository = repository(&machine);
    // The first revision is made beside all else.
    let cloned = async || {
        let said = git(clone.path(), &["clone", "--quiet", &repository, "."]).await;
        said.is_ok_and(|it| it.status.success())
    };
    machine.until("it can be cloned", cloned).await?;
    let push = ["push", "--quiet", &repository, "HEAD:refs/heads/main"];
    let mut old = (0, save_set(clone.path(), 0).await?);
    let begin = Instant::now();
    ensure!(git(clone.path(), &push).await?.status.success(), "the first push");
    let (time, mut outcomes) = (begin.elapsed(), Outcomes::default());
    for round in 1..=KILLS {
        let new = (round, save_set(clone.path(), round).await?);
        let (said, killed) = tokio::join!(git(clone.path(), &push), kill_within(&mut machine, time));
        killed?;
        machine.start_unheard().await.with_context(|| format!("round {round}"))?;
        let head = head(&machine).await?;
        let is_new = head == new.1;
        ensure!(is_new || head == old.1, "round {round}: the history goes on from {head}, not from {old:?} or {new:?}");
        let there = if is_new { new } else { old };
        let set = set(&machine)?;
        ensure!(set == [there.0].into(), "round {round}: the files say {set:?}, the history {}", there.0);
        let is_told = said?.status.success();
        ensure!(is_new || !is_told, "round {round}: what was told to be taken is lost");
        outcomes.count(is_new, is_told);
        if !is_new {
            git(clone.path(), &["reset", "--quiet", "--hard", &head]).await?;
        }
        old = there;
    }
    outcomes.tell("a push");
    machine.stop().await
}

#[tokio::test]
async fn a_put_brings_the_old_manifest_or_the_new_one() -> anyhow::Result<()> {
    let mut machine = machine().await?;
    let socket = machine.socket();
    machine.write("web.toml", &manifest(0))?;
    head(&machine).await?;
    let path = "/apis/piccolo.os/v1alpha1/containers/web";
    machine.until("the first is seen", async || machine.get(path).await.is_ok()).await?;
    let begin = Instant::now();
    ensure!(http::put(&socket, path, &document(1)).await?.is_success(), "the first");
    let (time, mut outcomes, mut old) = (begin.elapsed(), Outcomes::default(), 1);
    for round in 2..KILLS + 2 {
        let wanted = document(round);
        let (said, killed) = tokio::join!(http::put(&socket, path, &wanted), kill_within(&mut machine, time));
        killed?;
        machine.start_unheard().await.with_context(|| format!("round {round}"))?;
        let there = one(&machine).await.with_context(|| format!("round {round}"))?;
        ensure!(there == old || there == round, "round {round}: {there} came, not {old} or {round}");
        let is_told = said.is_ok_and(|status| status.is_success());
        ensure!(there == round || !is_told, "round {round}: what was told to be written is lost");
        outcomes.count(there == round, is_told);
        old = there;
    }
    outcomes.tell("a PUT");
    every_commit_has_an_author(&machine).await?;
    machine.stop().await
}

#[tokio::test]
async fn a_hand_is_recorded_whole() -> anyhow::Result<()> {
    let mut machine = machine().await?;
    machine.write("web.toml", &manifest(0))?;
    let (mut outcomes, mut old) = (Outcomes::default(), 0);
    for round in 1..=KILLS {
        let (edit, kill) = (fastrand::u64(0..40), fastrand::u64(0..240));
        let path = (machine.path(".web.toml.tmp"), machine.path("web.toml"));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(kill)).await;
            machine.kill().await
        };
        let editing = async {
            tokio::time::sleep(Duration::from_millis(edit)).await;
            fs::write(&path.0, manifest(round))?;
            anyhow::Ok(fs::rename(&path.0, &path.1)?)
        };
        let (killed, edited) = tokio::join!(killing, editing);
        edited?;
        killed?;
        let recorded = recorded(&machine).await?;
        ensure!(recorded.is_none_or(|it| it == old || it == round), "round {round}: {recorded:?} is recorded");
        machine.start_unheard().await.with_context(|| format!("round {round}"))?;
        let there = one(&machine).await.with_context(|| format!("round {round}"))?;
        ensure!(there == round, "round {round}: a hand's change is lost, {there} is there");
        outcomes.count(recorded == Some(round), true);
        old = round;
    }
    // A hand's change is there the moment it is made: what counts is whether it was recorded before the kill.
    outcomes.tell("an edit by hand");
    every_commit_has_an_author(&machine).await?;
    machine.stop().await
}

async fn machine() -> anyhow::Result<Machine> {
    let mut machine = Machine::on("unix:///nowhere/docker.sock")?;
    machine.start_unheard().await?;
    Ok(machine)
}

async fn kill_within(machine: &mut Machine, time: Duration) -> anyhow::Result<()> {
    // Some come when all is done.
    let most = time.as_micros() as u64 * 3 / 2;
    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..most))).await;
    machine.kill().await
}

/// Makes a revision in which all manifests say this number, and returns its name.
async fn save_set(clone: &Path, number: u32) -> anyhow::Result<String> {
    for file in 0..FILES {
        let name = format!("c{file}");
        fs::write(clone.join(format!("{name}.toml")), container(&name, &format!("x:{number}"), ""))?;
    }
    git(clone, &["add", "--all"]).await?;
    let said = git(clone, &["commit", "--quiet", "--message", &number.to_string()]).await?;
    ensure!(said.status.success(), "{}", words(&said));
    line(clone, &["rev-parse", "HEAD"]).await
}

/// Returns the numbers that the manifests of a set say.
fn set(machine: &Machine) -> anyhow::Result<BTreeSet<u32>> {
    let number = |file| number(&fs::read_to_string(machine.path(&format!("c{file}.toml")))?);
    (0..FILES).map(number).collect()
}

/// Returns a manifest that says this number in many places.
fn manifest(number: u32) -> String {
    let lines: String = (0..LINES).map(|line| format!("V{line} = \"x:{number}\"\n")).collect();
    container("web", &format!("x:{number}"), &format!("[spec.env]\n{lines}"))
}

fn document(number: u32) -> serde_json::Value {
    let value = format!("x:{number}");
    let env: serde_json::Map<_, _> = (0..LINES).map(|line| (format!("V{line}"), json!(value))).collect();
    json!({
        "apiVersion": "piccolo.os/v1alpha1",
        "kind": "Container",
        "metadata": { "name": "web" },
        "spec": { "image": value, "env": env },
    })
}

/// Returns the one number that a text says.
fn number(text: &str) -> anyhow::Result<u32> {
    let all: Result<BTreeSet<u32>, _> =
        text.split("x:").skip(1).map(|rest| rest.split('"').next().unwrap_or_default().parse()).collect();
    let all = all?;
    ensure!(all.len() == 1, "a mixture of {all:?}");
    all.first().copied().context("no number")
}

/// Returns the number that the file, the API and the history say.
async fn one(machine: &Machine) -> anyhow::Result<u32> {
    head(machine).await?;
    let text = fs::read_to_string(machine.path("web.toml"))?;
    let there = number(&text)?;
    ensure!(text == manifest(there), "not to the letter:\n{text}");
    let recorded = recorded(machine).await?;
    ensure!(recorded == Some(there), "the file says {there}, the history {recorded:?}");
    let object = machine.get("/apis/piccolo.os/v1alpha1/containers/web").await?;
    ensure!(number(&object["spec"].to_string())? == there, "the file says {there}, the API {object}");
    Ok(there)
}

/// Returns the number that the latest revision says, if there is one.
async fn recorded(machine: &Machine) -> anyhow::Result<Option<u32>> {
    let shown = git(&machine.state(), &["--git-dir", "config.git", "show", "main:web.toml"]).await?;
    shown.status.success().then(|| number(&String::from_utf8_lossy(&shown.stdout))).transpose()
}

/// Returns the latest revision, once all that the daemon found at its start is recorded; nothing if there is none.
async fn head(machine: &Machine) -> anyhow::Result<String> {
    let refs = "/git/config.git/info/refs?service=git-receive-pack";
    let answer = http::send(&machine.socket(), "GET", refs).await?.into_body().collect().await?.to_bytes();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    // A line begins with its length, and the first one after an empty one.
    let line = answer.lines().find_map(|line| line.split_once(" refs/heads/main"));
    Ok(line.map(|(name, _)| name[name.len().saturating_sub(40)..].to_owned()).unwrap_or_default())
}

async fn every_commit_has_an_author(machine: &Machine) -> anyhow::Result<()> {
    let said = line(&machine.state(), &["--git-dir", "config.git", "log", "--format=%an <%ae>"]).await?;
    let is_one = |line: &str| !line.is_empty() && !line.starts_with([' ', '<']) && !line.starts_with("unknown");
    ensure!(said.lines().all(is_one), "{said}");
    Ok(())
}

fn repository(machine: &Machine) -> String {
    machine.state().join("config.git").display().to_string()
}

async fn line(place: &Path, args: &[&str]) -> anyhow::Result<String> {
    let said = git(place, args).await?;
    ensure!(said.status.success(), "{}", words(&said));
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
