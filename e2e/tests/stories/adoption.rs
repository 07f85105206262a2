//! Containers that others began: written down as they are, and taken over without a restart.

use std::process::Output;

use anyhow::{Context, bail, ensure};
use piccolo_e2e::{Engine, Machine, image, machine::story};
use serde_json::Value;
use tokio::process::Command;

/// What people run, each in its own way; the name stands last.
const THEIRS: [&str; 10] = [
    "--name plain",
    "--restart always -e TZ=Europe/Zurich -e ADMIN_PASSWORD=hunter2 --name with-env",
    "--restart unless-stopped -p 127.0.0.1:18081:80 -p 18082:53/udp --name with-ports",
    "--restart on-failure -v their_data:/data -v /srv:/srv:ro --tmpfs /run:size=1m --name with-mounts",
    "--network their_net --network-alias till --hostname counter --add-host nas:192.0.2.7 --name on_network",
    "--memory 64m --memory-swap 128m --cpus 0.5 --pids-limit 50 --ulimit nofile=100:200 --name with-limits",
    "--cap-drop ALL --cap-add NET_BIND_SERVICE --security-opt no-new-privileges --read-only --name with-rights",
    "--health-cmd true --health-interval 1s --init --stop-timeout 1 --workdir /tmp --user web --name with-health",
    "--network host --label org.example.team=home --log-opt max-size=1m --name on-host",
    "--sysctl net.core.somaxconn=77 --dns 192.0.2.1 --group-add 44 --shm-size 1m --name Mighty.One",
];

#[tokio::test]
async fn what_others_run_is_written_down() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.start().await?;
        begin().await?;
        let before = standing(&engine, &names()).await?;
        let out = machine.path("").with_file_name("captured");
        let told = piccolo(&machine, &["capture", "--out", out.to_str().context("a path")?]).await?;
        let report = String::from_utf8_lossy(&told.stdout);
        ensure!(told.status.success(), "{report}{}", String::from_utf8_lossy(&told.stderr));
        ensure!(!report.contains("hunter2") && !machine.whole_log().contains("hunter2"), "a secret is told");
        ensure!(std::fs::read_dir(out.join("containers"))?.count() == THEIRS.len(), "not all: {report}");
        ensure!(standing(&engine, &names()).await? == before, "something was changed");
        end(&engine).await?;
        machine.stop().await
    })
    .await
}

#[tokio::test]
async fn adopting_ten_containers_restarts_none() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.start().await?;
        begin().await?;
        let before = standing(&engine, &names()).await?;
        let told = piccolo(&machine, &["adopt", "container", "on_network"]).await?;
        let refusal = String::from_utf8_lossy(&told.stderr);
        ensure!(!told.status.success() && refusal.contains("reach it as `on_network`"), "{refusal}");
        for name in names() {
            let told = piccolo(&machine, &["adopt", "container", name, "--accept-loss"]).await?;
            ensure!(told.status.success(), "{name}: {}", String::from_utf8_lossy(&told.stderr));
        }
        let ours: Vec<String> = names().iter().map(|name| name.to_lowercase().replace(['_', '.'], "-")).collect();
        let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
        machine.until_settled().await?;
        machine.kill().await?;
        machine.start().await?;
        machine.until_settled().await?;
        ensure!(standing(&engine, &ours).await? == before, "something was begun anew");
        println!("{} of {} adopted containers run on as they were", ours.len(), ours.len());

        // What was adopted is kept like any other: brought back, replaced, removed.
        docker(&["kill", "with-ports"]).await?;
        machine.until_settled().await?;
        let (first, file) = (engine.inspect("with-env").await.context("it is gone")?, "containers/with-env.toml");
        let text = std::fs::read_to_string(machine.path(file))?.replace("Europe/Zurich", "Asia/Tokyo");
        std::fs::write(machine.path(file), text)?;
        machine
            .until("it is replaced", async || engine.inspect("with-env").await.is_some_and(|it| it.id != first.id))
            .await?;
        machine.until_settled().await?;
        let env = engine.0.inspect_container("with-env", None).await?.config.and_then(|it| it.env).unwrap_or_default();
        ensure!(env.contains(&"TZ=Asia/Tokyo".to_owned()) && env.contains(&"ADMIN_PASSWORD=hunter2".to_owned()));
        for name in &ours {
            piccolo(&machine, &["delete", "container", name]).await?;
            machine.until("it goes with its manifest", async || engine.inspect(name).await.is_none()).await?;
        }
        machine
            .until("no stamp is left", async || {
                std::fs::read_dir(machine.state().join("adopted")).is_ok_and(|all| all.count() == 0)
            })
            .await?;
        ensure!(!machine.whole_log().contains("hunter2"), "a secret is told");
        end(&engine).await?;
        machine.stop().await
    })
    .await
}

/// Begins all containers with the engine's own program.
async fn begin() -> anyhow::Result<()> {
    docker(&["network", "create", "their_net"]).await?;
    for theirs in THEIRS {
        let words: Vec<&str> = theirs.split(' ').collect();
        let image = image("1")?;
        docker(&[&["run", "-d", "--stop-signal", "SIGKILL"], &words[..], &[&image, "sleep", "1000000"]].concat())
            .await?;
    }
    Ok(())
}

async fn end(engine: &Engine) -> anyhow::Result<()> {
    for name in names() {
        if engine.inspect(name).await.is_some() {
            engine.remove(name).await?;
        }
    }
    docker(&["network", "rm", "their_net"]).await?;
    docker(&["volume", "rm", "their_data"]).await
}

fn names() -> Vec<&'static str> {
    THEIRS.iter().filter_map(|theirs| theirs.rsplit(' ').next()).collect()
}

/// Returns what tells whether a container was begun anew, for each: identifier, start, count of restarts.
async fn standing(engine: &Engine, names: &[&str]) -> anyhow::Result<Vec<(String, String, i64)>> {
    let mut all = Vec::new();
    for name in names {
        let seen = serde_json::to_value(engine.0.inspect_container(name, None).await?)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.push((text(&seen["Id"]), text(&seen["State"]["StartedAt"]), seen["RestartCount"].as_i64().unwrap_or(-1)));
    }
    Ok(all)
}

async fn piccolo(machine: &Machine, args: &[&str]) -> anyhow::Result<Output> {
    Ok(machine.piccolo(args)?.output().await?)
}

async fn docker(args: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("docker").args(args).output().await?;
    if !done.status.success() {
        bail!("docker {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}
