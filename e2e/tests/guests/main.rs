//! Whole stories of the operating system, each in a machine of its own. `e2e/test image` builds the image before.
#![allow(clippy::disallowed_methods, reason = "a story writes files and starts programs as a person would")]
#![allow(clippy::large_futures, reason = "a story runs once")]
#![allow(clippy::print_stdout, reason = "a story tells what it measured")]

mod cd;
mod cuts;
mod encrypted;
mod halves;
mod install;
mod live;
mod pairs;
mod reset;
mod secure;
mod served;
mod signed;

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use piccolo_e2e::{guest::Guest, machine::program};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    time::{sleep, timeout},
};

/// The entry of the loader's menu for the rescue. It is chosen until another one is, as an emulated kernel may panic and start
/// anew. What the loader counts is in the name of the file alone.
const RESCUE: &str = "$(ls /boot/EFI/Linux | sed 's/+[-0-9]*[.]efi$/.efi/')@rescue";

/// How long it may take until a thing stands as it is to, where the processor is emulated and other things run beside it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Returns the image that was built for the stories.
fn image() -> anyhow::Result<PathBuf> {
    Ok(std::env::var("PICCOLO_IMAGE").context("PICCOLO_IMAGE is not set: run e2e/test image")?.into())
}

/// Returns where the machine of a story lives, and its serial line is kept.
fn place(name: &str) -> anyhow::Result<PathBuf> {
    let place = std::env::var("PICCOLO_GUESTS").context("PICCOLO_GUESTS is not set: run e2e/test image")?;
    Ok(Path::new(&place).join(name))
}

/// Waits until the screen tells the way in, and returns fingerprint and code.
async fn way_in(guest: &mut Guest) -> anyhow::Result<(String, String)> {
    let said = |text: &str, name: &str| {
        // The last line may not have ended yet.
        let line = text.rsplit_once('\n')?.0.lines().rev().find_map(|line| line.trim().strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    guest.until_said(|text| Some((said(text, "fingerprint ")?, said(text, "code ")?))).await
}

/// Waits until the start is over, and makes sure that it came to its good end.
async fn complete(guest: &mut Guest) -> anyhow::Result<()> {
    guest.run("systemctl is-system-running --wait >/dev/null; systemctl is-active boot-complete.target || { systemctl --failed; piccolo ready; exit 1; }").await?;
    Ok(())
}

/// Waits for a whole start, and claims the machine by what its screen shows.
async fn claimed(guest: &mut Guest) -> anyhow::Result<Person> {
    let (fingerprint, code) = way_in(guest).await?;
    let (person, host) = (Person::new()?, guest.host());
    person.piccolo(&["claim", &host, "--fingerprint", &fingerprint, "--code", &code]).await?;
    complete(guest).await?;
    Ok(person)
}

/// A person at another computer, with settings of their own.
struct Person(TempDir);

impl Person {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(TempDir::with_prefix("piccolo-person-")?))
    }

    /// Runs `piccolo` as this person, and returns what it printed.
    async fn piccolo(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = self.attempt(words).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "piccolo {words:?}: {}\n{said}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn attempt(&self, words: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(words)?.output().await?)
    }

    /// Runs `piccolo` and types a line that it asks for.
    async fn typed(&self, words: &[&str], text: &str) -> anyhow::Result<Output> {
        let mut command = self.command(words)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("no input")?;
        input.write_all(format!("{}\n", text.trim()).as_bytes()).await?;
        drop(input);
        Ok(child.wait_with_output().await?)
    }

    fn command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program()?.with_file_name("piccolo"));
        command.args(words).env("XDG_CONFIG_HOME", self.0.path()).env_remove("PICCOLO_HOST").kill_on_drop(true);
        Ok(command)
    }

    /// Returns how a thing stands.
    async fn stands(&self, kind: &str, name: &str) -> anyhow::Result<String> {
        self.piccolo(&["get", kind, name, "-o", "json"]).await
    }

    /// Waits until one of these words is in how a thing stands, and returns it.
    async fn until_any<'a>(&self, kind: &str, name: &str, words: &[&'a str]) -> anyhow::Result<&'a str> {
        let said = async {
            loop {
                let stands = self.stands(kind, name).await?;
                if let Some(word) = words.iter().find(|word| stands.contains(**word)) {
                    return anyhow::Ok(*word);
                }
                sleep(Duration::from_millis(500)).await;
            }
        };
        match timeout(PATIENCE, said).await {
            Ok(said) => said,
            Err(_) => bail!("it is not one of {words:?}: {}", self.stands(kind, name).await?),
        }
    }

    async fn until(&self, kind: &str, name: &str, word: &str) -> anyhow::Result<()> {
        self.until_any(kind, name, &[word]).await?;
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.0.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}
