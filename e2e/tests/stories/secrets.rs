//! Values that only the machine can read reach containers, change, and are seen nowhere else.

use anyhow::{Context, ensure};
use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
};
use futures_util::TryStreamExt;
use piccolo_e2e::{
    Engine, Machine,
    machine::{all_files, story},
    sleeper,
};

const USES: &str = r#"user = "65534:65534"
[[spec.secrets]]
secret = "db"
path = "/run/db"
[[spec.secrets]]
secret = "db"
key = "key0"
path = "/etc/key"
mode = "0400"
uid = 65534
"#;

const VARIABLE: &str = "[[spec.secrets]]\nsecret = \"db\"\nkey = \"key0\"\nenv = \"KEY\"\n";

#[tokio::test]
async fn fifty_secrets_reach_containers_and_nobody_else() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("files.toml", &sleeper("files", USES)?)?;
        machine.write("variable.toml", &sleeper("variable", VARIABLE)?)?;
        machine.start().await?;
        machine.until("both wait", async || machine.reason("variable").await == "SecretMissing").await?;
        ensure!(machine.reason("files").await == "SecretMissing");

        let mut canaries = Vec::new();
        for number in 0..49 {
            canaries.push(set(&machine, &format!("key{number}")).await?);
        }
        machine.until_settled().await?;
        let before = engine.inspect("files").await.context("files")?;
        ensure!(read(&engine, "files", "cat /run/db/key48").await? == canaries[48]);
        ensure!(read(&engine, "files", "cat /etc/key").await? == canaries[0]);
        let told = read(&engine, "variable", "echo $KEY").await?;
        ensure!(told == canaries[0], "the variable is `{told}`");
        ensure!(read(&engine, "files", "touch /run/db/x 2>&1 || echo no").await?.ends_with("no"), "it can be written");

        // The fiftieth takes the place of the first: files change where they are, a variable needs a new container.
        let (old, was) = (canaries[0].clone(), engine.inspect("variable").await.context("variable")?);
        canaries.push(set(&machine, "key0").await?);
        let new = canaries[49].clone();
        machine
            .until("the files change", async || read(&engine, "files", "cat /etc/key").await.is_ok_and(|it| it == new))
            .await?;
        machine
            .until("the variable changes", async || {
                read(&engine, "variable", "echo $KEY").await.is_ok_and(|it| it == new)
            })
            .await?;
        machine.until_settled().await?;
        ensure!(read(&engine, "files", "cat /run/db/key0").await? == new && new != old);
        ensure!(engine.inspect("files").await.context("files")? == before, "the files were changed by a restart");
        ensure!(engine.inspect("variable").await.context("variable")?.id != was.id);

        hunt(&machine, &engine, &canaries).await
    })
    .await
}

#[tokio::test]
async fn after_a_start_of_the_machine_secrets_come_before_containers() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("files.toml", &sleeper("files", USES)?)?;
        machine.start().await?;
        let value = set(&machine, "key0").await?;
        machine.until_settled().await?;

        // What a start of the machine does: processes end, memory is empty.
        machine.stop().await?;
        engine.0.kill_container("files", None).await?;
        for entry in std::fs::read_dir(machine.memory())? {
            std::fs::remove_dir_all(entry?.path())?;
        }
        machine.start().await?;
        machine
            .until("it runs again", async || read(&engine, "files", "cat /etc/key").await.is_ok_and(|it| it == value))
            .await?;
        machine.until_settled().await?;

        // Without their manifests nothing of them is left.
        machine.remove("files.toml")?;
        machine.until("the container is gone", async || engine.inspect("files").await.is_none()).await?;
        let files = machine.memory().join("containers/files");
        machine.until("its files are gone", async || !files.exists()).await?;
        Ok(())
    })
    .await
}

/// Looks for the values wherever the daemon or the engine tells or keeps something.
async fn hunt(machine: &Machine, engine: &Engine, canaries: &[String]) -> anyhow::Result<()> {
    let mut seen = machine.whole_log();
    for path in ["/plan", "/problems", "/journal?limit=1000", "/api/v1/events"] {
        seen.push_str(&machine.get(path).await?.to_string());
    }
    for path in ["containers", "containers/files", "containers/variable", "secrets", "secrets/db"] {
        seen.push_str(&machine.get(&format!("/apis/piccolo.os/v1alpha1/{path}")).await?.to_string());
    }
    seen.push_str(&std::fs::read_to_string(machine.path("secrets/db.toml"))?);
    seen.push_str(&all_files(&machine.state())?);
    for name in ["files", "variable"] {
        let mut inspected = engine.0.inspect_container(name, None).await?;
        // What a variable holds is told by the engine: that is what was asked for.
        let env = inspected.config.as_mut().and_then(|config| config.env.take()).unwrap_or_default();
        let told = env.iter().filter(|line| canaries.iter().any(|it| line.contains(it))).count();
        ensure!(told == usize::from(name == "variable"), "{name} has {told} secrets in its environment");
        seen.push_str(&serde_json::to_string(&inspected)?);
    }
    ensure!(seen.contains("decrypt secret db"), "the hunt looks in the wrong place");
    for canary in canaries {
        ensure!(!seen.contains(canary), "{canary} was seen");
    }
    let held = all_files(machine.memory())?;
    ensure!(canaries[1..].iter().all(|it| held.contains(it)), "the hunt finds nothing at all");
    ensure!(!held.contains(&canaries[0]), "a value that was replaced is still held");
    Ok(())
}

/// Sets a value of the secret `db` and returns it.
async fn set(machine: &Machine, key: &str) -> anyhow::Result<String> {
    let value = format!("canary-{key}-{:032x}", fastrand::u128(..));
    machine.set_secret("db", key, &value).await?;
    Ok(value)
}

/// Runs a command in a container and returns what it prints.
async fn read(engine: &Engine, name: &str, script: &str) -> anyhow::Result<String> {
    let options = CreateExecOptions {
        cmd: Some(vec!["sh", "-c", script]),
        attach_stdout: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = engine.0.create_exec(name, options).await?;
    let StartExecResults::Attached { output, .. } = engine.0.start_exec(&exec.id, None).await? else {
        anyhow::bail!("nothing to read")
    };
    let parts: Vec<LogOutput> = output.try_collect().await?;
    Ok(parts.iter().map(ToString::to_string).collect::<String>().trim().to_owned())
}
