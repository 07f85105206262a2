//! A machine that follows a repository, which here is the history of another machine.

use std::{path::Path, process::Output};

use anyhow::ensure;
use piccolo_e2e::{Engine, Machine, machine::story, sleeper};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    process::Command,
};

#[tokio::test]
async fn what_is_signed_and_pulled_runs() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut other = Machine::on("unix:///nowhere/docker.sock")?;
        other.start_unheard().await?;
        let address = address(&other).await?;
        let clone = TempDir::new()?;
        git(clone.path(), &["clone", "--quiet", &address, "work"]).await?;
        let (key, public) = key(clone.path()).await?;
        let work = clone.path().join("work");
        let push = ["push", "--quiet", "origin", "HEAD:refs/heads/main"];
        save(&work, &sleeper("web", "memory = \"16Mi\"")?, &[]).await?;
        git(&work, &push).await?;

        let mut machine = Machine::new()?;
        machine.start().await?;
        let source = format!(
            "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"ConfigSource\"\nmetadata.name = \"home\"\n\n[spec]\nurl = \"{address}\"\nsigners = [\"{public}\"]\n"
        );
        machine.write("home.toml", &source)?;
        let reason = async || {
            let source = machine.get("/apis/piccolo.os/v1alpha1/configsources/home").await.unwrap_or_default();
            source["status"]["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
        };
        machine.until("what nobody signed waits", async || reason().await == "Untrusted").await?;
        ensure!(engine.inspect("web").await.is_none(), "what nobody signed runs");

        save(&work, &sleeper("web", "memory = \"32Mi\"")?, &["-c", "gpg.format=ssh", "-c", &key]).await?;
        git(&work, &push).await?;
        let asked = machine.piccolo(&["pull", "home"])?.output().await?;
        ensure!(asked.status.success(), "{}", words(&asked));
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await.is_some(), "it does not run");
        let history = machine.get("/history").await?.to_string();
        ensure!(history.contains("\"Anna\"") && history.contains("Door: pull"), "{history}");
        let plan = machine.piccolo(&["plan"])?.output().await?;
        ensure!(plan.status.success(), "a phantom: {}", words(&plan));
        machine.stop().await?;
        other.stop().await
    })
    .await
}

/// Serves what a machine has at its socket over HTTP, as a forge does that lets everybody read, and returns where its
/// history is found.
async fn address(machine: &Machine) -> anyhow::Result<String> {
    let (listener, socket) = (TcpListener::bind("127.0.0.1:0").await?, machine.socket());
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let (Ok((mut here, _)), Ok(mut there)) = (listener.accept().await, UnixStream::connect(&socket).await) {
            tokio::spawn(async move { copy_bidirectional(&mut here, &mut there).await });
        }
    });
    Ok(format!("http://{address}/git/config.git"))
}

/// Makes a key, and returns git's setting for it and what is public of it.
async fn key(directory: &Path) -> anyhow::Result<(String, String)> {
    let path = directory.join("key");
    let mut made = Command::new("ssh-keygen");
    made.args(["-q", "-t", "ed25519", "-N", "", "-C", "anna", "-f"]).arg(&path);
    ensure!(made.status().await?.success(), "ssh-keygen");
    let public = std::fs::read_to_string(path.with_extension("pub"))?.trim().to_owned();
    Ok((format!("user.signingKey={}", path.display()), public))
}

/// Makes a commit of a manifest, signed if git is told with what.
async fn save(clone: &Path, text: &str, signed: &[&str]) -> anyhow::Result<()> {
    std::fs::write(clone.join("web.toml"), text)?;
    git(clone, &["add", "--all"]).await?;
    let sign = if signed.is_empty() { "--no-gpg-sign" } else { "--gpg-sign" };
    git(clone, &[signed, &["commit", "--quiet", sign, "--message", "A change"]].concat()).await
}

async fn git(directory: &Path, args: &[&str]) -> anyhow::Result<()> {
    let settings = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "init.defaultBranch=main"];
    let said = Command::new("git").args(settings).args(args).current_dir(directory).output().await?;
    ensure!(said.status.success(), "git {args:?}: {}", words(&said));
    Ok(())
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
