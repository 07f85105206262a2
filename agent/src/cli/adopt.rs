//! `piccolo adopt`: a container that others began becomes ours, and does not notice.

use hyper::{Method, header};
use piccolo_schema::Kind;
use serde::Deserialize;
use serde_json::json;

use super::{client::Client, failure::Failure, screen::Screen, subject, written};
use crate::foreign::{Report, Row};

/// Takes over a container that runs, without restarting it: its manifest is written, and from then on it is kept as the
/// manifest says. What a manifest can't say is named, and refused unless that is accepted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo adopt container vaultwarden\n  piccolo adopt container/immich_server --accept-loss"
)]
pub(super) struct Args {
    /// `container NAME` or `container/NAME`, by the engine's name.
    #[arg(required = true)]
    what: Vec<String>,
    /// Adopts it even if it loses something when it is replaced later.
    #[arg(long)]
    accept_loss: bool,
}

#[derive(Deserialize)]
struct Answer {
    container: String,
    called: String,
    report: Vec<Row>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let (kind, name) = subject::subject(&args.what)?;
    if kind != Kind::Container {
        return Err(Failure::Usage("only a container can be adopted".to_owned()));
    }
    let body = json!({ "container": name, "acceptLoss": args.accept_loss }).to_string();
    let answer = client.send(Method::POST, "/adopt", &[(header::CONTENT_TYPE, "application/json")], body).await?;
    let garbled = |error: serde_json::Error| Failure::Garbled { host: client.host(), cause: error.to_string() };
    let Answer { container, called, report } = serde_json::from_value(client.json(&answer)?).map_err(garbled)?;
    written::report(&Report { rows: report }, screen).iter().for_each(|line| screen.note(line));
    let renamed = if called == container { String::new() } else { format!(", which was called {called}") };
    screen.line(format!("container/{container} adopted{renamed}"))
}
