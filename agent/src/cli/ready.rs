//! `piccolo ready`: whether every part works, for programs.

use std::time::Duration;

use piccolo_schema::duration;
use tokio::time::{Instant, sleep};

use super::{client::Client, failure::Failure, screen::Screen};

/// How often the daemon is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Says whether every part works; exits with 6 when one does not.
///
/// The start of the operating system is complete once it does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo ready\n  piccolo ready --wait 5m")]
pub(super) struct Args {
    /// How long to wait for it.
    #[arg(long, default_value = "0s")]
    wait: duration::Duration,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let until = Instant::now() + args.wait.get();
    loop {
        let failure = match client.ask("/readyz?verbose").await {
            Ok(answer) if answer.status.is_success() => {
                return String::from_utf8_lossy(&answer.body).lines().try_for_each(|line| screen.line(line));
            }
            Ok(answer) => Failure::Unsettled(ill(&String::from_utf8_lossy(&answer.body))),
            // A daemon that starts does not answer yet.
            Err(failure) => failure,
        };
        if Instant::now() + PAUSE > until {
            return Err(failure);
        }
        sleep(PAUSE).await;
    }
}

/// Names the parts that do not work.
fn ill(text: &str) -> String {
    let parts: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("[-]")).collect();
    if parts.is_empty() { "the daemon is not ready".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::ill;

    #[test]
    fn the_parts_that_do_not_work_are_named() {
        let text = "[+]store: on disk\n[-]clock: it is 1970\n[-]network: no address\nnot ready\n";
        assert_eq!(ill(text), "clock: it is 1970; network: no address");
        assert_eq!(ill("not ready\n"), "the daemon is not ready");
    }
}
