//! A security chip in a process, for stories.

use std::{net::TcpListener, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::PATIENCE;

/// A software TPM with a seed of its own. Ended when this is dropped.
#[derive(Debug)]
pub struct Chip {
    /// What it remembers.
    home: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Chip {
    /// Starts one that nobody used before.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let mut chip = Self { home: TempDir::with_prefix("piccolo-chip-")?, port: free_pair()?, process: None };
        chip.switch_on().await?;
        Ok(chip)
    }

    /// Returns the way to it, as its libraries write it.
    pub fn way(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Measures something into a register.
    ///
    /// # Errors
    /// When it does not take it.
    pub async fn extend(&self, register: u8, digest: &str) -> anyhow::Result<()> {
        self.tool("tpm2_pcrextend", &[&format!("{register}:sha256={digest}")]).await
    }

    /// Runs one of the tools of Debian's package `tpm2-tools` on it.
    ///
    /// # Errors
    /// When that fails.
    pub async fn tool(&self, name: &str, words: &[&str]) -> anyhow::Result<()> {
        let done =
            Command::new(name).args(words).env("TPM2TOOLS_TCTI", self.way()).output().await.context("tpm2-tools")?;
        ensure!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// Does what a start of the machine does: the registers are empty again.
    ///
    /// # Errors
    /// When it does not start again.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.switch_off().await?;
        self.switch_on().await
    }

    async fn switch_on(&mut self) -> anyhow::Result<()> {
        let (home, port) = (self.home.path().display(), self.port);
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={home}"))
            .arg("--server")
            .arg(format!("type=tcp,port={port},bindaddr=127.0.0.1"))
            .arg("--ctrl")
            .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.process = Some(child.context("swtpm is not installed")?);
        // There is no event for "a process listens"; a refused connection costs nothing.
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port + 1)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.context("swtpm does not listen")
    }

    async fn switch_off(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it is not switched on")?;
        Ok(process.kill().await?)
    }
}

/// Finds two ports, one after the other: the second is the one by which the libraries switch it on.
fn free_pair() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no two ports are free")
}
