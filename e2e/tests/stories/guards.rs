//! Health, order and what a container may have.

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, container, image, machine::story, sleeper};

#[tokio::test]
async fn a_page_that_fails_gets_the_container_restarted_but_not_for_ever() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let serve = "command = [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/www\"]\nstopSignal = \"SIGKILL\"";
        let check = |path: &str| {
            format!("{serve}\nhealthCheck = {{ http = {{ port = 8000, path = \"{path}\" }}, interval = \"200ms\", retries = 2 }}")
        };
        machine.write("well.toml", &container("well", &image("1")?, &check("/")))?;
        machine.write("sick.toml", &container("sick", &image("1")?, &check("/no-such-page")))?;
        let port = "healthCheck = { tcp = { port = 9 }, interval = \"200ms\", retries = 2, onUnhealthy = \"none\" }";
        machine.write("deaf.toml", &sleeper("deaf", port)?)?;
        machine.start().await?;
        machine.until("the good page is healthy", async || machine.reason("well").await == "Healthy").await?;
        machine.until("nobody is at the port", async || machine.reason("deaf").await == "Unhealthy").await?;
        machine.until("it is left alone", async || machine.reason("sick").await == "Flapping").await?;
        let journal = machine.get("/journal?limit=1000").await?.to_string();
        let restarts = journal.matches("restart sick (unhealthy)").count();
        ensure!(restarts >= 3, "{journal}");
        ensure!(!journal.contains("restart deaf") && !journal.contains("restart well"), "{journal}");
        ensure!(engine.inspect("sick").await.context("sick")?.state == "running");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_container_gets_no_more_than_it_was_granted() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let link = machine.state().with_file_name("innocent");
        std::os::unix::fs::symlink("/etc", &link)?;
        let mount = format!("mounts = [{{ path = \"/x\", hostPath = \"{}\", readOnly = true }}]", link.display());
        machine.write("sly.toml", &sleeper("sly", &mount)?)?;
        machine.write("open.toml", &sleeper("open", &format!("{mount}\ngrants = [\"system-paths\"]"))?)?;
        machine.write("plain.toml", &sleeper("plain", "")?)?;
        let more = "shmSize = \"8Mi\"\nulimits = { nofile = { soft = 100, hard = 200 } }\nmemory = \"32Mi\"\nswap = \"16Mi\"\n\
                    cpuset = \"0\"\nioWeight = 300\ndevices = [{ hostPath = \"/dev/null\", path = \"/dev/nothing\" }]\n\
                    log = { driver = \"local\", maxSize = \"1Mi\" }";
        machine.write("much.toml", &sleeper("much", more)?)?;
        machine.start().await?;
        machine.until("the link is seen through", async || machine.reason("sly").await == "Refused").await?;
        machine.until("the grant counts", async || machine.reason("open").await == "Running").await?;
        machine.until("the rest runs", async || machine.reason("much").await == "Running").await?;
        machine.until("the rest runs", async || machine.reason("plain").await == "Running").await?;

        let plain = engine.0.inspect_container("plain", None).await?.host_config.context("host_config")?;
        ensure!(plain.security_opt == Some(vec!["no-new-privileges".to_owned()]), "{plain:?}");
        ensure!(plain.cap_drop.clone().is_some_and(|all| all.iter().any(|it| it.contains("NET_RAW"))), "{plain:?}");
        let log = plain.log_config.and_then(|it| it.config).unwrap_or_default();
        ensure!(log.get("max-file").is_some_and(|it| it == "3"), "{log:?}");
        let much = engine.0.inspect_container("much", None).await?.host_config.context("host_config")?;
        ensure!((much.shm_size, much.memory_swap) == (Some(8 << 20), Some(48 << 20)), "{much:?}");
        ensure!(much.cpuset_cpus.as_deref() == Some("0"), "{much:?}");
        ensure!(much.devices.is_some_and(|all| all.len() == 1));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_depends_on_others_starts_after_them_when_the_engine_comes_back() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("first.toml", &sleeper("first", "")?)?;
        machine.write("second.toml", &sleeper("second", "dependsOn = [{ container = \"first\" }]")?)?;
        machine.write("third.toml", &sleeper("third", "dependsOn = [{ container = \"second\" }]")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        // Thrice, as an engine that starts all at once may hit the right order by chance.
        for _ in 0..3 {
            let before = engine.inspect("first").await.context("first")?;
            let restarted = tokio::process::Command::new(std::env::var("RESTART_ENGINE")?).status().await?;
            ensure!(restarted.success());
            machine
                .until("all run anew, in order", async || {
                    let mut starts = Vec::new();
                    for name in ["first", "second", "third"] {
                        let Some(seen) = engine.inspect(name).await.filter(|it| it.state == "running") else {
                            return false;
                        };
                        starts.push(seen.started);
                    }
                    starts[0] != before.started && starts.is_sorted()
                })
                .await?;
        }
        Ok(())
    })
    .await
}
