//! `piccolo delete`: manifests away, and with them what they declare.

use hyper::Method;
use piccolo_schema::Kind;

use super::{
    client::Client,
    failure::Failure,
    reach::{Changed, Reach},
    screen::Screen,
    subject,
    trial::Trial,
};

/// Removes manifests, and what they declare from the machine. Volumes and data stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo delete container web\n  piccolo delete ct/web net/front")]
pub(super) struct Args {
    /// `KIND NAME…` or `KIND/NAME…`.
    #[arg(required = true)]
    what: Vec<String>,
    #[command(flatten)]
    trial: Trial,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut changed = Changed::default();
    let deleted = delete_all(args, &mut changed, client, screen).await;
    // What is gone is gone, whatever became of the rest.
    let reached = args.reach.confirm(&changed, client, screen).await;
    if let (Err(_), Err(failure)) = (&deleted, &reached) {
        screen.note(failure.to_string());
    }
    deleted.and(reached.map(drop))
}

async fn delete_all(args: &Args, changed: &mut Changed, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut trial = None;
    for (kind, name) in subject::subjects(&args.what)? {
        let path = args.trial.path(&subject::path(kind, &name));
        let answer = client.send(Method::DELETE, &path, &[], "").await?;
        screen.line(format!("{}/{name} deleted", kind.singular()))?;
        screen.warn(&answer.warnings);
        if kind == Kind::Link {
            changed.link(&name, None, &answer);
        }
        trial = answer.trial.or(trial);
    }
    args.trial.say(trial.as_deref(), screen)
}
