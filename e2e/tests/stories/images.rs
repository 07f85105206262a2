//! Images that are here before containers need them, from a real registry that wants a login.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use bollard::{
    auth::DockerCredentials,
    query_parameters::{
        CreateImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
    },
};
use futures_util::TryStreamExt;
use piccolo_e2e::{
    Engine, Machine, PATIENCE, container, image,
    machine::{all_files, story},
};
use serde_json::Value;
use tempfile::TempDir;

pub(super) const USER: &str = "someone";
pub(super) const RIGHT: &str = "canary-right-of-the-registry";
pub(super) const WRONG: &str = "canary-wrong-of-the-registry";
/// `RIGHT` as `htpasswd -B` keeps it.
const HTPASSWD: &str = "someone:$2y$05$abcdefghijklmnopqrstuu55j80rY6X5mhHfIZLaqNF//CrYWYsv2\n";
pub(super) const SLEEPS: &str = "command = [\"sleep\", \"1000000\"]\nstopSignal = \"SIGKILL\"";

#[tokio::test]
async fn a_container_waits_for_an_image_behind_a_login() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let registry = Registry::start().await?;
        let app = registry.publish(&engine, "app").await?;
        let mut machine = Machine::new()?;
        machine.write("app.toml", &declared("app", &app, "credentials = { secret = \"registry\" }"))?;
        machine.write("web.toml", &container("web", &app, SLEEPS))?;
        machine.start().await?;
        machine.until("the container waits", async || machine.reason("web").await == "ImageNotReady").await?;
        machine.until("the image waits", async || reason(&machine).await == "SecretMissing").await?;

        machine.set_secret("registry", "username", USER).await?;
        machine.until("it misses a password", async || reason(&machine).await == "SecretKeyMissing").await?;
        machine.set_secret("registry", "password", WRONG).await?;
        machine.until("the login is refused", async || reason(&machine).await == "PermissionDenied").await?;
        let told = status(&machine).await["conditions"][0]["message"].to_string();
        ensure!(told.contains("wants another login"), "{told}");
        ensure!(machine.reason("web").await == "ImageNotReady");

        machine.set_secret("registry", "password", RIGHT).await?;
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await.context("web")?.image == app);
        let status = status(&machine).await;
        let digests = engine.0.inspect_image(&app).await?.repo_digests.unwrap_or_default();
        let digest = status["digest"].as_str().context("no digest")?;
        ensure!(digest.starts_with("sha256:") && digests.iter().any(|it| it.ends_with(digest)), "{status:#}");
        ensure!(status["conditions"][0]["reason"] == "Present", "{status:#}");

        nothing_is_told(&machine).await?;
        // Without its manifest nothing that is here goes.
        let before = engine.inspect("web").await;
        machine.remove("app.toml")?;
        machine.until("the manifest is gone", async || machine.get(APP).await.is_err()).await?;
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await == before && engine.0.inspect_image(&app).await.is_ok());
        Ok(())
    })
    .await
}

const APP: &str = "/apis/piccolo.os/v1alpha1/images/app";

pub(super) async fn status(machine: &Machine) -> Value {
    machine.get(APP).await.map(|object| object["status"].clone()).unwrap_or_default()
}

pub(super) async fn reason(machine: &Machine) -> String {
    status(machine).await["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

/// Looks for the passwords wherever the daemon tells or keeps something.
pub(super) async fn nothing_is_told(machine: &Machine) -> anyhow::Result<()> {
    let mut seen = machine.whole_log();
    for path in ["/plan", "/problems", "/journal?limit=1000", "/api/v1/events", "/apis/piccolo.os/v1alpha1/images", APP]
    {
        seen.push_str(&machine.get(path).await?.to_string());
    }
    seen.push_str(&all_files(&machine.state())?);
    ensure!(seen.contains("with the login of secret registry"), "the hunt looks in the wrong place");
    for password in [RIGHT, WRONG] {
        ensure!(!seen.contains(password), "{password} was seen");
    }
    Ok(())
}

pub(super) fn declared(name: &str, reference: &str, more: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Image\"\nmetadata.name = \"{name}\"\n\n[spec]\nreference = \"{reference}\"\n{more}\n"
    )
}

/// The login that the registry wants.
pub(super) fn login() -> DockerCredentials {
    let (username, password) = (Some(USER.to_owned()), Some(RIGHT.to_owned()));
    DockerCredentials { username, password, ..DockerCredentials::default() }
}

/// A registry that wants a login.
pub(super) struct Registry {
    process: Child,
    pub(super) address: String,
    _room: TempDir,
}

impl Registry {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let room = TempDir::with_prefix("piccolo-registry-")?;
        // The port is free again before the registry takes it: it can't be asked which one it would choose.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (path, users) = (room.path().join("registry.yml"), room.path().join("htpasswd"));
        std::fs::write(&users, HTPASSWD)?;
        let (users, store) = (users.display(), room.path().display());
        std::fs::write(
            &path,
            format!(
                "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {store}/store }} }}\n\
                 http: {{ addr: \"127.0.0.1:{port}\" }}\nauth: {{ htpasswd: {{ realm: test, path: {users} }} }}\n"
            ),
        )?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("docker-registry")?;
        let registry = Self { process, address: format!("localhost:{port}"), _room: room };
        // There is no event for "a process listens".
        let answers = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.context("the registry does not answer")?;
        Ok(registry)
    }

    /// Puts an image into the registry and leaves none of it at the engine. Returns its reference.
    async fn publish(&self, engine: &Engine, name: &str) -> anyhow::Result<String> {
        let from = image("1")?;
        let pull = CreateImageOptionsBuilder::new().from_image(&from).build();
        engine.0.create_image(Some(pull), None, None).try_collect::<Vec<_>>().await?;
        self.take(engine, &from, name).await
    }

    /// Puts an image that is here into the registry, where it has this name. Returns its reference.
    pub(super) async fn take(&self, engine: &Engine, from: &str, name: &str) -> anyhow::Result<String> {
        let repository = format!("{}/{name}", self.address);
        let tag = TagImageOptionsBuilder::new().repo(&repository).tag("1").build();
        engine.0.tag_image(from, Some(tag)).await?;
        let push = PushImageOptionsBuilder::new().tag("1").build();
        engine.0.push_image(&repository, Some(push), Some(login())).try_collect::<Vec<_>>().await?;
        let reference = format!("{repository}:1");
        engine.0.remove_image(&reference, None::<RemoveImageOptions>, None).await?;
        Ok(reference)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
