//! Images that nothing needs go when that is asked for, and no others.

use std::fs;

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, container, image, machine::story};
use tempfile::TempDir;

use super::{
    images::SLEEPS,
    updates::{docker, text},
};

/// What others brought here and what somebody needs stays, whatever is asked for.
#[tokio::test]
async fn only_what_nothing_needs_is_removed() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let images = ["kept:1", "kept:2", "kept:3"].map(|name| image("1").map(|it| it.replace("busybox:1", name)));
        let [first, second, third] = images;
        let (first, second, third) = (first?, second?, third?);
        let recipe = TempDir::with_prefix("piccolo-context-")?;
        for (number, name) in [&first, &second, &third].into_iter().enumerate() {
            fs::write(recipe.path().join("Dockerfile"), format!("FROM {}\nLABEL number={number}\n", image("1")?))?;
            docker(&["build", "-q", "-t", name, &recipe.path().display().to_string()]).await?;
            docker(&["push", "-q", name]).await?;
            docker(&["rmi", name]).await?;
        }
        docker(&["pull", "-q", &image("latest")?]).await?;
        let mut machine = Machine::new()?;
        machine.start().await?;
        for name in [&first, &second, &third] {
            machine.write("web.toml", &container("web", name, SLEEPS))?;
            machine.until("it runs", async || runs(&engine, name).await).await?;
            machine.until_settled().await?;
        }
        let told = text(machine.piccolo(&["image", "prune", "--dry-run"])?.output().await?)?;
        ensure!(told.contains(&first) && !told.contains(&second) && !told.contains(&third), "{told}");
        ensure!(told.contains("1 image(s)") && engine.0.inspect_image(&first).await.is_ok(), "{told}");
        let told = text(machine.piccolo(&["image", "prune"])?.output().await?)?;
        ensure!(told.contains("1 image(s)"), "{told}");
        ensure!(engine.0.inspect_image(&first).await.is_err(), "it is still there");
        for name in [&second, &third, &image("latest")?] {
            engine.0.inspect_image(name).await.with_context(|| format!("{name} is gone"))?;
        }
        let told = machine.piccolo(&["image", "prune"])?.output().await?;
        ensure!(String::from_utf8_lossy(&told.stderr).contains("is needed") && told.stdout.is_empty());
        machine.until_settled().await
    })
    .await
}

async fn runs(engine: &Engine, image: &str) -> bool {
    let found = engine.0.inspect_container("web", None).await.ok().and_then(|found| found.config);
    found.and_then(|config| config.image).is_some_and(|it| it == image)
}
