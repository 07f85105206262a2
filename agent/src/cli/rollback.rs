//! `piccolo rollback`: back to what was before.

use hyper::{Method, header};
use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::{
    client::Client,
    failure::Failure,
    plan,
    reach::{Changed, Reach},
    screen::Screen,
    subject,
    trial::Trial,
};

/// Where all manifests go back.
const ROLLBACK: &str = "/history/rollback";
/// The same, without going.
const ROLLBACK_DRY: &str = "/history/rollback?dryRun=All";

/// Goes back to what was before.
///
/// All manifests go back to a revision: they are written as a new change, and what came after stays in the history.
/// Containers whose image they name run the very image again that they ran then; no data is put back.
///
/// A container goes back to the image that it ran before its last update, and to the data of then where a snapshot was
/// taken of it. It is a trial like any update, and the image that it goes back from is never tried again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo rollback main~1 --dry-run\n  piccolo rollback 4f2c01d\n  \
                        piccolo rollback container/db")]
pub(super) struct Args {
    /// What goes back: a revision as `piccolo history` names it, `container/NAME`, or a change on trial.
    #[arg(value_name = "REVISION|container/NAME|change-ID")]
    what: String,
    /// Shows what a revision would do, and changes nothing.
    #[arg(long, conflicts_with = "confirm_within")]
    dry_run: bool,
    #[command(flatten)]
    trial: Trial,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match args.what.split_once('/').and_then(|(word, name)| Some((Kind::from_word(word)?, name))) {
        None => manifests(args, client, screen).await,
        Some((Kind::Container, _)) if args.dry_run || args.trial.is_wanted() => Err(Failure::Usage(
            "`--dry-run` and `--confirm-within` are for revisions; see `piccolo describe` for a container".to_owned(),
        )),
        Some((Kind::Container, name)) => container(name, client, screen).await,
        Some(_) => Err(Failure::Usage("one by one only containers go back: container/NAME".to_owned())),
    }
}

async fn manifests(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let path = if args.dry_run { ROLLBACK_DRY.to_owned() } else { args.trial.path(ROLLBACK) };
    let body = json!({ "revision": args.what }).to_string();
    let answer = client.send(Method::POST, &path, &[(header::CONTENT_TYPE, "application/json")], body).await?;
    let document = client.json(&answer)?;
    if args.dry_run {
        plan::show(&plan::read(&document)?, screen, |_, _| true)?;
        return digests(&document, screen);
    }
    if let Some(id) = document["putBack"].as_str() {
        return screen.line(format!("{id} is put back"));
    }
    let revision: String = document["revision"].as_str().unwrap_or_default().chars().take(10).collect();
    screen.line(format!("the manifests are those of {revision} again"))?;
    digests(&document, screen)?;
    args.trial.say(answer.trial.as_deref(), screen)?;
    let mut changed = Changed::default();
    changed.answer(&answer);
    args.reach.confirm(&changed, client, screen).await.map(drop)
}

/// Says which containers run the image of then again, and which do not.
fn digests(document: &Value, screen: &Screen) -> Result<(), Failure> {
    for it in document["digests"].as_array().into_iter().flatten() {
        let text = |key: &str| it[key].as_str().unwrap_or_default();
        let (name, image, digest) = (text("container"), text("image"), text("digest"));
        screen.line(match it["leftBecause"].as_str() {
            None => format!("container/{name} goes back to {image} as it was then, {digest}"),
            Some(why) => format!("container/{name} ran {digest} then and is left as it is: {why}"),
        })?;
    }
    Ok(())
}

async fn container(name: &str, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let path = format!("{}/rollback", subject::path(Kind::Container, name));
    let answer = client.json(&client.send(Method::POST, &path, &[], "").await?)?;
    screen.line(format!("container/{name} goes back to {}", answer["digest"].as_str().unwrap_or_default()))
}
