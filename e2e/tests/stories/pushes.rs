//! Images that are pushed, to a real registry that wants a login.

use std::fs;

use anyhow::{Context, ensure};
use bollard::query_parameters::{CreateImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::TryStreamExt;
use piccolo_e2e::{Engine, Machine, container, image, machine::story};
use tempfile::TempDir;

use super::images::{RIGHT, Registry, SLEEPS, USER, WRONG, declared, login, nothing_is_told, reason, status};

const LOGIN: &str = "credentials = { secret = \"registry\" }";

#[tokio::test]
async fn an_image_is_pushed_once_and_names_are_given_back() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let registry = Registry::start().await?;
        let (first, second) = (format!("{}/copy:1", registry.address), format!("{}/copy:2", registry.address));
        let mut machine = Machine::new()?;
        let manifest = |pushes: &str| Ok::<_, anyhow::Error>(declared("app", &image("1")?, pushes));
        machine.write("app.toml", &manifest(&format!("push = [{{ to = \"{first}\", {LOGIN} }}]"))?)?;
        machine.write("web.toml", &container("web", &image("1")?, SLEEPS))?;
        machine.write("registry.toml", SECRET)?;
        machine.start().await?;
        machine.set_secret("registry", "username", USER).await?;
        machine.set_secret("registry", "password", WRONG).await?;
        machine.until("the login is refused", async || reason(&machine).await == "PermissionDenied").await?;
        let told = status(&machine).await["conditions"][0]["message"].to_string();
        ensure!(told.contains("does not take it with this login"), "{told}");
        // That it can't be pushed keeps no container from it.
        machine.until("the container runs", async || machine.reason("web").await == "Running").await?;

        machine.set_secret("registry", "password", RIGHT).await?;
        machine.until_settled().await?;
        let digest = at(&engine, &first).await?;
        ensure!(status(&machine).await["pushed"][&first] == digest, "{:#}", status(&machine).await);
        ensure!(engine.0.inspect_image(&first).await.is_err(), "the name stays that was lent");
        nothing_is_told(&machine).await?;
        let before = pushes(&machine).await?;
        machine.stop().await?;
        machine.start().await?;
        machine.write("later.toml", &container("later", &image("1")?, SLEEPS))?;
        machine.until_settled().await?;
        ensure!(pushes(&machine).await? == before, "a restart pushes again");

        // A push that broke off has left a name behind, of which only the book tells.
        machine.stop().await?;
        tag(&engine, &image("1")?, &first).await?;
        let page = machine.state().join("pushed/app.json");
        fs::write(&page, serde_json::json!({ "lent": { first.as_str(): null } }).to_string())?;
        machine.start().await?;
        let gone = async || engine.0.inspect_image(&first).await.is_err();
        machine.until("the name goes that was lent before", gone).await?;
        machine
            .until("it is written down", async || fs::read_to_string(&page).is_ok_and(|it| it.contains(&digest)))
            .await?;
        machine.until_settled().await?;

        // A name that another image has here is lent and given back.
        let other = other(&engine, &second).await?;
        let both = format!("push = [{{ to = \"{first}\", {LOGIN} }}, {{ to = \"{second}\", {LOGIN} }}]");
        machine.write("app.toml", &manifest(&both)?)?;
        let has = async || status(&machine).await["pushed"][&second] == digest;
        machine.until("the registry has both", has).await?;
        machine.until_settled().await?;
        ensure!(at(&engine, &second).await? == digest);
        ensure!(engine.0.inspect_image(&second).await?.id == Some(other), "the name was not given back");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_built_is_pushed_each_time() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let registry = Registry::start().await?;
        let to = format!("{}/built:1", registry.address);
        let context = TempDir::with_prefix("piccolo-context-")?;
        let write = |word: &str| fs::write(context.path().join("word"), word);
        fs::write(context.path().join("Containerfile"), format!("FROM {}\nCOPY word /word\n", image("1")?))?;
        write("one")?;
        let mut machine = Machine::new()?;
        let from =
            format!("build = {{ context = \"{}\" }}\npush = [{{ to = \"{to}\", {LOGIN} }}]", context.path().display());
        machine.write("app.toml", &declared("app", &to, &from))?;
        machine.write("registry.toml", SECRET)?;
        machine.start().await?;
        machine.set_secret("registry", "username", USER).await?;
        machine.set_secret("registry", "password", RIGHT).await?;
        let pushed = async || status(&machine).await["pushed"][&to].as_str().map(str::to_owned);
        machine.until("it is pushed", async || pushed().await.is_some()).await?;
        machine.until_settled().await?;
        let first = at(&engine, &to).await?;
        ensure!(pushed().await.as_deref() == Some(first.as_str()));
        write("two")?;
        let again = async || pushed().await.is_some_and(|it| it != first);
        machine.until("it is built and pushed anew", again).await?;
        machine.until_settled().await?;
        ensure!(pushed().await == Some(at(&engine, &to).await?));
        ensure!(engine.0.inspect_image(&to).await.is_ok(), "its own name is gone");
        Ok(())
    })
    .await
}

const SECRET: &str = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Secret\"\nmetadata.name = \"registry\"\n";

/// Returns the digest that the registry has for a name.
async fn at(engine: &Engine, name: &str) -> anyhow::Result<String> {
    engine.0.inspect_registry_image(name, Some(login())).await?.descriptor.digest.context("no digest")
}

/// Gives a name to another image, and returns its identifier.
async fn other(engine: &Engine, name: &str) -> anyhow::Result<String> {
    let from = image("2")?;
    let pull = CreateImageOptionsBuilder::new().from_image(&from).build();
    engine.0.create_image(Some(pull), None, None).try_collect::<Vec<_>>().await?;
    tag(engine, &from, name).await?;
    engine.0.inspect_image(&from).await?.id.context("no identifier")
}

async fn tag(engine: &Engine, image: &str, name: &str) -> anyhow::Result<()> {
    let (repository, tag) = name.rsplit_once(':').context("a tag")?;
    Ok(engine.0.tag_image(image, Some(TagImageOptionsBuilder::new().repo(repository).tag(tag).build())).await?)
}

/// Counts the pushes that the journal tells of.
async fn pushes(machine: &Machine) -> anyhow::Result<usize> {
    Ok(machine.get("/journal?limit=1000").await?.to_string().matches("push localhost").count())
}
