//! The daemon is killed, the engine is restarted: nothing is lost, nothing is left over, nobody is disturbed.

use std::time::Duration;

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, container, image, machine::story, sleeper};

/// How often the daemon is killed.
const KILLS: u32 = 30;

#[tokio::test]
async fn kill_minus_nine_at_any_moment_loses_nothing() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let quiet = ["quiet-1", "quiet-2"];
        for name in quiet {
            machine.write(&format!("{name}.toml"), &sleeper(name, "")?)?;
        }
        machine.start().await?;
        machine.until_settled().await?;
        let mut before = Vec::new();
        for name in quiet {
            before.push(engine.inspect(name).await.context(name)?);
        }
        for round in 0..KILLS {
            // Every round something is made, replaced or removed while the daemon is killed at a moment of its own.
            let tag = if round % 2 == 0 { "1" } else { "2" };
            let spec = format!("command = [\"sleep\", \"{}\"]\nstopSignal = \"SIGKILL\"", 1000 + round);
            machine.write("busy.toml", &container("busy", &image(tag)?, &spec))?;
            if round % 3 == 0 {
                machine.write("fleeting.toml", &sleeper("fleeting", "")?)?;
            } else if machine.path("fleeting.toml").exists() {
                machine.remove("fleeting.toml")?;
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..900))).await;
            machine.kill().await?;
            machine.start().await?;
        }
        machine.until_settled().await?;
        let wanted = format!("{}", 1000 + KILLS - 1);
        let busy = engine.0.inspect_container("busy", None).await?;
        let command = busy.config.and_then(|config| config.cmd).unwrap_or_default();
        ensure!(command == ["sleep", &wanted], "the last edit was lost: {command:?}");
        let fleeting = machine.path("fleeting.toml").exists();
        machine
            .until("nothing is left over", async || {
                let ours = engine.ours().await.unwrap_or_default();
                ours.len() == 3 + usize::from(fleeting) && !ours.iter().any(|name| name.ends_with(".next"))
            })
            .await?;
        for (name, before) in quiet.into_iter().zip(before) {
            ensure!(engine.inspect(name).await.as_ref() == Some(&before), "{name} was disturbed");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_nobody_notices() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("web.toml", &sleeper("web", "")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        let before = engine.inspect("web").await;
        machine.stop().await?;
        let store = machine.state().join("store");
        std::fs::write(store.join("db"), vec![0x5a; 300_000])?;
        machine.start().await?;
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await == before, "the container was disturbed");
        let journal = machine.get("/journal?limit=1000").await?.to_string();
        ensure!(journal.matches("StoreRebuilt").count() == 1, "{journal}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_engine_comes_back_and_all_is_as_declared() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    let restart = std::env::var("RESTART_ENGINE").context("RESTART_ENGINE is not set: run e2e/test")?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        for name in ["web", "api"] {
            machine.write(&format!("{name}.toml"), &sleeper(name, "")?)?;
        }
        machine.start().await?;
        machine.until_settled().await?;
        let status = tokio::process::Command::new(restart).status().await?;
        ensure!(status.success());
        machine
            .until("both run again", async || {
                let a = engine.inspect("web").await.is_some_and(|it| it.state == "running");
                a && engine.inspect("api").await.is_some_and(|it| it.state == "running")
            })
            .await?;
        machine.until_settled().await?;
        // And it hears of what happens after that.
        engine.remove("api").await?;
        machine.until("b is back", async || engine.inspect("api").await.is_some_and(|b| b.state == "running")).await
    })
    .await
}
