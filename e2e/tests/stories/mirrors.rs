//! Mirrors: whoever has an image gives it, and it is called what the manifest calls it.

use std::fs;

use anyhow::{Context, ensure};
use bollard::query_parameters::RemoveImageOptions;
use piccolo_e2e::{Engine, Machine, container, image, machine::story};
use tempfile::TempDir;

use super::{
    images::{RIGHT, Registry, SLEEPS, USER},
    updates::docker,
};

/// Nobody listens there.
const NOBODY: &str = "localhost:1";

#[tokio::test]
async fn a_mirror_gives_what_its_registry_does_not() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let registry = Registry::start().await?;
        // An image that no other story has.
        let recipe = TempDir::with_prefix("piccolo-context-")?;
        fs::write(recipe.path().join("Dockerfile"), format!("FROM {}\nLABEL story=mirrors\n", image("1")?))?;
        docker(&["build", "-q", "-t", "mirrored:1", &recipe.path().display().to_string()]).await?;
        let published = registry.take(&engine, "mirrored:1", "hub/app").await?;
        docker(&["rmi", "mirrored:1"]).await?;
        let wanted = format!("{NOBODY}/app:1");
        let mirrors = format!(
            "[{{ at = \"{NOBODY}/nothing\" }}, {{ at = \"{}/hub\", credentials = {{ secret = \"registry\" }} }}]",
            registry.address
        );
        let mut machine = Machine::new()?;
        machine.write("app.toml", &declared("app", &wanted, &mirrors))?;
        machine.write("web.toml", &container("web", &wanted, SLEEPS))?;
        machine.start().await?;
        machine.set_secret("registry", "username", USER).await?;
        machine.set_secret("registry", "password", RIGHT).await?;
        machine.until_settled().await?;
        let seen = engine.inspect("web").await.context("no container")?;
        ensure!(seen.state == "running");
        let found = engine.0.inspect_image(&wanted).await?;
        let names = found.repo_tags.unwrap_or_default();
        ensure!(names == [wanted.as_str()], "{names:?}, and it was {published}");
        let digest = machine.get("/apis/piccolo.os/v1alpha1/images/app").await?["status"]["digest"].clone();
        let digest = digest.as_str().context("no digest")?;

        // By its digest, which no mirror can make another image of.
        machine.remove("web.toml")?;
        machine.until("it is gone", async || engine.inspect("web").await.is_none()).await?;
        machine.until_settled().await?;
        let by_digest = format!("{NOBODY}/app@{digest}");
        machine.remove("app.toml")?;
        machine.until_settled().await?;
        engine.0.remove_image(&wanted, None::<RemoveImageOptions>, None).await?;
        ensure!(engine.0.inspect_image(&found.id.context("no identifier")?).await.is_err(), "it is still here");
        machine.write("app.toml", &declared("app", &by_digest, &mirrors))?;
        machine.write("web.toml", &container("web", &by_digest, SLEEPS))?;
        machine.until("it runs", async || engine.inspect("web").await.is_some_and(|it| it.state == "running")).await?;
        machine.until_settled().await
    })
    .await
}

#[tokio::test]
async fn without_its_mirror_an_image_comes_from_its_registry() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("app.toml", &declared("app", &image("1")?, &format!("[{{ at = \"{NOBODY}\" }}]")))?;
        machine.write("web.toml", &container("web", &image("1")?, SLEEPS))?;
        machine.start().await?;
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await.context("no container")?.state == "running");
        Ok(())
    })
    .await
}

fn declared(name: &str, reference: &str, mirrors: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Image\"\nmetadata.name = \"{name}\"\n\n[spec]\n\
         reference = \"{reference}\"\nmirrors = {mirrors}\n"
    )
}
