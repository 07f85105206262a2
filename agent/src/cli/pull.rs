//! `piccolo pull`: have a repository asked now.

use hyper::Method;
use piccolo_schema::Kind;

use super::{client::Client, failure::Failure, screen::Screen, subject};

/// Has the repository of a ConfigSource asked now, not only after its interval. Ten seconds at least lie between two
/// questions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo pull home\n  piccolo describe configsource home")]
pub(super) struct Args {
    /// The name of the source.
    name: String,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let name = args.name.strip_prefix("configsource/").unwrap_or(&args.name);
    let path = format!("/webhooks/{}", subject::escape(name));
    let answer = client.send(Method::POST, &path, &[], "").await?;
    client.json(&answer)?;
    screen.line(format!("{}/{name} is asked", Kind::ConfigSource.singular()))
}
