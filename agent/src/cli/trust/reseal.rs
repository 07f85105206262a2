//! Keys and disks, bound to how the machine started this time.

use std::path::{self, Path, PathBuf};

use hyper::{Method, header};
use serde_json::json;
use zeroize::Zeroizing;

use super::{disk, why};
use crate::{
    cli::{ask, client::Client, failure::Failure, screen::Screen},
    trust::{DiskRebinding, NextFile, Pcrs},
};

/// What is typed by whoever means it.
const WORD: &str = "reseal";

/// Binds what is bound to registers of the TPM to how the machine started this time: its keys, or a disk. First it says what
/// changed since the last good start; what is not meant to have changed should be looked at, not resealed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The registers; those of before when left out.
    #[arg(long, conflicts_with = "disk")]
    pcrs: Option<Pcrs>,
    /// The file with the recovery key, where the TPM does not open the keys any more.
    #[arg(long, conflicts_with = "disk")]
    recovery_file: Option<PathBuf>,
    /// What starts next, on the machine: a unified kernel image, or a kernel that GRUB starts. The keys open after that start
    /// too.
    #[arg(long, conflicts_with = "disk")]
    next_image: Option<PathBuf>,
    /// Another file that GRUB reads then, and where it lies now: `/initrd.img=/boot/initrd.img-new`. May be given several times.
    #[arg(long, requires = "next_image", value_name = "NAME=FILE", value_parser = next_file)]
    next_file: Vec<NextFile>,
    /// The whole command line of the kernel then, as /proc/cmdline will say it, where GRUB gives it another one.
    #[arg(long, requires = "next_image", value_name = "TEXT")]
    next_cmdline: Option<String>,
    /// An encrypted disk whose slots for the TPM shall be bound anew, in the place of the machine's keys.
    #[arg(long)]
    disk: Option<PathBuf>,
    /// The file with a key that opens the disk, asked for when left out.
    #[arg(long, requires = "disk")]
    key_file: Option<PathBuf>,
    /// Asks for the PIN of the disk.
    #[arg(long, requires = "disk")]
    pin: bool,
    /// Asks nothing.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    if !args.yes {
        ask(client, screen).await?;
    }
    match &args.disk {
        Some(disk) => of_disk(disk, args, client, screen).await,
        None => of_keys(args, client, screen).await,
    }
}

/// Shows what changed, and asks whether the machine shall start so from now on.
pub(in crate::cli) async fn ask(client: &Client, screen: &Screen) -> Result<(), Failure> {
    why::show(&client.get("/trust/why").await?, screen)?;
    let question = format!("If the machine shall start as it did this time, type `{WORD}`:");
    if ask::line(&question, "--yes")? != WORD {
        return Err(Failure::Usage("nothing was changed".to_owned()));
    }
    Ok(())
}

async fn of_keys(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let was_shut = client.get("/trust").await?["level"] == "none";
    let recovery = args.recovery_file.as_deref().map(disk::from_file).transpose()?;
    // The daemon runs in another directory.
    let image = args.next_image.as_deref().map(absolute).transpose()?;
    let body = json!({
        "pcrs": args.pcrs, "recovery": recovery, "image": image, "files": args.next_file, "cmdline": args.next_cmdline,
    });
    let body = Zeroizing::new(body.to_string());
    let json = [(header::CONTENT_TYPE, "application/json")];
    let answer = client.send(Method::POST, "/trust/reseal", &json, body.as_bytes().to_vec()).await?;
    let answer = client.json(&answer)?;
    let text = |key: &str| answer[key].as_str().unwrap_or_default();
    screen.line(format!("{}: {}", text("level"), text("message")))?;
    if was_shut {
        screen.note("restart piccolod, so that it takes its keys: systemctl restart piccolod");
    }
    Ok(())
}

async fn of_disk(path: &Path, args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let key = match &args.key_file {
        Some(file) => disk::from_file(file)?,
        None => disk::typed("A key that opens the disk: ")?,
    };
    // As long as the TPM refuses the start it says nothing of the PIN, so one that was mistyped would be the new one.
    let pin = args.pin.then(|| disk::typed_twice("The PIN: ")).transpose()?;
    let wish = DiskRebinding { disk: disk::whole(path)?, key, pin };
    let answer = disk::send(client, "reseal", &wish).await?;
    for slot in answer["slots"].as_array().into_iter().flatten() {
        screen.line(format!(
            "the TPM opens slot {} of {}; slot {} is gone",
            slot["new"],
            path.display(),
            slot["old"]
        ))?;
    }
    Ok(())
}

/// Reads what GRUB calls a file, and where it lies now.
fn next_file(text: &str) -> Result<NextFile, String> {
    let (name, path) = text
        .split_once('=')
        .filter(|(name, _)| name.starts_with('/'))
        .ok_or("write by which path GRUB reads the file, and where it lies now: /initrd.img=/boot/initrd.img-new")?;
    let path = path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(NextFile { name: name.to_owned(), path })
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path::absolute(path).map_err(|source| Failure::File { path: path.to_owned(), source })
}
