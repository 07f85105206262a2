//! What git may take of the machine while it works on what strangers sent.

use std::time::Duration;

use tokio::process::Command;

/// A shell that sets limits to itself and becomes git: so git has them before it has begun, and all that it starts. The
/// most memory is 1 GiB, as some words of a pack ask for as much as they like; the largest file is 65 MiB.
const NARROW: &str = "ulimit -v 1048576 && ulimit -f 133120 && ulimit -t $1 && shift && exec git \"$@\"";

/// Returns git with narrow limits and this time of a processor for each process.
pub(super) fn git(time: Duration) -> Command {
    #[expect(clippy::disallowed_methods, reason = "git is started by it")]
    let mut command = Command::new("/bin/sh");
    command.args(["-c", NARROW, "git", &time.as_secs().to_string()]);
    command
}
