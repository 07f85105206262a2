//! Programs in containers, what containers print and what they use, as a person at the command line sees it.

use std::process::{Output, Stdio};

use anyhow::{Context, ensure};
use piccolo_e2e::{
    Engine, Machine, PATIENCE,
    machine::{program, story},
    sleeper,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
    time::timeout,
};

#[tokio::test]
async fn a_program_in_a_container_is_as_one_at_hand() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("web.toml", &sleeper("web", "")?)?;
        machine.start().await?;
        machine.until_settled().await?;

        // What goes in comes out, all of it, and the two outputs and the exit code are kept apart.
        let long = "0123456789abcdef".repeat(1 << 16);
        let echoed = run(&machine, &["exec", "-i", "web", "--", "cat"], &long).await?;
        ensure!(echoed.status.success() && echoed.stdout == long.as_bytes(), "{} bytes", echoed.stdout.len());
        let both = run(&machine, &["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 42"], "").await?;
        ensure!(both.status.code() == Some(42) && both.stdout == b"out\n" && both.stderr == b"err\n", "{both:?}");
        let missing = run(&machine, &["exec", "web", "--", "no-such-program"], "").await?;
        ensure!(missing.status.code() == Some(126) && contains(&missing.stdout, "not found"), "{missing:?}");

        // On a terminal.
        let typed = "test -t 0 && stty size && echo on a terminal; exit 7\n";
        let (piccolo, socket) = (program()?.with_file_name("piccolo"), machine.socket());
        let (piccolo, socket) = (piccolo.display(), socket.display());
        let line = format!("stty cols 91 rows 33; {piccolo} --host unix://{socket} exec -it web -- sh");
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        let shown = finish(script, typed).await?;
        let words = String::from_utf8_lossy(&shown.stdout);
        ensure!(shown.status.code() == Some(7), "{shown:?}");
        ensure!(words.contains("33 91") && words.contains("on a terminal\r\n"), "{words}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_leaves_takes_the_program_along() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("web.toml", &sleeper("web", "")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        let mut child =
            machine.piccolo(&["exec", "web", "--", "sh", "-c", "echo begun; exec sleep 123456"])?.spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = timeout(PATIENCE, lines.next_line()).await??;
        ensure!(first.as_deref() == Some("begun"), "{first:?}");
        child.kill().await?;
        machine
            .until("the program has ended", async || {
                let seen = run(&machine, &["exec", "web", "--", "ps", "-o", "args"], "").await;
                seen.is_ok_and(|seen| seen.status.success() && !contains(&seen.stdout, "sleep 123456"))
            })
            .await?;
        ensure!(engine.inspect("web").await.is_some_and(|web| web.state == "running"), "the container went with it");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_containers_print_and_use_is_shown() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let prints = "command = [\"sh\", \"-c\", \"for i in 1 2 3; do echo line $i; done; exec sleep 1000000\"]";
        let image = piccolo_e2e::image("1")?;
        let spec = format!("{prints}\nstopSignal = \"SIGKILL\"\nmemory = \"64Mi\"");
        machine.write("web.toml", &piccolo_e2e::container("web", &image, &spec))?;
        machine.start().await?;
        machine.until_settled().await?;
        machine
            .until("three lines", async || {
                let logs = run(&machine, &["logs", "web"], "").await;
                logs.is_ok_and(|logs| logs.stdout == b"line 1\nline 2\nline 3\n")
            })
            .await?;
        let tail = run(&machine, &["logs", "web", "--tail", "1", "--since", "1h"], "").await?;
        ensure!(tail.stdout == b"line 3\n", "{tail:?}");
        let old = run(&machine, &["logs", "web", "--until", "2020-01-01T00:00:00Z"], "").await?;
        ensure!(old.stdout.is_empty() && old.status.success(), "{old:?}");
        let top = run(&machine, &["top"], "").await?;
        let words = String::from_utf8_lossy(&top.stdout).into_owned();
        ensure!(words.lines().any(|line| line.starts_with("web ") && line.contains("64M")), "{words}");
        ensure!(words.lines().all(|line| line.chars().count() <= 80), "{words}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_followed_log_goes_on_over_restarts_and_replacements() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        let image = piccolo_e2e::image("1")?;
        let says = |word: &str| {
            let spec =
                format!("command = [\"sh\", \"-c\", \"echo {word}; exec sleep 1000000\"]\nstopSignal = \"SIGKILL\"");
            piccolo_e2e::container("web", &image, &spec)
        };
        machine.write("web.toml", &says("one"))?;
        // Where nothing at all is left, a removal waits for a confirmation.
        machine.write("other.toml", &piccolo_e2e::container("other", &image, "command = [\"sleep\", \"1000000\"]"))?;
        machine.start().await?;
        machine.until_settled().await?;
        let mut child = machine.piccolo(&["logs", "-f", "web"])?.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut shows = async |expected: &str| -> anyhow::Result<()> {
            let line = timeout(PATIENCE, lines.next_line()).await??;
            ensure!(line.as_deref() == Some(expected), "{line:?}, not {expected}");
            Ok(())
        };
        shows("one").await?;
        engine.0.kill_container("web", None).await?;
        shows("one").await?;
        machine.write("web.toml", &says("two"))?;
        shows("two").await?;
        engine.0.kill_container("web", None).await?;
        shows("two").await?;
        machine.remove("web.toml")?;
        let status = timeout(PATIENCE, child.wait()).await??;
        ensure!(status.success(), "{status}");
        Ok(())
    })
    .await
}

pub(crate) fn contains(bytes: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(word)
}

pub(crate) async fn run(machine: &Machine, words: &[&str], input: &str) -> anyhow::Result<Output> {
    finish(machine.piccolo(words)?, input).await
}

/// Runs a program to its end on this input.
pub(crate) async fn finish(mut command: Command, input: &str) -> anyhow::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    let write = async move {
        // Who reads nothing has ended already.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let (output, ()) = timeout(PATIENCE, async { tokio::join!(child.wait_with_output(), write) }).await?;
    Ok(output?)
}
