//! The packet filter of the kernel, through the program `nft`.
//!
//! A table is replaced as a whole by one text. What `nft` then lists reads otherwise than what it was given, and differs
//! between its versions; so once the rules are set, a digest of the listing is written down in the table as well, in a
//! chain of its own that nothing leads to. A listing with another digest has been changed by a hand.
//!
//! What the machine gives `nft` when it starts, before the engine, is kept in a file.

mod boot;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command, sync::Mutex};

use self::boot::Boot;
use crate::{
    host::{
        Firewall, HostError, Reason, Rules, RulesSeen,
        firewall::{MACHINE_TABLE, TABLE, digest},
    },
    words::told,
};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a line of complaint is told.
const MOST_WORDS: usize = 300;
/// What `nft` says of a table, and of a part of the kernel, that is not there.
const NOT_THERE: &str = "No such file or directory";
/// What the kernel says of bridges, and has to say for their traffic to be seen.
const BRIDGED: [&str; 2] =
    ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];

/// The program `nft`.
#[derive(Debug)]
pub(super) struct Nft {
    table: &'static str,
    boot: Boot,
    /// There was no table at the last look, and none has been made since: a machine without rules costs nothing.
    absent: AtomicBool,
    /// Whoever sets rules seals them before the next one does.
    pen: Mutex<()>,
}

/// What a call came to that did not succeed.
enum Failure {
    /// There is no such table.
    NoTable,
    /// The program can't be used here.
    Unusable(String),
    /// It refused, or did not answer.
    Failed(HostError),
}

impl Nft {
    /// The table of containers; its rules for the start of the machine are kept in this directory.
    pub(super) fn of_containers(directory: &Path) -> Self {
        Self::new(TABLE, directory.join("rules.nft"))
    }

    /// The table of the machine itself, likewise.
    pub(super) fn of_machine(directory: &Path) -> Self {
        Self::new(MACHINE_TABLE, directory.join("firewall.nft"))
    }

    fn new(table: &'static str, boot: PathBuf) -> Self {
        Self { table, boot: Boot(boot), absent: AtomicBool::default(), pen: Mutex::default() }
    }

    /// Looks at our rules.
    pub(super) async fn look(&self) -> Firewall {
        let blind = blind().await;
        if self.absent.load(Ordering::Acquire) {
            return Firewall { blind, ..Firewall::default() };
        }
        match self.list().await {
            Ok(listing) => Firewall { blind, rules: Some(self.seen(&listing).await), problem: None },
            Err(Failure::NoTable) => {
                self.absent.store(true, Ordering::Release);
                Firewall { blind, ..Firewall::default() }
            }
            Err(Failure::Unusable(problem)) => Firewall { blind, problem: Some(problem), rules: None },
            Err(Failure::Failed(error)) => Firewall { blind, problem: Some(error.message), rules: None },
        }
    }

    /// Replaces our rules, then seals them.
    pub(super) async fn set(&self, rules: &Rules) -> Result<(), HostError> {
        let _pen = self.pen.lock().await;
        self.absent.store(false, Ordering::Release);
        if let Ok(listing) = self.list().await
            && self.seen(&listing).await.is(rules)
        {
            return Ok(());
        }
        run(&["-f", "-"], &rules.text).await?;
        let seal = digest(&essence(&self.list().await?));
        let text = format!("add chain inet {} seal {{ comment \"{seal}\"; }}\n", self.table);
        run(&["-f", "-"], &text).await?;
        self.boot.keep(&rules.boot).await
    }

    /// Removes our rules.
    pub(super) async fn clear(&self) -> Result<(), HostError> {
        let _pen = self.pen.lock().await;
        self.boot.forget().await?;
        let table = self.table;
        let text = format!("add table inet {table}\ndelete table inet {table}\n");
        Ok(run(&["-f", "-"], &text).await.map(drop)?)
    }

    async fn seen(&self, listing: &str) -> RulesSeen {
        RulesSeen { boot: self.boot.digest().await, ..seen(listing) }
    }

    /// Lists the table, without who is counted in it at present.
    async fn list(&self) -> Result<String, Failure> {
        let listing = run(&["-s", "-nn", "-t", "list", "table", "inet", self.table], "").await;
        listing.map_err(|failure| match failure {
            Failure::Failed(error) if error.message.contains(NOT_THERE) => Failure::NoTable,
            other => other,
        })
    }
}

/// Runs `nft` and returns what it writes.
#[expect(clippy::disallowed_methods, reason = "this is the place where programs are started")]
async fn run(arguments: &[&str], input: &str) -> Result<String, Failure> {
    let mut command = Command::new("nft");
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::Unusable("the program nft is missing; install the package nftables".to_owned()),
        _ => Failure::Unusable(format!("the program nft can't be started: {error}")),
    })?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // If it does not read to the end it says why.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(PATIENCE, talk).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(Failure::Unusable(format!("the program nft can't be heard: {error}"))),
        Err(_) => return Err(Failure::Failed(HostError::new(Reason::TimedOut, "nft did not answer in time"))),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failure(&String::from_utf8_lossy(&output.stderr)))
}

/// Tells apart what `nft` complains of.
fn failure(text: &str) -> Failure {
    let first = text.lines().map(|line| told(line, MOST_WORDS)).find(|line| !line.is_empty());
    let first = first.unwrap_or_else(|| "it does not say why".to_owned());
    if text.contains("Operation not permitted") {
        return Failure::Unusable("the daemon may not set rules; give it the capability CAP_NET_ADMIN".to_owned());
    }
    Failure::Failed(HostError::new(Reason::Refused, format!("nft refuses: {first}")))
}

/// Says why the rules don't see what two containers of one bridge send each other, if so.
async fn blind() -> Option<String> {
    for path in BRIDGED {
        if tokio::fs::read_to_string(path).await.is_ok_and(|text| text.trim() == "1") {
            continue;
        }
        let message = "what containers of one network send each other is not seen; load the kernel module br_netfilter, \
                       and leave net.bridge.bridge-nf-call-iptables and -ip6tables at 1";
        return Some(message.to_owned());
    }
    None
}

/// Reads what a table says of itself.
fn seen(listing: &str) -> RulesSeen {
    let comment = |line: &str| Some(line.trim().strip_prefix("comment \"")?.strip_suffix('"')?.to_owned());
    let chains = |prefix: &str| {
        let names = listing.lines().filter_map(|line| line.trim().strip_prefix("chain ")?.strip_suffix(" {"));
        names.filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let seal = listing.lines().skip_while(|line| line.trim() != SEAL).nth(1).and_then(comment);
    RulesSeen {
        digest: listing.lines().nth(1).and_then(comment).unwrap_or_default(),
        intact: seal == Some(digest(&essence(listing))),
        networks: chains("within_"),
        guards: chains("ports_"),
        boot: String::new(),
    }
}

/// The line with which the seal begins.
const SEAL: &str = "chain seal {";

/// Returns a listing without the seal and without empty lines.
fn essence(listing: &str) -> String {
    let mut lines = listing.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut out = String::new();
    while let Some(line) = lines.next() {
        if line == SEAL {
            lines.by_ref().find(|line| *line == "}");
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

impl From<Failure> for HostError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoTable => Self::new(Reason::Gone, "The table of our rules is gone"),
            Failure::Unusable(problem) => {
                Self::new(Reason::PermissionDenied, format!("No rules can be set: {problem}"))
            }
            Failure::Failed(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const LISTING: &str = "table inet piccolo {\n\tcomment \"d1\"\n\tchain forward {\n\t\tct direction 1 accept\n\t}\n\n\
                           \tchain ports_1f2e3d4c5b6a {\n\t}\n\n\tchain within_web-lan {\n\t\tdrop\n\t}\n}\n";

    fn sealed(seal: &str) -> String {
        LISTING.replacen("\n}\n", &format!("\n\n\tchain seal {{\n\t\tcomment \"{seal}\"\n\t}}\n}}\n"), 1)
    }

    #[test]
    fn a_table_says_what_it_is() {
        let seen = seen(&sealed(&digest(&essence(LISTING))));
        assert_eq!((seen.digest.as_str(), seen.intact), ("d1", true));
        assert_eq!(seen.networks.into_iter().collect::<Vec<_>>(), ["web-lan"]);
        assert_eq!(seen.guards.into_iter().collect::<Vec<_>>(), ["1f2e3d4c5b6a"]);
    }

    #[test]
    fn a_hand_shows() {
        assert!(!seen(LISTING).intact, "there is no seal");
        let whole = sealed(&digest(&essence(LISTING)));
        assert!(!seen(&whole.replace("drop", "accept")).intact);
        assert!(!seen(&whole.replace("comment \"d1\"", "comment \"d2\"")).intact);
    }

    #[test]
    fn what_nft_complains_of_is_told_apart() {
        assert!(matches!(failure("Operation not permitted (you must be root)"), Failure::Unusable(_)));
        assert!(matches!(failure("x:1:1: Error: syntax error"), Failure::Failed(_)));
        let error = HostError::from(failure("\u{1b}\n\u{1b}[31mx:1:1: Error:\tsyntax\u{7} error\nadd table\n"));
        assert_eq!(error.message, "nft refuses: [31mx:1:1: Error: syntax error");
    }

    /// A table with a seal, which is that of other rules.
    const SEALED: &str = "table inet piccolo {\n\tcomment \"d1\"\n\tchain within_web-lan {\n\t\tdrop\n\t}\n\n\
                          \tchain seal {\n\t\tcomment \"0123456789abcdef\"\n\t}\n}\n";
    const COMPLAINT: &str =
        "/dev/stdin:1:12-18: Error: syntax error, unexpected string\nadd table inet piccolo\n           ^^^^^^^\n";

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_text_breaks_it(listing in malformed(LISTING), sealed_by_others in malformed(SEALED), complaint in malformed(COMPLAINT)) {
            // Whatever the seal stands in, only the rules that it was made for are whole.
            let seal = digest(&essence(LISTING));
            let text = listing.replacen("\n}\n", &format!("\n\tchain seal {{\n\t\tcomment \"{seal}\"\n\t}}\n}}\n"), 1);
            prop_assert!(!seen(&text).intact || essence(&text) == essence(LISTING), "{:?}", text);
            prop_assert!(!seen(&listing).intact && !seen(&sealed_by_others).intact);
            let error = HostError::from(failure(&complaint));
            prop_assert!(!error.message.contains(char::is_control), "{:?}", error);
        }
    }
}
