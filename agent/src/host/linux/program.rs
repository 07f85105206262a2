//! Programs of the machine.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Seek as _},
    process::{Output, Stdio},
    time::Duration,
};

use rustix::fs::{MemfdFlags, memfd_create};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    host::{HostError, Reason},
    words::told,
};

/// How much of what a program complains about is told.
const MOST_WORDS: usize = 300;
/// How much of it is read.
const MOST_COMPLAINT: u64 = 4096;

/// Prepares a program that is killed when nobody waits for it any more, and that speaks no language but English.
pub(super) fn program(name: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "programs are started here")]
    let mut command = Command::new(name);
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a program to its end, for no longer than this.
pub(super) async fn run<A: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = A> + Send,
    patience: Duration,
) -> Result<String, HostError> {
    let output = ended(name, arguments, patience).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(name, &output.stderr))
}

/// Runs a program to its end that reads this text, for no longer than that.
pub(super) async fn fed<A: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = A> + Send,
    text: &str,
    patience: Duration,
) -> Result<String, HostError> {
    let mut command = program(name);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let fed = async {
        let mut child = command.spawn()?;
        if let Some(mut to) = child.stdin.take() {
            // One that ends before it has read all says itself why.
            drop(to.write_all(text.as_bytes()).await);
        }
        child.wait_with_output().await
    };
    match tokio::time::timeout(patience, fed).await {
        Err(_) => Err(HostError::new(Reason::TimedOut, format!("`{name}` took longer than {patience:?}"))),
        Ok(Err(error)) => Err(not_started(name, &error)),
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => Err(failed(name, &output.stderr)),
    }
}

/// Runs a program to its end, whatever code it ends with, for no longer than this.
pub(super) async fn ended<A: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = A> + Send,
    patience: Duration,
) -> Result<Output, HostError> {
    let mut command = program(name);
    command.args(arguments).stdout(Stdio::piped());
    match tokio::time::timeout(patience, command.output()).await {
        Err(_) => Err(HostError::new(Reason::TimedOut, format!("`{name}` took longer than {patience:?}"))),
        Ok(Err(error)) => Err(not_started(name, &error)),
        Ok(Ok(output)) => Ok(output),
    }
}

/// Runs a program to its end that leaves another one behind, which holds what this one writes to. So what it complains
/// about goes to a file in memory.
pub(super) async fn begun<A: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = A> + Send,
    patience: Duration,
) -> Result<(), HostError> {
    let memory = memfd_create("complaint", MemfdFlags::CLOEXEC);
    let mut complaint = File::from(memory.map_err(|error| not_started(name, &error.into()))?);
    let taken = complaint.try_clone().map_err(|error| not_started(name, &error))?;
    let mut command = program(name);
    command.args(arguments).stderr(taken);
    match tokio::time::timeout(patience, command.status()).await {
        Err(_) => Err(HostError::new(Reason::TimedOut, format!("`{name}` took longer than {patience:?}"))),
        Ok(Err(error)) => Err(not_started(name, &error)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(_)) => {
            let mut words = Vec::new();
            let read = complaint.rewind().and_then(|()| complaint.take(MOST_COMPLAINT).read_to_end(&mut words));
            drop(read);
            Err(failed(name, &words))
        }
    }
}

/// Says that a program could not be started.
pub(super) fn not_started(name: &str, error: &std::io::Error) -> HostError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return HostError::new(Reason::Refused, format!("The program `{name}` is not installed"));
    }
    HostError::new(Reason::Failed, format!("`{name}` can't be started ({error})"))
}

/// Says what a program complained about.
pub(super) fn failed(name: &str, complaint: &[u8]) -> HostError {
    let line = told(&String::from_utf8_lossy(complaint), MOST_WORDS);
    let reason = if line.contains("No space left") || line.contains("quota exceeded") {
        Reason::DiskFull
    } else if line.contains("ermission denied") || line.contains("not permitted") {
        Reason::PermissionDenied
    } else {
        Reason::Failed
    };
    HostError::new(reason, format!("`{name}` failed ({line})"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{not_text, often};

    #[test]
    fn a_complaint_tells_no_login() {
        let error = failed("git", b"fatal: unable to access 'https://me:sec\x01ret@lan/x.git/'\n");
        assert_eq!(error.message, "`git` failed (fatal: unable to access 'https://lan/x.git/')");
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_complaint_breaks_it(complaint in not_text("mkfs.ext4: Permission denied while opening\n\t/dev/sdb\n")) {
            let error = failed("mkfs.ext4", &complaint.repeat(20));
            prop_assert!(error.message.chars().count() < MOST_WORDS + 30, "{:?}", error);
            prop_assert!(!error.message.contains(char::is_control), "{:?}", error);
        }
    }
}
