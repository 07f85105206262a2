//! Whatever is wrong has a name and a sentence, and everything else goes on.

use anyhow::ensure;
use piccolo_e2e::{Engine, Machine, container, image, machine::story, sleeper};

#[tokio::test]
async fn a_broken_manifest_tears_nothing_down() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        for name in ["web", "api"] {
            machine.write(&format!("{name}.toml"), &sleeper(name, "")?)?;
        }
        machine.start().await?;
        machine.until_settled().await?;
        let before = (engine.inspect("web").await, engine.inspect("api").await);
        machine.write("web.toml", &sleeper("web", "memroy = \"1Gi\"")?)?;
        machine
            .until("the mistake is said", async || {
                let status = machine.status("web").await;
                status["conditions"][1]["status"] == "False" && status["conditions"][1]["reason"] == "ManifestInvalid"
            })
            .await?;
        // What is missing may stand in the broken file, so nothing goes.
        machine.remove("api.toml")?;
        machine.write("job.toml", &sleeper("job", "")?)?;
        machine.until("c runs", async || engine.inspect("job").await.is_some_and(|c| c.state == "running")).await?;
        ensure!(before == (engine.inspect("web").await, engine.inspect("api").await), "a container was disturbed");
        // The last version that was understood is kept: a still comes back.
        engine.remove("web").await?;
        machine.until("a is back", async || engine.inspect("web").await.is_some_and(|a| a.state == "running")).await?;
        machine.write("web.toml", &sleeper("web", "")?)?;
        machine.until("b goes", async || engine.inspect("api").await.is_none()).await?;
        machine.until_settled().await
    })
    .await
}

#[tokio::test]
async fn what_the_engine_refuses_has_a_name() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let port = "[[spec.ports]]\ncontainerPort = 80\nhostPort = ";
        // Somebody else's program holds this port.
        let taken = tokio::net::TcpListener::bind("0.0.0.0:0").await?;
        let held = taken.local_addr()?.port();
        machine.write("port.toml", &sleeper("port", &format!("{port}{held}"))?)?;
        machine.write("missing.toml", &container("missing", &image("no-such-tag")?, ""))?;
        machine.write("nowhere.toml", &container("nowhere", "localhost:1/nothing:1", ""))?;
        machine
            .write("mount.toml", &sleeper("mount", "[[spec.mounts]]\npath = \"/x\"\nhostPath = \"/no/such/place\"")?)?;
        machine.write("network.toml", &sleeper("network", "network = \"nobody\"")?)?;
        machine.write("good.toml", &sleeper("good", "")?)?;
        machine.start().await?;
        for (name, reason) in [
            ("port", "PortTaken"),
            ("missing", "ImageMissing"),
            ("nowhere", "ImageMissing"),
            ("mount", "MountSourceMissing"),
            ("network", "NetworkMissing"),
        ] {
            machine.until(&format!("{name} says {reason}"), async || machine.reason(name).await == reason).await?;
            let message = machine.status(name).await["conditions"][0]["message"].to_string();
            ensure!(message.len() > 20, "{name}: {message}");
        }
        machine.until("good runs", async || machine.reason("good").await == "Running").await?;
        // What was wrong is mended, and goes on by itself.
        drop(taken);
        machine.until("port runs", async || machine.reason("port").await == "Running").await
    })
    .await
}
