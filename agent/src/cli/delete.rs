//! `piccolo delete`: manifests away, and with them what they declare.

use hyper::Method;

use super::{client::Client, failure::Failure, screen::Screen, subject};

/// Removes manifests, and what they declare from the machine. Volumes and data stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo delete container web\n  piccolo delete ct/web net/front")]
pub(super) struct Args {
    /// `KIND NAME…` or `KIND/NAME…`.
    #[arg(required = true)]
    what: Vec<String>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    for (kind, name) in subject::subjects(&args.what)? {
        let answer = client.send(Method::DELETE, &subject::path(kind, &name), &[], "").await?;
        screen.line(format!("{}/{name} deleted", kind.singular()))?;
        screen.warn(&answer.warnings);
    }
    Ok(())
}
