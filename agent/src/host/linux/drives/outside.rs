//! The way out of the daemon's bounds. Its unit keeps it from devices and from the machine's mounts, so systemd runs the
//! few verbs that touch disks in a process of their own, `piccolod disks STATE`, with bounds of its own.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::{
    hands::{Answer, Hands, Request},
    program,
    table::Table,
};
use crate::host::{HostError, Reason};

/// How long a process outside may live. A making takes longest; each program in it has a time of its own.
const LIFE: Duration = Duration::from_secs(4 * 3600);
/// How long one that only looks may live.
const GLIMPSE: Duration = Duration::from_secs(300);
/// How long one may live that somebody waits for at a prompt.
const PROMPT: Duration = Duration::from_secs(150);
/// The longest request or answer.
const MOST_BYTES: u64 = 16 << 20;

/// What such a process may do: see block devices, mount in the machine's own tree, and nothing over a network.
/// Whatever would give it a tree of its own is left out, for nobody else would see what is mounted there.
const BOUNDS: &[&str] = &[
    "Description=Piccolo: looks at disks or changes one",
    "UMask=0077",
    "DevicePolicy=closed",
    "DeviceAllow=block-* rwm",
    "DeviceAllow=/dev/btrfs-control rw",
    "DeviceAllow=/dev/mapper/control rw",
    "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_RESOURCE CAP_SYS_RAWIO CAP_DAC_OVERRIDE CAP_FOWNER CAP_CHOWN CAP_LINUX_IMMUTABLE",
    "NoNewPrivileges=yes",
    "IPAddressDeny=any",
    // The kernel's own ciphers are reached as a network is, though nothing leaves by that.
    "RestrictAddressFamilies=AF_UNIX AF_ALG",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service @mount @swap",
    "TasksMax=64",
    "MemoryMax=2G",
];

/// Which programs lead outside.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The program that asks systemd: `systemd-run`.
    pub systemd_run: PathBuf,
    /// The daemon's program.
    pub piccolod: PathBuf,
    /// The directory of what the daemon remembers.
    pub state: PathBuf,
}

impl Outside {
    /// Returns the way out where one is needed: where this process has mounts of its own, and systemd runs the machine.
    pub(super) fn needed(state: &Path) -> Option<Self> {
        let is_shut_off = Table::read().is_ok_and(|table| table.is_shut_off);
        let has_systemd = Path::new("/run/systemd/system").exists();
        let piccolod = std::env::current_exe().ok().filter(|_| is_shut_off && has_systemd)?;
        Some(Self { systemd_run: "systemd-run".into(), piccolod, state: std::path::absolute(state).ok()? })
    }

    /// Has a request carried out outside.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer, HostError> {
        let life = match request {
            Request::Look(_) => GLIMPSE,
            Request::Reset(_) => PROMPT,
            _ => LIFE,
        };
        // A key may be in it.
        let text = Zeroizing::new(serde_json::to_vec(request).map_err(|error| garbled(&error))?);
        match tokio::time::timeout(life, self.exchange(text, life, request.lasts())).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(HostError::new(Reason::TimedOut, format!("What looks after disks took longer than {life:?}")))
            }
        }
    }

    async fn exchange(&self, request: Zeroizing<Vec<u8>>, life: Duration, lasts: bool) -> Result<Answer, HostError> {
        let name = self.systemd_run.to_string_lossy().into_owned();
        let mut command = program::program(&name);
        command.args(self.words(life, lasts)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| program::not_started(&name, &error))?;
        let (input, output, complaint) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut answer, mut why) = (Zeroizing::new(Vec::new()), Vec::new());
        let write = async {
            if let Some(mut input) = input {
                // One that ended before it read everything says why itself.
                drop(input.write_all(&request).await);
            }
        };
        let read = async {
            let Some(output) = output else { return Ok(0) };
            output.take(MOST_BYTES).read_to_end(&mut answer).await
        };
        let listen = async {
            let Some(complaint) = complaint else { return Ok(0) };
            complaint.take(MOST_BYTES).read_to_end(&mut why).await
        };
        let ((), read, _) = tokio::join!(write, read, listen);
        read.map_err(|error| garbled(&error))?;
        let status = child.wait().await.map_err(|error| garbled(&error))?;
        if !status.success() || answer.is_empty() {
            return Err(program::failed(&name, &why));
        }
        told(&answer)
    }

    /// Returns the words by which a process is asked for; one that `lasts` may leave a program behind that works on.
    fn words(&self, life: Duration, lasts: bool) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            ["--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"].map(OsString::from).to_vec();
        words.extend(BOUNDS.iter().map(|bound| format!("--property={bound}").into()));
        words.push(format!("--property=RuntimeMaxSec={}", life.as_secs()).into());
        words.extend(lasts.then(|| OsString::from("--property=KillMode=process")));
        words.extend([self.piccolod.clone().into(), "disks".into(), self.state.clone().into()]);
        words
    }
}

/// Carries out the request at the standard input, and writes what became of it, as `piccolod disks STATE`.
///
/// # Errors
/// When the request can't be read, or the answer not be written.
pub async fn answer_for_disks(state: &Path) -> io::Result<()> {
    let mut text = Zeroizing::new(Vec::new());
    io::stdin().take(MOST_BYTES).read_to_end(&mut text)?;
    let request: Request = serde_json::from_slice(&text)?;
    let answer = Hands::new(state).carry_out(request).await;
    let mut output = io::stdout();
    output.write_all(&Zeroizing::new(serde_json::to_vec(&answer)?))?;
    output.flush()
}

/// Reads what became of a request.
fn told(answer: &[u8]) -> Result<Answer, HostError> {
    serde_json::from_slice::<Result<Answer, HostError>>(answer).map_err(|error| garbled(&error))?
}

fn garbled(error: &dyn std::fmt::Display) -> HostError {
    HostError::new(Reason::Failed, format!("What looks after disks can't be understood ({error})"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Answers as they are written, and a request.
    const ANSWERS: [&str; 3] = [
        r#"{"Ok":{"seen":[{"disks":[{"device":"sda","identity":{"serial":"A1","size":4096},"luks":[{"device":"sda","uuid":"6c1b"}]}]},{}]}}"#,
        r#"{"Ok":{"worked":{"tokens":["{\"type\":\"systemd-tpm2\"}"]}}}"#,
        r#"{"Err":{"reason":"Gone","message":"`/dev/sda` is another disk by now"}}"#,
    ];
    const REQUEST: &str = r#"{"keys":{"device":"sda","uuid":"6c1b","work":{"try":{"key":"a secret","slot":1}}}}"#;

    fn is_garbled(answer: &str) -> bool {
        told(answer.as_bytes()).is_err_and(|error| error.message.contains("can't be understood"))
    }

    #[test]
    fn an_answer_is_what_became_of_it_and_nothing_else_is_one() {
        assert!(
            matches!(told(ANSWERS[0].as_bytes()), Ok(Answer::Seen(view, _)) if view.disks[0].luks[0].uuid == "6c1b")
        );
        assert!(matches!(told(ANSWERS[1].as_bytes()), Ok(Answer::Worked(_))));
        assert_eq!(told(ANSWERS[2].as_bytes()).err().map(|error| error.reason), Some(Reason::Gone));
        for text in [
            "",
            "{}",
            "null",
            "{\"Ok\":null}",
            "{\"Ok\":{\"sold\":1}}",
            "{\"Err\":{\"reason\":\"Odd\",\"message\":\"\"}}",
        ] {
            assert!(is_garbled(text), "{text}");
        }
    }

    #[test]
    fn a_request_outside_is_bounded() {
        let outside =
            Outside { systemd_run: "systemd-run".into(), piccolod: "/usr/bin/piccolod".into(), state: "/s".into() };
        let words: Vec<String> =
            outside.words(GLIMPSE, false).into_iter().map(|word| word.into_string().unwrap_or_default()).collect();
        assert!(words.contains(&"--property=NoNewPrivileges=yes".to_owned()));
        assert_eq!(words[words.len() - 4..], ["--property=RuntimeMaxSec=300", "/usr/bin/piccolod", "disks", "/s"]);
        let kept = |lasts| outside.words(GLIMPSE, lasts).contains(&"--property=KillMode=process".into());
        assert!(kept(true) && !kept(false));
        // Whatever gives a process a tree of mounts of its own would hide what it mounts.
        for word in ["Private", "ProtectSystem", "ProtectHome", "ReadWritePaths", "BindPaths", "ProtectKernel"] {
            assert!(!words.iter().any(|it| it.contains(word)), "{word}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(which in 0..ANSWERS.len(), at in 0_usize..200, what in "\\PC{0,12}") {
            let text = ANSWERS[which];
            let at = at.min(text.len());
            prop_assert!(at == text.len() || is_garbled(&text[..at]));
            drop(told(format!("{}{what}{}", &text[..at], &text[at..]).as_bytes()));
            drop(told(what.as_bytes()));
            let at = at.min(REQUEST.len());
            drop(serde_json::from_str::<Request>(&format!("{}{what}{}", &REQUEST[..at], &REQUEST[at..])));
        }
    }
}
