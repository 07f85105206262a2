//! Volumes on a real engine: owner and mode as asked, data that outlives everything, and the way back to a snapshot.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use piccolo_agent::{
    host::{
        Reason, Snapshots,
        linux::{Declared, Docker, Memory, SnapshotStore, Vault},
    },
    secrets::Identity,
};
use piccolo_e2e::{Engine, Machine, container, image, machine::story, sleeper};
use tempfile::TempDir;
use tokio::sync::watch;

#[tokio::test]
async fn a_directory_becomes_a_volume_and_is_kept_so() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let room = TempDir::with_prefix("piccolo-volume-")?;
        let (one, two) = (room.path().join("one"), room.path().join("two"));
        let asked = |path: &Path| format!("path = \"{}\"\nowner = \"1000:1000\"\nmode = \"0750\"", path.display());
        let mut machine = Machine::new()?;
        machine.write("web.toml", &writer("web")?)?;
        // A directory that is suddenly empty would remove nothing.
        machine.write("bystander.toml", &sleeper("bystander", "")?)?;
        machine.write("data.toml", &volume(&asked(&one)))?;
        machine.start().await?;
        machine.until_settled().await?;
        ensure!(access(&one)? == (1000, 1000, 0o750));
        machine.until("the container wrote", async || one.join("hello").exists()).await?;

        // Nobody tells of a change of owner; the next look finds it.
        machine.stop().await?;
        chown(&one, Some(0), Some(0))?;
        fs::set_permissions(&one, fs::Permissions::from_mode(0o777))?;
        machine.start().await?;
        machine.until("the owner is back", async || access(&one).is_ok_and(|it| it == (1000, 1000, 0o750))).await?;

        machine.remove("web.toml")?;
        machine.remove("data.toml")?;
        machine.until("the container is gone", async || engine.inspect("web").await.is_none()).await?;
        machine.until_settled().await?;
        ensure!(fs::read_to_string(one.join("hello"))? == "hello\n", "data is lost");
        ensure!(engine.0.inspect_volume("story-data").await.is_ok(), "the engine forgot it");

        // Nothing uses it now, so it may stand elsewhere.
        machine.write("data.toml", &volume(&asked(&two)))?;
        machine.until("it stands on the new path", async || access(&two).is_ok()).await?;
        machine.write("web.toml", &writer("web")?)?;
        machine.until("the container wrote there", async || two.join("hello").exists()).await?;
        machine.until_settled().await?;
        machine.write("data.toml", &volume(&asked(&one)))?;
        machine.until("it waits", async || reason(&machine).await == "PathChanged").await?;
        ensure!(one.join("hello").exists() && two.join("hello").exists(), "data is lost");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_container_waits_for_its_volume() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("web.toml", &writer("web")?)?;
        machine.start().await?;
        machine.until("it waits", async || machine.reason("web").await == "VolumeMissing").await?;
        ensure!(engine.0.inspect_volume("story-data").await.is_err(), "the engine made one of its own");
        machine.write("data.toml", &volume(""))?;
        machine.until_settled().await?;
        ensure!(reason(&machine).await == "Present");
        machine.write("data.toml", &volume("quota = \"1Gi\""))?;
        machine.until("it says that it can't", async || reason(&machine).await == "QuotaUnsupported").await?;
        machine.write("data.toml", &volume("path = \"/tmp/elsewhere\""))?;
        machine.until("it waits", async || reason(&machine).await == "PathChanged").await
    })
    .await
}

#[tokio::test]
async fn a_snapshot_brings_back_what_was() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let room = TempDir::with_prefix("piccolo-volume-")?;
        let vault = Vault::new(room.path().join("secrets"), Ok(Identity::generate()));
        let memory = Memory::open(room.path(), watch::channel(BTreeSet::new()).1)?;
        let (host, declared) = (std::env::var("DOCKER_HOST")?, watch::channel(Declared::default()).1);
        let docker = Docker::open(&host, vault, memory, declared, room.path())?;
        let store = SnapshotStore::new(docker, room.path().join("snapshots"));
        let mut machine = Machine::new()?;
        machine.write("web.toml", &writer("web")?)?;
        machine.write("data.toml", &volume("snapshot = true"))?;
        machine.start().await?;
        machine.until_settled().await?;
        let data = PathBuf::from(engine.0.inspect_volume("story-data").await?.mountpoint);
        machine.until("the container wrote", async || data.join("hello").exists()).await?;
        fs::create_dir(data.join("sub"))?;
        chown(data.join("sub"), Some(999), Some(998))?;
        fs::set_permissions(data.join("sub"), fs::Permissions::from_mode(0o710))?;
        symlink("sub", data.join("link"))?;
        store.snapshot("story-data", "before").await?;

        fs::write(data.join("hello"), "corrupted")?;
        fs::remove_dir(data.join("sub"))?;
        fs::remove_file(data.join("link"))?;
        let error = store.restore("story-data", "before").await.err().context("it was restored under a container")?;
        ensure!(error.reason == Reason::InUse && error.message.contains("`web` runs on"), "{error}");

        machine.write("web.toml", &sleeper("web", &format!("running = false\n{MOUNT}"))?)?;
        machine.until("it is stopped", async || machine.reason("web").await == "Stopped").await?;
        store.restore("story-data", "before").await?;
        ensure!(fs::read_to_string(data.join("hello"))? == "hello\n");
        ensure!(access(&data.join("sub"))? == (999, 998, 0o710));
        ensure!(fs::read_link(data.join("link"))? == Path::new("sub"));
        let labels: Vec<String> = store.snapshots("story-data").await?.into_iter().map(|it| it.label).collect();
        ensure!(labels == ["before", "before.replaced"], "{labels:?}");

        // The engine mounts what is there now, not what was.
        let reader = format!("command = [\"sh\", \"-c\", \"cat /data/hello > /data/read; sleep 1000000\"]\n{MOUNT}");
        machine.write("web.toml", &container("web", &image("1")?, &reader))?;
        let read = async || fs::read_to_string(data.join("read")).is_ok_and(|text| text == "hello\n");
        machine.until("it reads the old data", read).await?;
        for label in labels {
            store.drop_snapshot("story-data", &label).await?;
        }
        ensure!(store.snapshots("story-data").await?.is_empty());
        Ok(())
    })
    .await
}

const MOUNT: &str = "[[spec.mounts]]\npath = \"/data\"\nvolume = \"story-data\"";

fn volume(spec: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Volume\"\nmetadata.name = \"story-data\"\n\n[spec]\n{spec}\n"
    )
}

/// Returns a container that writes to the volume.
fn writer(name: &str) -> anyhow::Result<String> {
    let command = "command = [\"sh\", \"-c\", \"echo hello > /data/hello; sleep 1000000\"]\nstopSignal = \"SIGKILL\"";
    Ok(container(name, &image("1")?, &format!("{command}\n{MOUNT}")))
}

fn access(path: &Path) -> anyhow::Result<(u32, u32, u32)> {
    let seen = fs::metadata(path)?;
    Ok((seen.uid(), seen.gid(), seen.mode() & 0o7777))
}

async fn reason(machine: &Machine) -> String {
    let volume = machine.get("/apis/piccolo.os/v1alpha1/volumes/story-data").await.unwrap_or_default();
    volume["status"]["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
}
