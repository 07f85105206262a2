//! A push with git: the plan comes back in its output, and what was pushed runs.

use std::{fs, path::Path, process::Output};

use anyhow::ensure;
use piccolo_e2e::{Engine, Machine, machine::story, sleeper};
use tempfile::TempDir;
use tokio::process::Command;

#[tokio::test]
async fn what_is_pushed_runs() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.start().await?;
        machine.until_settled().await?;
        let (clone, repository) = (TempDir::new()?, machine.state().join("config.git").display().to_string());
        // The first revision is made beside all else.
        let cloned = async || {
            let said = git(clone.path(), &["clone", "--quiet", &repository, "."]).await;
            said.is_ok_and(|it| it.status.success())
        };
        machine.until("it can be cloned", cloned).await?;
        let push = ["push", &repository, "HEAD:refs/heads/main"];

        save(clone.path(), "web.toml", &sleeper("web", "memory = \"16Mi\"")?).await?;
        let said = git(clone.path(), &push).await?;
        ensure!(said.status.success() && words(&said).contains("remote: + create web"), "{}", words(&said));
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await.is_some(), "it does not run");

        // What would be done is said, and not done.
        save(clone.path(), "web.toml", &sleeper("web", "memory = \"32Mi\"")?).await?;
        let said = git(clone.path(), &[&["push", "-o", "dry-run"], &push[1..]].concat()).await?;
        ensure!(!said.status.success() && words(&said).contains("remote: 1 change(s)."), "{}", words(&said));
        ensure!(memory(&engine).await == Some(16 << 20), "a dry run changed something");
        let said = git(clone.path(), &[&["push", "-o", "confirm-within=2s"], &push[1..]].concat()).await?;
        ensure!(said.status.success(), "{}", words(&said));
        machine.until("it is tried", async || memory(&engine).await == Some(32 << 20)).await?;
        machine.until("it is put back", async || memory(&engine).await == Some(16 << 20)).await?;
        machine.stop().await
    })
    .await
}

async fn memory(engine: &Engine) -> Option<i64> {
    engine.inspect("web").await?;
    engine.0.inspect_container("web", None).await.ok()?.host_config?.memory
}

/// Makes a commit of a file.
async fn save(clone: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    fs::write(clone.join(name), text)?;
    git(clone, &["add", "--all"]).await?;
    let said = git(clone, &["commit", "--quiet", "--message", name]).await?;
    ensure!(said.status.success(), "{}", words(&said));
    Ok(())
}

/// Runs git as Anna.
pub(super) async fn git(clone: &Path, args: &[&str]) -> anyhow::Result<Output> {
    let settings = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "init.defaultBranch=main"];
    Ok(Command::new("git").args(settings).args(args).current_dir(clone).output().await?)
}

/// Returns what a program complained about.
pub(super) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
