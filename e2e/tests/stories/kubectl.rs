//! kubectl against the daemon itself: over TLS, with the file that `piccolo kubeconfig` writes.

use std::{fs, process::Output};

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, image, machine::story};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// How long kubectl waits for the daemon and the engine.
const PATIENCE: &str = "--timeout=60s";

/// A person with kubectl and nothing else.
struct Person {
    home: TempDir,
}

#[tokio::test]
async fn kubectl_keeps_a_machine() -> anyhow::Result<()> {
    if !is_here().await {
        // Debian 12 has none that reads what the API says of itself.
        crate::skip::skipped("there is no kubectl of 1.27 or later");
        return Ok(());
    }
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.start().await?;
        let person = Person { home: TempDir::with_prefix("piccolo-kubectl-")? };
        let config = person.path("config")?;
        let written = machine.piccolo(&["kubeconfig", "--out", &config])?.output().await?;
        ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        ensure!(person.says(&["api-resources", "-o", "name"]).await?.contains("containers.piccolo.os"));

        let file = person.path("web.yaml")?;
        fs::write(&file, manifest("")?)?;
        person.says(&["apply", "-f", &file]).await?;
        person.says(&["wait", "--for=condition=Ready", "container/web", PATIENCE]).await?;
        ensure!(engine.inspect("web").await.context("no container")?.state == "running");
        ensure!(person.says(&["describe", "container", "web"]).await?.contains("Settled"));
        ensure!(person.says(&["explain", "container.spec.memory"]).await?.contains("memory"));

        fs::write(&file, manifest(", memory: 64Mi")?)?;
        let diff = person.run(&["diff", "-f", &file]).await?;
        ensure!(diff.status.code() == Some(1) && String::from_utf8_lossy(&diff.stdout).contains("+  memory: 64Mi"));
        person.says(&["apply", "-f", &file]).await?;
        machine.until("the limit is there", async || limit(&engine).await == Some(64 << 20)).await?;
        let edited =
            person.command(&["edit", "container", "web"])?.env("KUBE_EDITOR", "sed -i s/64Mi/80Mi/").output().await?;
        ensure!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
        machine.until("the limit is another one", async || limit(&engine).await == Some(80 << 20)).await?;
        let table = person.says(&["get", "containers"]).await?;
        ensure!(table.contains("True") && table.contains("running"), "{table}");

        person.says(&["delete", "container", "web", PATIENCE]).await?;
        machine.until("it is gone", async || engine.inspect("web").await.is_none()).await?;
        let nobody = person.run(&["get", "container", "web"]).await?;
        ensure!(String::from_utf8_lossy(&nobody.stderr).contains("\"web\" not found"), "{nobody:?}");
        Ok(())
    })
    .await
}

/// Older ones read descriptions of the kinds in another form, so that they explain and compare nothing.
async fn is_here() -> bool {
    let asked = Command::new("kubectl").args(["version", "--client", "--output=json"]).output().await;
    let told: Value = asked.ok().and_then(|it| serde_json::from_slice(&it.stdout).ok()).unwrap_or_default();
    told["clientVersion"]["minor"]
        .as_str()
        .and_then(|it| it.trim_end_matches('+').parse().ok())
        .is_some_and(|minor: u32| minor >= 27)
}

impl Person {
    fn path(&self, file: &str) -> anyhow::Result<String> {
        Ok(self.home.path().join(file).to_str().context("a plain path")?.to_owned())
    }

    fn command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new("kubectl");
        command.args(["--kubeconfig", &self.path("config")?, "--cache-dir", &self.path("cache")?]).args(words);
        command.env("HOME", self.home.path()).env_remove("http_proxy").env_remove("https_proxy").env("NO_PROXY", "*");
        Ok(command)
    }

    async fn run(&self, words: &[&str]) -> anyhow::Result<Output> {
        self.command(words)?.output().await.context("kubectl is not here: run e2e/test")
    }

    /// Runs it and returns what it says, which has to be no complaint.
    async fn says(&self, words: &[&str]) -> anyhow::Result<String> {
        let done = self.run(words).await?;
        ensure!(done.status.success(), "kubectl {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?)
    }
}

fn manifest(more: &str) -> anyhow::Result<String> {
    Ok(format!(
        "apiVersion: piccolo.os/v1alpha1\nkind: Container\nmetadata: {{ name: web }}\n\
         spec: {{ image: '{}', command: [sleep, '1000000'], stopSignal: SIGKILL{more} }}\n",
        image("1")?
    ))
}

/// Returns how much memory the container may have.
async fn limit(engine: &Engine) -> Option<i64> {
    engine.0.inspect_container("web", None).await.ok()?.host_config?.memory
}
