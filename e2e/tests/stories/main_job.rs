//! Manifests in, containers out, kept so.

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, container, image, machine::story, sleeper};

#[tokio::test]
async fn the_examples_converge_and_stay() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let registry = std::env::var("REGISTRY")?;
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))? {
            let path = entry?.path();
            let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
            let elsewhere = [
                "home", "offline", "air", "lan", "guests", "media", "papers", "album", "shelf", "cabinet", "host",
                "install",
            ];
            if elsewhere.contains(&name.trim_end_matches(".toml")) {
                // A repository in somebody else's home, an archive on a stick, ports and disks that are not here, and
                // what this machine is called; nor does it run from a stick.
                continue;
            }
            machine.write(&name, &std::fs::read_to_string(&path)?.replace("localhost:5000", &registry))?;
        }
        std::fs::create_dir_all("/srv/greeter")?;
        std::fs::write("/srv/greeter/Containerfile", format!("FROM {}\nARG GREETING\n", image("1")?))?;
        machine.start().await?;
        machine.until_settled().await?;
        let before = runs(&engine).await?;
        ensure!(before.len() >= 6, "{before:?}");
        machine.stop().await?;
        machine.start().await?;
        machine.until_settled().await?;
        ensure!(before == runs(&engine).await?, "a restart of the daemon touched containers");
        let drift = machine.get("/journal?limit=1000").await?.to_string();
        ensure!(!drift.contains("Drifted"), "drift on a machine that nobody touched");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_edit_replaces_only_what_it_is_about() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        for name in ["web", "api", "job"] {
            machine.write(&format!("{name}.toml"), &sleeper(name, "")?)?;
        }
        machine.start().await?;
        machine.until_settled().await?;
        let before = runs(&engine).await?;
        machine.write(
            "api.toml",
            &container("api", &image("2")?, "command = [\"sleep\", \"1000\"]\nstopSignal = \"SIGKILL\""),
        )?;
        machine
            .until("b runs the new image", async || {
                engine.inspect("api").await.is_some_and(|b| b.image.ends_with(":2") && b.state == "running")
            })
            .await?;
        machine.until_settled().await?;
        let after = runs(&engine).await?;
        ensure!(before.len() == 3 && after.len() == 3, "{after:?}");
        for (one, other) in before.iter().zip(&after).filter(|(one, _)| one.0 != "api") {
            ensure!(one == other, "{one:?} became {other:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn limits_change_without_a_restart() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("web.toml", &sleeper("web", "memory = \"32Mi\"")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        let before = engine.inspect("web").await.context("web")?;
        machine.write("web.toml", &sleeper("web", "memory = \"48Mi\"\nrestart = \"onFailure\"")?)?;
        machine
            .until("the new limit", async || engine.inspect("web").await.is_some_and(|a| a.memory == 48 << 20))
            .await?;
        machine.until_settled().await?;
        let after = engine.inspect("web").await.context("web")?;
        ensure!((before.id, before.started) == (after.id, after.started), "it was restarted");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_manifest_that_goes_takes_its_container_but_not_its_volume() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let volume = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Volume\"\nmetadata.name = \"piccolo-story\"\n";
        machine.write("data.toml", volume)?;
        let mount = "[[spec.mounts]]\npath = \"/data\"\nvolume = \"piccolo-story\"";
        machine.write("web.toml", &sleeper("web", mount)?)?;
        machine.write("api.toml", &sleeper("api", "")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        let b = engine.inspect("api").await;
        machine.remove("web.toml")?;
        machine.remove("data.toml")?;
        machine.until("a is gone", async || engine.inspect("web").await.is_none()).await?;
        ensure!(engine.0.inspect_volume("piccolo-story").await.is_ok(), "the volume is gone");
        ensure!(engine.inspect("api").await == b, "b was touched");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stop_and_a_start_are_declared_too() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("web.toml", &sleeper("web", "running = false")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await.context("web")?.state == "created");
        machine.write("web.toml", &sleeper("web", "")?)?;
        machine.until("a runs", async || engine.inspect("web").await.is_some_and(|a| a.state == "running")).await?;
        machine.write("web.toml", &sleeper("web", "running = false")?)?;
        machine
            .until("a is stopped", async || engine.inspect("web").await.is_some_and(|a| a.state == "exited"))
            .await?;
        machine.until_settled().await
    })
    .await
}

#[tokio::test]
async fn an_image_without_a_tag_is_the_latest_and_no_other() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        for tag in ["1", "2", "latest"] {
            // What an earlier story has pulled.
            drop(
                engine.0.remove_image(&image(tag)?, None::<bollard::query_parameters::RemoveImageOptions>, None).await,
            );
        }
        let mut machine = Machine::new()?;
        let untagged = image("latest")?.replace(":latest", "");
        machine.write("web.toml", &container("web", &untagged, "command = [\"true\"]\nrestart = \"no\""))?;
        machine.start().await?;
        machine.until_settled().await?;
        let images = engine.0.list_images(None::<bollard::query_parameters::ListImagesOptions>).await?;
        let (tags, ours) = (images.into_iter().flat_map(|image| image.repo_tags), format!("{untagged}:"));
        // Other stories have pulled from elsewhere.
        let tags: Vec<String> = tags.filter(|tag| tag.starts_with(&ours)).collect();
        ensure!(tags == [image("latest")?], "{tags:?}");
        Ok(())
    })
    .await
}

/// Returns name, identifier and start of each of our containers.
async fn runs(engine: &Engine) -> anyhow::Result<Vec<(String, String, String)>> {
    let mut all = Vec::new();
    for name in engine.ours().await? {
        let seen = engine.inspect(&name).await.context("it was just there")?;
        all.push((name, seen.id, seen.started));
    }
    Ok(all)
}
