//! Boots the image of the operating system in a machine of its own, tells how to claim it, and stays until it is ended.
//! Started by `e2e/vm`. Usage: `vm IMAGE DIRECTORY`.
#![allow(clippy::print_stdout, reason = "it tells a person what to do")]

use std::path::PathBuf;

use anyhow::Context;
use piccolo_e2e::guest::Hardware;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args_os().skip(1).map(PathBuf::from);
    let image = words.next().context("usage: vm IMAGE DIRECTORY")?;
    let place = words.next().context("usage: vm IMAGE DIRECTORY")?;
    let mut hardware = Hardware::build(&place).await?;
    hardware.stick(&image).await?;
    hardware.blank(8 << 30)?;
    let mut guest = hardware.boot().await?;
    println!("The machine starts. Its console is kept in {}", place.join("serial.log").display());
    let screen = guest.until_said(|text| text.split_once("  code ").map(|_| last_screen(text))).await?;
    println!("After {} s its screen says:\n{screen}", guest.seconds());
    println!("Here it is reached as {}:\n\n  piccolo claim {}\n", guest.host(), guest.host());
    println!("Ctrl-C takes its power away.");
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        off = guest.until_said(|_| None::<()>) => return off,
    }
    guest.cut().await
}

/// Returns what was said since the address.
fn last_screen(text: &str) -> String {
    let begin = text.rfind("  Piccolo ").unwrap_or_default();
    text[begin..].lines().take(6).collect::<Vec<_>>().join("\n")
}
