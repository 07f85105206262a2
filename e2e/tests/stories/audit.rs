//! Who asked for what, and what was done, in lines that can't be changed unseen.

use std::fs;

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, machine::story, sleeper};

use super::updates::text;

#[tokio::test]
async fn what_is_asked_and_done_is_written_down() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.start().await?;
        let manifest = machine.state().join("web.toml");
        fs::write(&manifest, sleeper("web", "")?)?;
        let path = manifest.to_str().context("a plain path")?;
        text(machine.piccolo(&["apply", "-f", path])?.output().await?)?;
        machine.until_settled().await?;
        let done = ["PUT /apis/piccolo.os/v1alpha1/containers/web", "container/web: start web"];
        machine
            .until("both are told", async || {
                lines(&machine).await.is_ok_and(|it| done.iter().all(|one| it.contains(one)))
            })
            .await?;
        let home = machine.state().join("audit");
        let verify = ["audit", "verify", "--dir", home.to_str().context("a plain path")?];
        let told = text(machine.piccolo(&verify)?.output().await?)?;
        ensure!(told.starts_with("well ") && told.contains("from number 1 on"), "{told}");

        // It goes on after a restart, and one letter is enough to break it.
        machine.stop().await?;
        machine.start().await?;
        text(machine.piccolo(&["delete", "container", "web"])?.output().await?)?;
        machine.until("it is told", async || lines(&machine).await.is_ok_and(|it| it.contains("remove web"))).await?;
        text(machine.piccolo(&verify)?.output().await?)?;
        let file = home.join("00000001.jsonl");
        let changed = fs::read_to_string(&file)?.replacen("\"who\":\"uid", "\"who\":\"vid", 1);
        fs::write(&file, changed)?;
        let broken = machine.piccolo(&verify)?.output().await?;
        let told = String::from_utf8_lossy(&broken.stdout).into_owned();
        ensure!(broken.status.code() == Some(1) && told.contains("00000001.jsonl:"), "{told}");
        machine.stop().await
    })
    .await
}

async fn lines(machine: &Machine) -> anyhow::Result<String> {
    text(machine.piccolo(&["audit", "-n", "100"])?.output().await?)
}
