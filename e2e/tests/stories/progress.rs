//! How far the pull of an image has come, from a registry behind a slow line to the status and the command line.

use std::time::Duration;

use anyhow::{Context, ensure};
use bollard::{
    models::{ContainerConfig, ContainerCreateBody},
    query_parameters::{
        CommitContainerOptionsBuilder, CreateContainerOptions, CreateImageOptionsBuilder, PushImageOptionsBuilder,
        RemoveContainerOptions, RemoveImageOptions, StartContainerOptions, WaitContainerOptions,
    },
};
use futures_util::TryStreamExt;
use piccolo_e2e::{Engine, Machine, container, image, machine::story};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What the large layer of the image holds, in MiB.
const SIZE: u64 = 16;
/// What the slow line carries in a tenth of a second, in bytes.
const SIP: usize = 400 << 10;

#[tokio::test]
async fn a_slow_pull_is_told_as_it_comes() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let (_line, address) = slow_line().await?;
        publish(&engine).await?;
        let mut machine = Machine::new()?;
        machine.start().await?;
        let manifest = container(
            "web",
            &format!("{address}/large:1"),
            "command = [\"sleep\", \"1000000\"]\nstopSignal = \"SIGKILL\"",
        );
        let file = tempfile::NamedTempFile::with_suffix(".toml")?;
        std::fs::write(file.path(), manifest)?;
        let path = file.path().display().to_string();
        let applying = machine.piccolo(&["apply", "-f", &path, "--wait"])?.output();
        let following = async {
            let mut told: Vec<u64> = Vec::new();
            machine
                .until("the container runs", async || {
                    let status = machine.status("web").await;
                    told.extend(status["progress"]["percent"].as_u64().filter(|it| told.last() != Some(it)));
                    status["conditions"][0]["status"] == "True"
                })
                .await?;
            anyhow::Ok(told)
        };
        let (applied, told) = tokio::join!(applying, following);
        let (applied, told) = (applied?, told?);
        ensure!(told.len() >= 3 && told.is_sorted(), "percents: {told:?}");
        ensure!(machine.status("web").await["progress"] == Value::Null, "what is over is told no more");
        let said = String::from_utf8_lossy(&applied.stderr);
        ensure!(applied.status.success(), "{said}");
        ensure!(said.lines().any(|line| line.contains(" %, ") && line.contains("layers unpacked")), "{said}");
        println!("told {told:?} %, and by the command line:\n{said}");
        Ok(())
    })
    .await
}

/// Puts an image with a large layer into the registry and leaves none of it at the engine.
async fn publish(engine: &Engine) -> anyhow::Result<()> {
    let (from, docker) = (image("1")?, &engine.0);
    let repository = from.replace("/busybox:1", "/large");
    let pull = CreateImageOptionsBuilder::new().from_image(&from).build();
    docker.create_image(Some(pull), None, None).try_collect::<Vec<_>>().await?;
    let write = format!("dd if=/dev/urandom of=/large bs=1M count={SIZE}");
    let made = ContainerCreateBody {
        image: Some(from),
        cmd: Some(["sh", "-c", &write].map(str::to_owned).into()),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None::<CreateContainerOptions>, made).await?.id;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    docker.wait_container(&id, None::<WaitContainerOptions>).try_collect::<Vec<_>>().await?;
    let commit = CommitContainerOptionsBuilder::new().container(&id).repo(&repository).tag("1").build();
    docker.commit_container(commit, ContainerConfig::default()).await?;
    docker.remove_container(&id, None::<RemoveContainerOptions>).await?;
    let push = PushImageOptionsBuilder::new().tag("1").build();
    docker.push_image(&repository, Some(push), None).try_collect::<Vec<_>>().await?;
    docker.remove_image(&format!("{repository}:1"), None::<RemoveImageOptions>, None).await?;
    Ok(())
}

/// Makes a line to the registry that carries little at a time. It is cut with what is returned.
async fn slow_line() -> anyhow::Result<(JoinSet<()>, String)> {
    let registry = std::env::var("REGISTRY")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("localhost:{}", listener.local_addr()?.port());
    let port = registry.rsplit_once(':').context("no port")?.1.parse::<u16>()?;
    let mut line = JoinSet::new();
    line.spawn(async move {
        let mut calls = JoinSet::new();
        while let Ok((here, _)) = listener.accept().await {
            calls.spawn(async move {
                // A call that breaks off is the caller's to tell.
                let _ = carry(here, port).await;
            });
        }
    });
    Ok((line, address))
}

async fn carry(here: TcpStream, port: u16) -> std::io::Result<()> {
    let there = TcpStream::connect(("127.0.0.1", port)).await?;
    let ((mut asks, mut hears), (mut answers, mut asked)) = (here.into_split(), there.into_split());
    let asking = async { copy(&mut asks, &mut asked).await.map(drop) };
    let answering = async {
        let mut sip = vec![0; SIP];
        loop {
            let length = answers.read(&mut sip).await?;
            if length == 0 {
                return hears.shutdown().await;
            }
            hears.write_all(&sip[..length]).await?;
            // The line is slow in proportion to what it carries.
            tokio::time::sleep(Duration::from_millis(100) * length as u32 / SIP as u32).await;
        }
    };
    tokio::try_join!(asking, answering).map(drop)
}
