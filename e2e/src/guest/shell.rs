//! A root's shell in a guest, for tests. The image has none: the machine under it, which can do as it likes with it, brings
//! it along as a unit, by the way in which systemd takes credentials from the firmware.

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

/// Reads a line of base64, runs it, and writes its exit code and what it printed.
const UNIT: &str = r#"[Unit]
DefaultDependencies=no
ConditionPathExists=!/etc/initrd-release
Wants=dev-virtio\x2dports-e2e.device
After=dev-virtio\x2dports-e2e.device
[Service]
Environment=HOME=/root
Restart=always
RestartSec=1
ExecStart=/bin/bash -c 'exec 3<>/dev/virtio-ports/e2e; while IFS= read -r line <&3; do \
  printf %%s "$$line" | base64 -d >/run/e2e.sh; bash /run/e2e.sh >/run/e2e.out 2>&1 </dev/null; \
  printf "%%s %%s\\n" $$? "$$(base64 -w0 </run/e2e.out)" >&3; done'
"#;

/// Has the unit started as early as there are devices.
const WANTED: &str = "[Unit]\nWants=e2e-shell.service\n";

/// The credentials that make the shell.
pub(super) const fn credentials() -> [(&'static str, &'static str); 2] {
    [("systemd.extra-unit.e2e-shell.service", UNIT), ("systemd.unit-dropin.sysinit.target~e2e", WANTED)]
}

/// Writes a credential as systemd finds it in the tables of the firmware.
pub(super) fn credential(name: &str, text: &str) -> String {
    format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(text))
}

/// The shell, from this side.
#[derive(Debug)]
pub(super) struct Shell(BufReader<UnixStream>);

impl Shell {
    pub(super) fn new(line: UnixStream) -> Self {
        Self(BufReader::new(line))
    }

    /// Runs a command. Waits until the guest is far enough to have a shell.
    pub(super) async fn run(&mut self, command: &str) -> anyhow::Result<String> {
        let line = format!("{}\n", STANDARD.encode(command));
        self.0.get_mut().write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        self.0.read_line(&mut answer).await?;
        let (code, said) = answer.trim_end_matches('\n').split_once(' ').context("the machine went off")?;
        let said = String::from_utf8_lossy(&STANDARD.decode(said)?).into_owned();
        ensure!(code == "0", "`{command}` ended with {code}:\n{said}");
        Ok(said)
    }
}
