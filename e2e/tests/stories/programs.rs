//! How programs in containers end when it is not by themselves, and why some do not begin.

use anyhow::{Context, ensure};
use piccolo_e2e::{
    Engine, Machine, PATIENCE, container, image,
    machine::{program, story},
    sleeper,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::console::{finish, run};

#[tokio::test]
async fn a_daemon_that_stops_takes_the_programs_along() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = house().await?;
        let _polite = begin(&machine, "echo begun; sleep 123451 | sleep 123452").await?;
        let _stubborn = begin(&machine, "trap '' HUP; echo begun; sleep 123453; sleep 123454").await?;
        ensure!(programs(&machine).await?.contains("sleep 12345"), "nothing runs");
        machine.stop().await?;
        machine.start().await?;
        let left = programs(&machine).await?;
        ensure!(!left.contains("sleep 12345"), "{left}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_leaves_takes_along_all_that_the_program_started_but_nothing_else() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let machine = house().await?;
        let mut leaves = begin(&machine, "echo begun; sleep 123451 | sleep 123452").await?;
        let _stays = begin(&machine, "echo begun; sleep 123453 | sleep 123454").await?;
        leaves.kill().await?;
        machine
            .until("the programs have ended", async || {
                let left = programs(&machine).await.unwrap_or_default();
                left.contains("sleep") && !left.contains("sleep 123451") && !left.contains("sleep 123452")
            })
            .await?;
        let left = programs(&machine).await?;
        ensure!(left.contains("sleep 123453") && left.contains("sleep 123454"), "{left}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_container_that_does_not_run_says_what_to_do() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let job = container("job", &image("1")?, "command = [\"true\"]\nrestart = \"no\"");
        machine.write("job.toml", &job)?;
        machine.start().await?;
        machine.until("it has ended", async || machine.status("job").await["state"] == "exited").await?;
        let ended = run(&machine, &["exec", "job", "--", "true"], "").await?;
        let words = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.code() == Some(1) && ended.stdout.is_empty(), "{ended:?}");
        ensure!(words.starts_with("error: It does not run at present; `piccolo describe` says why ("), "{words}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_terminal_is_as_it_was_whatever_ends_the_command() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let machine = house().await?;
        for (signal, code) in [("HUP", 129), ("INT", 130), ("QUIT", 131), ("TERM", 143)] {
            on_a_terminal(&machine, "sleep 123451", &format!("kill -{signal} $pid"), code).await?;
        }
        on_a_terminal(&machine, "sh -c 'exit 7'", "true", 7).await
    })
    .await
}

#[tokio::test]
async fn a_terminal_that_changes_its_size_does_so_in_the_container() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let machine = house().await?;
        let waits = "sh -c 'until [ \"$(stty size)\" = \"41 101\" ]; do sleep 0.1; done; exit 9'";
        on_a_terminal(&machine, waits, "stty rows 41 cols 101", 9).await
    })
    .await
}

/// Runs a program on a terminal, then this line beside it, and expects this exit code and the terminal as it was.
async fn on_a_terminal(machine: &Machine, words: &str, beside: &str, code: i32) -> anyhow::Result<()> {
    let (piccolo, socket) = (program()?.with_file_name("piccolo"), machine.socket());
    let (piccolo, socket) = (piccolo.display(), socket.display());
    let line = format!(
        "exec 3<&0; before=$(stty -g)
         {piccolo} --host unix://{socket} exec -it web -- {words} <&3 & pid=$!
         until [ \"$(stty -g)\" != \"$before\" ] || ! kill -0 $pid; do sleep 0.05; done
         {beside}; wait $pid; code=$?
         [ \"$(stty -g)\" = \"$before\" ] && exit $code"
    );
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]);
    let shown = finish(script, "").await?;
    ensure!(shown.status.code() == Some(code), "{words}, {beside}: {shown:?}");
    Ok(())
}

async fn house() -> anyhow::Result<Machine> {
    let mut machine = Machine::new()?;
    machine.write("web.toml", &sleeper("web", "")?)?;
    machine.start().await?;
    machine.until_settled().await?;
    Ok(machine)
}

/// Begins a script in the container, and waits for its first words.
async fn begin(machine: &Machine, script: &str) -> anyhow::Result<Child> {
    let mut child = machine.piccolo(&["exec", "web", "--", "sh", "-c", script])?.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let first = timeout(PATIENCE, lines.next_line()).await??;
    ensure!(first.as_deref() == Some("begun"), "{first:?}");
    Ok(child)
}

/// Returns what runs in the container.
async fn programs(machine: &Machine) -> anyhow::Result<String> {
    let seen = run(machine, &["exec", "web", "--", "ps", "-o", "args"], "").await?;
    ensure!(seen.status.success(), "{seen:?}");
    Ok(String::from_utf8_lossy(&seen.stdout).into_owned())
}
