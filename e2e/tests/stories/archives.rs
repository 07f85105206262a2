//! Images that come from a file of the machine, without a registry.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder};
use futures_util::TryStreamExt;
use piccolo_e2e::{Engine, Machine, container, image, machine::story};
use serde_json::Value;
use tempfile::TempDir;

/// A registry that nobody can reach.
const NAME: &str = "registry.invalid/app";
const SLEEPS: &str = "command = [\"sleep\", \"1000000\"]\nstopSignal = \"SIGKILL\"";
const APP: &str = "/apis/piccolo.os/v1alpha1/images/app";

#[tokio::test]
async fn an_image_is_loaded_from_an_archive_and_again_from_another() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let room = TempDir::with_prefix("piccolo-archives-")?;
        let path = room.path().join("app.tar");
        let (name, archive) = (format!("{NAME}:1"), path.display().to_string());
        let mut machine = Machine::new()?;
        machine.write("app.toml", &declared(&name, &archive))?;
        machine.write("web.toml", &container("web", &name, SLEEPS))?;
        machine.start().await?;
        machine.until("the archive is missed", async || reason(&machine).await == "ArchiveMissing").await?;
        machine.until("the container waits", async || machine.reason("web").await == "ImageNotReady").await?;

        // A file that is still being copied is refused, and loaded once it is whole.
        let first = save(&engine, "1", &path).await?;
        let whole = fs::read(&path)?;
        fs::write(&path, &whole[..whole.len() / 2])?;
        machine.until("half an archive is refused", async || reason(&machine).await == "Refused").await?;
        let told = status(&machine).await["conditions"][0]["message"].to_string();
        ensure!(told.contains("ends too early"), "{told}");
        fs::write(&path, &whole)?;
        machine.until_settled().await?;
        ensure!(status(&machine).await["imageId"] == first.as_str(), "{:#}", status(&machine).await);
        ensure!(engine.inspect("web").await.context("web")?.state == "running");

        // What is loaded needs its file no more, and a daemon that starts anew plans nothing.
        fs::remove_file(&path)?;
        machine.stop().await?;
        machine.start().await?;
        machine.until_settled().await?;
        ensure!(status(&machine).await["imageId"] == first.as_str());

        let before = engine.inspect("web").await;
        let second = save(&engine, "2", &path).await?;
        ensure!(first != second, "two images are one");
        machine.until("the other one is loaded", async || status(&machine).await["imageId"] == second.as_str()).await?;
        // The container that ran the first one runs the second one soon.
        let id = before.context("web")?.id;
        let runs = async || engine.inspect("web").await.is_some_and(|it| it.id != id && it.state == "running");
        machine.until("the container runs the other one", runs).await?;
        machine.until_settled().await?;
        machine.stop().await
    })
    .await
}

#[tokio::test]
async fn an_image_goes_to_a_machine_without_a_network() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let room = TempDir::with_prefix("piccolo-archives-")?;
        let file = |name: &str| room.path().join(name).display().to_string();
        let mut machine = Machine::new()?;
        machine.start().await?;
        let from = image("2")?;
        let id = save(&engine, "2", &room.path().join("docker.tar")).await?;
        let told = piccolo(&machine, &["image", "export", &from, &file("app.tar")]).await?;
        let digest = told.split_whitespace().last().context("no digest")?.to_owned();
        ensure!(digest.starts_with("sha256:"), "{told}");
        piccolo(&machine, &["image", "export", &from, &file("again.tar")]).await?;
        ensure!(fs::read(file("app.tar"))? == fs::read(file("again.tar"))?, "the same image, other bytes");

        // Gone, and back: by the name in the archive, by another, and by what docker wrote.
        forget(&engine, &id).await?;
        let told = piccolo(&machine, &["image", "import", &file("app.tar")]).await?;
        ensure!(told.contains(&format!("{from} imported, {digest}")), "{told}");
        ensure!(engine.0.inspect_image(&from).await?.id.as_deref() == Some(id.as_str()));
        forget(&engine, &id).await?;
        piccolo(&machine, &["image", "import", &file("docker.tar"), "--as", "other.invalid/app:3"]).await?;
        ensure!(engine.0.inspect_image("other.invalid/app:3").await?.id.as_deref() == Some(id.as_str()));
        forget(&engine, &id).await?;

        // A container that names the digest runs, and an archive that has another is refused.
        let name = format!("{NAME}@{digest}");
        machine.write("app.toml", &declared(&name, &file("app.tar")))?;
        machine.write("web.toml", &container("web", &name, SLEEPS))?;
        machine
            .until("the container runs", async || engine.inspect("web").await.is_some_and(|it| it.state == "running"))
            .await?;
        machine.until_settled().await?;
        ensure!(status(&machine).await["digest"] == digest.as_str(), "{:#}", status(&machine).await);
        let other = format!("{NAME}@sha256:{}", "0a".repeat(32));
        machine.write("app.toml", &declared(&other, &file("app.tar")))?;
        machine.until("another digest is refused", async || reason(&machine).await == "Refused").await?;
        let told = status(&machine).await["conditions"][0]["message"].to_string();
        ensure!(told.contains(&digest), "{told}");
        // The docker archive has no digest to be asked for.
        machine.write("app.toml", &declared(&other, &file("docker.tar")))?;
        machine
            .until("what has none is named", async || {
                status(&machine).await["conditions"][0]["message"].to_string().contains("has no digests")
            })
            .await?;
        ensure!(fs::read_dir(machine.state().join("passing"))?.next().is_none(), "something was left behind");
        machine.stop().await
    })
    .await
}

/// Takes every name of an image from the engine, and with the last one the image.
async fn forget(engine: &Engine, id: &str) -> anyhow::Result<()> {
    let seen = engine.0.inspect_image(id).await?;
    for name in seen.repo_tags.unwrap_or_default().iter().chain(&seen.repo_digests.unwrap_or_default()) {
        // The last tag of a repository takes its digests along.
        let _ = engine.0.remove_image(name, None::<RemoveImageOptions>, None).await;
    }
    ensure!(engine.0.inspect_image(id).await.is_err(), "the image is still here");
    Ok(())
}

/// Writes an image as an archive, leaves none of its names at the engine, and returns its identifier.
async fn save(engine: &Engine, tag: &str, path: &Path) -> anyhow::Result<String> {
    let from = image(tag)?;
    let pull = CreateImageOptionsBuilder::new().from_image(&from).build();
    engine.0.create_image(Some(pull), None, None).try_collect::<Vec<_>>().await?;
    let other = TagImageOptionsBuilder::new().repo("elsewhere.invalid/other").tag(tag).build();
    engine.0.tag_image(&from, Some(other)).await?;
    let name = format!("elsewhere.invalid/other:{tag}");
    let parts: Vec<_> = engine.0.export_image(&name).try_collect().await?;
    fs::write(path, parts.concat())?;
    engine.0.remove_image(&name, None::<RemoveImageOptions>, None).await?;
    engine.0.inspect_image(&from).await?.id.context("no identifier")
}

async fn status(machine: &Machine) -> Value {
    machine.get(APP).await.map(|object| object["status"].clone()).unwrap_or_default()
}

async fn reason(machine: &Machine) -> String {
    status(machine).await["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

fn declared(reference: &str, archive: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Image\"\nmetadata.name = \"app\"\n\n[spec]\nreference = \"{reference}\"\narchive = \"{archive}\"\n"
    )
}

async fn piccolo(machine: &Machine, args: &[&str]) -> anyhow::Result<String> {
    let output = machine.piccolo(args)?.output().await?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "piccolo {args:?}: {told}");
    Ok(told)
}
