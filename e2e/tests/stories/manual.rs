//! The tutorial does what it says: its commands are run as a reader would run them.

use anyhow::{Context, bail, ensure};
use piccolo_e2e::{Engine, Machine, image, machine, machine::story};
use tokio::process::Command;

const TUTORIAL: &str = include_str!("../../../agent/docs/tutorials/first-container.md");

/// A block of commands, and the lines that its output has sooner or later.
#[derive(Debug)]
struct Act {
    commands: String,
    shows: Vec<String>,
}

#[tokio::test]
async fn the_tutorial_does_what_it_says() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.start().await?;
        let folder = machine.path("");
        let folder = folder.to_str().context("a path in plain letters")?.trim_end_matches('/');
        let tutorial = TUTORIAL.replace("/etc/piccolo", folder).replace("busybox:1", &image("1")?);
        let acts = acts(&tutorial)?;
        ensure!(acts.len() >= 7, "{} acts", acts.len());
        for act in &acts {
            perform(&machine, act).await?;
        }
        machine.until("all is gone", async || engine.ours().await.is_ok_and(|ours| ours.is_empty())).await
    })
    .await
}

/// Reads the blocks of a page. What is shown belongs to the commands before it.
fn acts(page: &str) -> anyhow::Result<Vec<Act>> {
    let mut acts: Vec<Act> = Vec::new();
    for block in page.split("```").skip(1).step_by(2) {
        match block.split_once('\n') {
            Some(("sh", commands)) => acts.push(Act { commands: commands.to_owned(), shows: Vec::new() }),
            Some(("text", lines)) => {
                let act = acts.last_mut().context("something is shown before any command")?;
                act.shows = lines.lines().map(str::to_owned).collect();
            }
            _ => bail!("a block that is neither commands nor what they show: {block}"),
        }
    }
    Ok(acts)
}

/// Runs commands, again whenever the daemon says something, until they show what they should.
async fn perform(machine: &Machine, act: &Act) -> anyhow::Result<()> {
    let mut output = run(machine, &act.commands).await?;
    let shown = |output: &str| act.shows.iter().all(|line| output.contains(line));
    let what = format!("{} shows {:?}", act.commands, act.shows);
    if !shown(&output) {
        machine
            .until(&what, async || {
                output = run(machine, &act.commands).await.unwrap_or_default();
                shown(&output)
            })
            .await
            .with_context(|| format!("it showed {output}"))?;
    }
    Ok(())
}

async fn run(machine: &Machine, commands: &str) -> anyhow::Result<String> {
    let programs = machine::program()?;
    let programs = programs.parent().context("a folder")?;
    let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
    let output = Command::new("bash")
        .args(["-c", commands])
        .env("PATH", path)
        .env("PICCOLO_HOST", format!("unix://{}", machine.socket().display()))
        .output()
        .await?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}
