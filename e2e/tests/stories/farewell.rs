//! The machine goes down: containers are stopped in the reverse of the order in which they start, and all come back.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::{Context, ensure};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::TryStreamExt;
use piccolo_e2e::{Engine, Machine, machine::story, sleeper};
use tempfile::TempDir;
use tokio::process::Command;

const NAMES: [&str; 4] = ["api", "db", "looked-at", "web"];

#[tokio::test]
async fn dependants_are_stopped_first_and_all_come_back() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    let restart = std::env::var("RESTART_ENGINE").context("RESTART_ENGINE is not set: run e2e/test")?;
    story(&engine, async {
        let systemd = Systemd::new()?;
        let path = format!("PATH={}:{}", systemd.0.path().display(), std::env::var("PATH")?);
        let mut machine = Machine::new()?.launched_by(&["env", &path]);
        let on = |name: &str| format!("dependsOn = [{{ container = \"{name}\" }}]");
        machine.write("db.toml", &sleeper("db", "")?)?;
        machine.write("api.toml", &sleeper("api", &on("db"))?)?;
        machine.write("web.toml", &sleeper("web", &on("api"))?)?;
        machine.write("looked-at.toml", &sleeper("looked-at", "")?)?;
        systemd.says("running")?;
        machine.start().await?;
        machine.until_settled().await?;
        machine.write("looked-at.toml", &observed(&sleeper("looked-at", "")?))?;

        // A restart of the daemon stops nobody.
        machine.stop().await?;
        ensure!(running(&engine).await == NAMES, "{:?}", running(&engine).await);
        machine.start().await?;
        machine.until_settled().await?;

        systemd.says("stopping")?;
        let begin = jiff::Timestamp::now();
        machine.stop().await?;
        ensure!(deaths(&engine, begin).await? == ["web", "api", "db"], "{:?}", deaths(&engine, begin).await?);
        ensure!(running(&engine).await == ["looked-at"], "{:?}", running(&engine).await);

        ensure!(Command::new(restart).status().await?.success(), "the engine does not come back");
        systemd.says("running")?;
        machine.start().await?;
        machine.until("all run again", async || running(&engine).await == NAMES).await?;
        machine.until_settled().await?;
        let journal = machine.get("/journal?limit=1000").await?.to_string();
        ensure!(!journal.contains("Drifted"), "the end of the machine is drift: {journal}");
        Ok(())
    })
    .await
}

/// What systemd says of the machine, in its place.
struct Systemd(TempDir);

impl Systemd {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(TempDir::with_prefix("piccolo-systemd-")?))
    }

    fn says(&self, word: &str) -> anyhow::Result<()> {
        let program = self.0.path().join("systemctl");
        fs::write(&program, format!("#!/bin/sh\necho {word}\n[ {word} = running ]\n"))?;
        Ok(fs::set_permissions(program, fs::Permissions::from_mode(0o755))?)
    }
}

fn observed(manifest: &str) -> String {
    manifest.replace("[spec]", "annotations = { \"piccolo.os/mode\" = \"observe\" }\n\n[spec]")
}

async fn running(engine: &Engine) -> Vec<&'static str> {
    let mut running = Vec::new();
    for name in NAMES {
        if engine.inspect(name).await.is_some_and(|it| it.state == "running") {
            running.push(name);
        }
    }
    running
}

/// Returns whose containers have ended since then, in their order.
async fn deaths(engine: &Engine, since: jiff::Timestamp) -> anyhow::Result<Vec<String>> {
    let seconds = |it: jiff::Timestamp| format!("{}.{:09}", it.as_second(), it.subsec_nanosecond());
    let until = jiff::Timestamp::now();
    let filters = std::collections::HashMap::from([("event", vec!["die"])]);
    let between = EventsOptionsBuilder::new().since(&seconds(since)).until(&seconds(until)).filters(&filters);
    let events: Vec<_> = engine.0.events(Some(between.build())).try_collect().await?;
    let name = |event: bollard::models::EventMessage| event.actor?.attributes?.remove("name");
    Ok(events.into_iter().filter_map(name).collect())
}
