//! `piccolo audit`: who asked for what, and what was done.

use std::path::PathBuf;

use super::{client::Client, failure::Failure, output, output::Format, screen::Screen, table::Table};
use crate::audit;

/// Shows who asked for what, and what was done; the newest last.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  piccolo audit -n 100\n  piccolo audit -o json\n  piccolo audit verify"
)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// How many lines at most.
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u16,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Checks, without the daemon, that no line was changed, added or taken out.
    Verify {
        /// The directory with the files.
        #[arg(long, default_value = "/var/lib/piccolo/audit")]
        dir: PathBuf,
    },
}

/// Returns the exit code.
pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    if let Some(What::Verify { dir }) = &args.what {
        return verify(dir, screen);
    }
    let page = client.get(&format!("/audit?limit={}", args.limit)).await?;
    if output::document(screen, args.output, &page)? {
        return Ok(0);
    }
    let mut table = Table::new(["age", "who", "result", "action"]);
    for line in page["items"].as_array().into_iter().flatten() {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let who = line["address"].as_str().map_or_else(|| text("who"), |at| format!("{} {at}", text("who")));
        let action = match (line["door"].as_str(), line["object"].as_str()) {
            (Some("controller"), Some(object)) => format!("{object}: {}", text("action")),
            _ => text("action"),
        };
        table.row([output::age(&text("time")), who, text("result"), action]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))?;
    Ok(0)
}

fn verify(dir: &std::path::Path, screen: &Screen) -> Result<u8, Failure> {
    let checked = audit::verify(dir).map_err(|source| Failure::File { path: dir.to_owned(), source })?;
    let verified = match checked {
        Ok(verified) if verified.lines > 0 => verified,
        Ok(_) => {
            screen.note(format!("there are no lines in {}", dir.display()));
            return Ok(0);
        }
        Err(broken) => {
            screen.line(format!("broken  {broken}"))?;
            return Ok(1);
        }
    };
    let audit::Verified { lines, first, hash, lost, torn } = verified;
    screen.line(format!("well    {lines} lines, from number {first} on; the last one's digest is {hash}"))?;
    if lost > 0 {
        screen.line(format!("        {lost} entries are in no line: the disk or the queue was full"))?;
    }
    if torn > 0 {
        screen.line(format!("        {torn} lines were broken off while they were written, as by a loss of power"))?;
    }
    Ok(0)
}
