//! A push of one change among many manifests, beside the same push to a repository with nobody behind it.

use std::{
    fs,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use anyhow::ensure;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{Machine, container};

/// Times of the pushes to a machine, and of the same ones to the repository alone.
pub type Times = (Vec<Duration>, Vec<Duration>);

/// Pushes one change after the other to a machine that holds so many manifests. All are planned and none is applied.
///
/// # Errors
/// When a push is refused.
pub async fn times(manifests: usize, tries: usize) -> anyhow::Result<Times> {
    let mut machine = Machine::new()?;
    fs::create_dir(machine.path("all"))?;
    for number in 0..manifests {
        fs::write(machine.path(&format!("all/c-{number:04}.toml")), manifest(number, "x:1"))?;
    }
    machine.start_unheard().await?;
    let recorded = async || {
        let history = machine.get("/history").await.unwrap_or_default();
        history["items"].as_array().is_some_and(|items| !items.is_empty())
    };
    machine.until("the manifests are recorded", recorded).await?;

    let ours = machine.state().join("config.git").display().to_string();
    let room = TempDir::new()?;
    git(room.path(), &["clone", "--quiet", "--bare", &ours, "alone.git"]).await?;
    git(room.path(), &["clone", "--quiet", &ours, "clone"]).await?;
    let (alone, clone) = (room.path().join("alone.git").display().to_string(), room.path().join("clone"));
    let (mut to_us, mut to_it) = (Vec::new(), Vec::new());
    for round in 0..tries {
        let number = round * manifests / tries;
        fs::write(clone.join(format!("all/c-{number:04}.toml")), manifest(number, &format!("x:2-{round}")))?;
        git(&clone, &["commit", "--quiet", "--all", "--message", "one"]).await?;
        to_it.push(push(&clone, &alone).await?);
        to_us.push(push(&clone, &ours).await?);
    }
    machine.stop().await?;
    Ok((to_us, to_it))
}

fn manifest(number: usize, image: &str) -> String {
    let observed = "annotations = { \"piccolo.os/mode\" = \"observe\" }\n\n[spec]";
    container(&format!("c-{number:04}"), image, "").replace("[spec]", observed)
}

async fn push(clone: &Path, repository: &str) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    git(clone, &["push", "--quiet", repository, "HEAD:refs/heads/main"]).await?;
    Ok(begin.elapsed())
}

async fn git(place: &Path, words: &[&str]) -> anyhow::Result<()> {
    let settings = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "safe.directory=*"];
    let Output { status, stderr, .. } =
        Command::new("git").args(settings).args(words).current_dir(place).output().await?;
    ensure!(status.success(), "git {}: {}", words.join(" "), String::from_utf8_lossy(&stderr));
    Ok(())
}
