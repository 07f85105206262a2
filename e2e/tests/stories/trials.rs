//! A change on trial: put back when nobody confirms it, also by the next daemon; confirmed it stays.

use std::{fs, process::Output, time::Duration};

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, machine::story, sleeper};

#[tokio::test]
async fn a_change_that_nobody_confirms_is_put_back() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let (old, new) = (sleeper("web", "memory = \"16Mi\" # small")?, sleeper("web", "memory = \"32Mi\"")?);
        machine.write("web.toml", &old)?;
        machine.start().await?;
        machine.until_settled().await?;

        // Nobody confirms.
        let id = apply(&machine, &new, "3s").await?;
        let status = piccolo(&machine, &["status"]).await?;
        ensure!(words(&status).contains(&format!("piccolo confirm {id}")), "{}", words(&status));
        machine.until("it runs", async || memory(&engine).await == Some(32 << 20)).await?;
        machine.until("it is put back", async || memory(&engine).await == Some(16 << 20)).await?;
        ensure!(fs::read_to_string(machine.path("web.toml"))? == old, "not to the letter");
        let why = format!("Why: {id} was not confirmed within 3s");
        machine
            .until("the history says why", async || {
                let history = machine.get("/history").await.unwrap_or_default();
                history["items"][0]["body"].as_str().is_some_and(|body| body.ends_with(&why))
            })
            .await?;

        // The daemon is killed meanwhile, and its time runs out while it is down.
        apply(&machine, &new, "1s").await?;
        machine.kill().await?;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        machine.start().await?;
        ensure!(fs::read_to_string(machine.path("web.toml"))? == old, "read before it was put back");
        machine.until_settled().await?;
        ensure!(memory(&engine).await == Some(16 << 20), "it was not put back");

        // The daemon is killed with time left.
        apply(&machine, &new, "6s").await?;
        machine.kill().await?;
        machine.start().await?;
        ensure!(machine.get("/plan").await?["trial"]["secondsLeft"].as_u64().is_some_and(|left| left <= 6), "no trial");
        machine
            .until("it is put back", async || fs::read_to_string(machine.path("web.toml")).is_ok_and(|it| it == old))
            .await?;

        // Confirmed it stays.
        let id = apply(&machine, &new, "2s").await?;
        ensure!(piccolo(&machine, &["confirm", &id]).await?.status.success(), "can't confirm");
        machine.until_settled().await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        ensure!(memory(&engine).await == Some(32 << 20), "it did not stay");
        machine.stop().await
    })
    .await
}

/// Applies a manifest on trial and returns the name of the change.
async fn apply(machine: &Machine, text: &str, within: &str) -> anyhow::Result<String> {
    let file = machine.state().with_file_name("web.new.toml");
    fs::write(&file, text)?;
    let file = file.display().to_string();
    let done = piccolo(machine, &["apply", "-f", &file, "--confirm-within", within]).await?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let words = words(&done);
    let id = words.split_whitespace().find(|word| word.starts_with("change-"));
    id.map(str::to_owned).with_context(|| format!("no name in: {words}"))
}

async fn memory(engine: &Engine) -> Option<i64> {
    engine.inspect("web").await?;
    engine.0.inspect_container("web", None).await.ok()?.host_config?.memory
}

async fn piccolo(machine: &Machine, args: &[&str]) -> anyhow::Result<Output> {
    Ok(machine.piccolo(args)?.output().await?)
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
