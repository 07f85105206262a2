//! The Rust client library of Kubernetes against a machine: typed objects, over TLS, with the file that `piccolo kubeconfig`
//! writes.

use std::{pin::pin, time::Duration};

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    discovery::Discovery,
    runtime::{WatchStreamExt, watcher},
};
use piccolo_e2e::{Engine, Machine, image, machine::story};
use piccolo_schema::{Container, ContainerSpec};
use serde_json::json;

/// How long a container may take to be as it was asked.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_kube_library_works_against_a_machine() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.start().await?;
        let client = client(&machine).await?;
        let found = Discovery::new(client.clone()).run().await?;
        let group = found.get("piccolo.os").context("the group is not discovered")?;
        ensure!(group.recommended_kind("Container").is_some(), "the kind is not discovered");

        // There are no namespaces on one machine.
        let containers: Api<Container> = Api::all(client);
        let spec = json!({ "image": image("1")?, "command": ["sleep", "1000000"], "stopSignal": "SIGKILL" });
        let wanted = Container::new("web", serde_json::from_value::<ContainerSpec>(spec)?);
        let made = containers.create(&PostParams::default(), &wanted).await?;
        ensure!(made.spec == wanted.spec && made.metadata.generation == Some(1));
        until(&containers, |it| state(it) == Some("running")).await?;
        ensure!(engine.inspect("web").await.context("no container")?.state == "running");

        let memory = json!({ "apiVersion": "piccolo.os/v1alpha1", "kind": "Container", "metadata": { "name": "web" },
                             "spec": { "image": image("1")?, "command": ["sleep", "1000000"],
                                       "stopSignal": "SIGKILL", "memory": "64Mi" } });
        let applied = containers.patch("web", &PatchParams::apply("story").force(), &Patch::Apply(&memory)).await?;
        ensure!(applied.spec.memory.is_some() && applied.metadata.generation == Some(2));
        until(&containers, |it| it.status.as_ref().and_then(|it| it.observed_generation) == Some(2)).await?;
        let stop = json!({ "spec": { "running": false } });
        containers.patch("web", &PatchParams::default(), &Patch::Merge(&stop)).await?;
        until(&containers, |it| state(it) == Some("exited")).await?;

        let mut stale = made;
        stale.spec.running = true;
        let refused = containers.replace("web", &PostParams::default(), &stale).await;
        ensure!(matches!(refused, Err(kube::Error::Api(it)) if it.code == 409), "an old version was written");
        let all = containers.list(&ListParams::default()).await?;
        ensure!(all.items.iter().map(ResourceExt::name_any).eq(["web".to_owned()]));
        containers.delete("web", &DeleteParams::default()).await?;
        ensure!(containers.get_opt("web").await?.is_none());
        machine.until("it is gone", async || engine.inspect("web").await.is_none()).await
    })
    .await
}

/// Reads the file that the machine writes for clients.
async fn client(machine: &Machine) -> anyhow::Result<Client> {
    let written = machine.piccolo(&["kubeconfig", "--role", "admin"])?.output().await?;
    ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let file = Kubeconfig::from_yaml(std::str::from_utf8(&written.stdout)?)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)?)
}

fn state(container: &Container) -> Option<&str> {
    container.status.as_ref()?.state.as_deref()
}

/// Watches until a container is so.
async fn until(containers: &Api<Container>, is_so: impl Fn(&Container) -> bool) -> anyhow::Result<()> {
    let seen = async {
        let mut seen = pin!(watcher(containers.clone(), watcher::Config::default()).applied_objects());
        while let Some(container) = seen.try_next().await? {
            if is_so(&container) {
                return Ok(());
            }
        }
        anyhow::bail!("the watch ended")
    };
    tokio::time::timeout(PATIENCE, seen).await.context("nothing came of it")?
}
