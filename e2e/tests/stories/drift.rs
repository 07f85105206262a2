//! What a hand does behind the back is seen at once and repaired.

use anyhow::{Context, ensure};
use bollard::models::ContainerUpdateBody;
use piccolo_e2e::{Engine, Inspected, Machine, machine::story, sleeper};
use std::time::{Duration, Instant};

/// How long a repair may take on a busy machine; a missed event would be found after minutes only.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn hands_behind_the_back_change_nothing_for_long() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("web.toml", &sleeper("web", "memory = \"32Mi\"")?)?;
        machine.write("quiet.toml", &sleeper("quiet", "")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        let quiet = engine.inspect("quiet").await;

        // `docker kill` switches the restart policy off: only a reconciler repairs it.
        let before = engine.inspect("web").await.context("web")?;
        engine.0.kill_container("web", None).await?;
        repaired(&machine, &engine, "killed", |a| a.started != before.started).await?;

        engine.0.stop_container("web", None).await?;
        repaired(&machine, &engine, "stopped", |_| true).await?;

        let before = engine.inspect("web").await.context("web")?;
        engine.remove("web").await?;
        repaired(&machine, &engine, "removed", |a| a.id != before.id).await?;

        engine.0.pause_container("web").await?;
        repaired(&machine, &engine, "paused", |_| true).await?;

        let limit = ContainerUpdateBody { memory: Some(64 << 20), memory_swap: Some(64 << 20), ..Default::default() };
        engine.0.update_container("web", limit).await?;
        repaired(&machine, &engine, "limited otherwise", |a| a.memory == 32 << 20).await?;

        let name = bollard::query_parameters::RenameContainerOptionsBuilder::new().name("elsewhere").build();
        engine.0.rename_container("web", name).await?;
        repaired(&machine, &engine, "renamed", |_| true).await?;

        ensure!(engine.inspect("quiet").await == quiet, "a bystander was touched");
        ensure!(engine.ours().await? == ["quiet", "web"]);
        let journal = machine.get("/journal?limit=1000").await?.to_string();
        ensure!(journal.matches("Drifted").count() >= 6, "drift was not named: {journal}");
        Ok(())
    })
    .await
}

async fn repaired(
    machine: &Machine,
    engine: &Engine,
    what: &str,
    holds: impl Fn(&Inspected) -> bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    machine
        .until(&format!("a is repaired after it was {what}"), async || {
            engine.inspect("web").await.is_some_and(|a| a.state == "running" && a.memory == 32 << 20 && holds(&a))
        })
        .await?;
    ensure!(start.elapsed() < SOON, "{what}: took {:?}", start.elapsed());
    machine.until_settled().await
}

#[tokio::test]
async fn a_foreign_container_is_never_touched() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("seed.toml", &sleeper("seed", "")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        engine.make_foreign("taken", &piccolo_e2e::image("1")?).await?;
        let before = engine.inspect("taken").await;
        machine.write("taken.toml", &sleeper("taken", "")?)?;
        machine.until("the name is taken", async || machine.reason("taken").await == "NameTaken").await?;
        machine.remove("seed.toml")?;
        machine.until("seed is gone", async || engine.inspect("seed").await.is_none()).await?;
        ensure!(engine.inspect("taken").await == before, "somebody else's container was touched");
        engine.remove("taken").await?;
        machine.until_settled().await
    })
    .await
}

#[tokio::test]
async fn an_emptied_directory_removes_nothing_until_confirmed() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        for name in ["web", "api", "job"] {
            machine.write(&format!("{name}.toml"), &sleeper(name, "")?)?;
        }
        machine.start().await?;
        machine.until_settled().await?;
        for name in ["web", "api", "job"] {
            machine.remove(&format!("{name}.toml"))?;
        }
        // The files go one after the other, and what is held grows with them until it is all that is left.
        let held = async || {
            let (left, plan) = (engine.ours().await.ok()?.len(), machine.get("/plan").await.ok()?);
            let plans = plan["plans"].as_array()?.clone();
            let all = |it: &&serde_json::Value| it["held"]["names"].as_array().is_some_and(|names| names.len() == left);
            plans.iter().find(all)?["held"]["id"].as_str().map(str::to_owned)
        };
        machine.until("the removals are held", async || held().await.is_some()).await?;
        // One may have gone before the others were missed; the rest must stay.
        let left = engine.ours().await?;
        ensure!(left.len() >= 2, "removed without a word: {left:?}");
        let id = held().await.context("held")?;
        let answer = piccolo_e2e::http::confirm(&machine.socket(), &id).await?;
        ensure!(answer, "the confirmation was refused");
        machine.until("all are gone", async || engine.ours().await.is_ok_and(|ours| ours.is_empty())).await
    })
    .await
}

#[tokio::test]
async fn what_is_only_observed_is_reported_and_left_alone() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let enforced = sleeper("web", "")?;
        let observed =
            enforced.replace("[metadata]", "[metadata]\nannotations = { \"piccolo.os/mode\" = \"observe\" }");
        ensure!(observed != enforced);
        machine.write("web.toml", &observed)?;
        machine.start().await?;
        machine.until("it says what it would do", async || machine.reason("web").await == "Observed").await?;
        ensure!(engine.inspect("web").await.is_none(), "it was made");
        let step = machine.get("/plan").await?["plans"].to_string();
        ensure!(step.contains("create web") && step.contains("\"observed\":true"), "{step}");

        machine.write("web.toml", &enforced)?;
        machine.until_settled().await?;
        machine.write("web.toml", &observed)?;
        engine.remove("web").await?;
        machine.until("it says that it is gone", async || machine.reason("web").await == "Observed").await?;
        ensure!(engine.inspect("web").await.is_none(), "it was repaired");
        Ok(())
    })
    .await
}
