//! `piccolo apply`: files in, as they are.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use hyper::{Method, StatusCode, header};
use piccolo_schema::Kind;
use serde_json::Value;

use super::{
    client::{Answer, Client},
    failure::Failure,
    local,
    local::Local,
    plan,
    reach::{Changed, Reach},
    screen::Screen,
    subject,
    trial::Trial,
    wait,
};

/// Makes or replaces manifests. TOML is kept as it is, with its comments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo apply -f web.toml --wait\n  piccolo apply -f manifests/ --dry-run\n  \
                        piccolo apply -f front.toml --confirm-within 120s")]
pub(super) struct Args {
    /// Files or directories of manifests, or `-` for standard input. One manifest a file.
    #[arg(short, long = "file", required = true)]
    files: Vec<PathBuf>,
    /// Shows what would be changed and changes nothing.
    #[arg(long, conflicts_with_all = ["wait", "confirm_within"])]
    dry_run: bool,
    /// Waits until what was applied does what was asked.
    #[arg(long)]
    wait: bool,
    /// How many seconds to wait.
    #[arg(long, default_value_t = 60, requires = "wait")]
    timeout: u32,
    #[command(flatten)]
    trial: Trial,
    #[command(flatten)]
    reach: Reach,
}

/// What became of a manifest that was sent.
struct Sent {
    /// The generation that it has then.
    generation: i64,
    /// What the daemon warned of.
    warnings: Vec<String>,
    /// The change on trial that it is a part of.
    trial: Option<String>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut manifests = local::read(&args.files, screen)?;
    // With a change of a Link the machine may be gone from where it is asked.
    manifests.sort_by_key(|it| it.kind == Kind::Link);
    if manifests.is_empty() {
        return Err(Failure::NotFound("there is no manifest (*.toml) in there".to_owned()));
    }
    let mut changed = Changed::default();
    let sent = send_all(&manifests, args, &mut changed, client, screen).await;
    // What was sent is in force, whatever became of the rest.
    let reached = args.reach.confirm(&changed, client, screen).await;
    if let (Err(_), Err(failure)) = (&sent, &reached) {
        screen.note(failure.to_string());
    }
    let (sent, reached) = (sent?, reached?);
    let client = reached.as_ref().unwrap_or(client);
    warn(&manifests, &sent, client, screen).await?;
    if !args.wait {
        return Ok(());
    }
    let all = async {
        for (manifest, sent) in manifests.iter().zip(sent) {
            settle(manifest, sent.generation, client, screen).await?;
            screen.line(format!("{}/{} ready", manifest.kind.singular(), manifest.name))?;
        }
        Ok(())
    };
    match tokio::time::timeout(Duration::from_secs(args.timeout.into()), all).await {
        Ok(done) => done,
        Err(_) => Err(unsettled(&manifests, args.timeout, client).await),
    }
}

/// Sends the manifests, or shows what they would lead to. The change on trial is told once all are there.
async fn send_all(
    manifests: &[Local],
    args: &Args,
    changed: &mut Changed,
    client: &Client,
    screen: &Screen,
) -> Result<Vec<Sent>, Failure> {
    let mut sent = Vec::new();
    for manifest in manifests {
        if args.dry_run {
            let warnings = preview(manifest, client, screen).await?;
            // What else is in the files is not there yet: of several this would be told wrongly.
            screen.warn(if manifests.len() == 1 { &warnings } else { &[] });
        } else {
            sent.push(send(manifest, args.trial, changed, client, screen).await?);
        }
    }
    args.trial.say(sent.iter().find_map(|it| it.trial.as_deref()), screen)?;
    Ok(sent)
}

/// Says what the daemon warned of. What was missing may have come with a later manifest, so of all but the last it is asked
/// again.
async fn warn(manifests: &[Local], sent: &[Sent], client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut told = BTreeSet::new();
    for (at, (manifest, sent_it)) in manifests.iter().zip(sent).enumerate() {
        let stale = !sent_it.warnings.is_empty() && at + 1 < sent.len();
        let warnings = if stale { ask(manifest, client).await?.warnings } else { sent_it.warnings.clone() };
        // A conflict of two is told with both of them.
        let new: Vec<_> = warnings.into_iter().filter(|it| told.insert(it.clone())).collect();
        screen.warn(&new);
    }
    Ok(())
}

/// Asks what the manifest would lead to.
async fn ask(manifest: &Local, client: &Client) -> Result<Answer, Failure> {
    let path = format!("{}?dryRun=All", subject::path(manifest.kind, &manifest.name));
    let headers = [(header::CONTENT_TYPE, manifest.media)];
    client.send(Method::PUT, &path, &headers, manifest.text.clone()).await
}

/// Shows what the manifest would lead to and returns what the daemon warned of.
async fn preview(manifest: &Local, client: &Client, screen: &Screen) -> Result<Vec<String>, Failure> {
    let answer = ask(manifest, client).await?;
    let plans = plan::read(&client.json(&answer)?)?;
    screen.note(format!("{}/{}:", manifest.kind.singular(), manifest.name));
    plan::show(&plans, screen, |plan, subject| plan.kind == manifest.kind && subject == manifest.name)?;
    Ok(answer.warnings)
}

/// Sends a manifest.
async fn send(
    manifest: &Local,
    trial: Trial,
    changed: &mut Changed,
    client: &Client,
    screen: &Screen,
) -> Result<Sent, Failure> {
    let path = subject::path(manifest.kind, &manifest.name);
    let before = client.ask(&path).await?.etag;
    let headers = [(header::CONTENT_TYPE, manifest.media)];
    let answer = client.send(Method::PUT, &trial.path(&path), &headers, manifest.text.clone()).await?;
    let word = match answer.status {
        StatusCode::CREATED => "created",
        _ if before.is_some() && before == answer.etag => "unchanged",
        _ => "changed",
    };
    screen.line(format!("{}/{} {word}", manifest.kind.singular(), manifest.name))?;
    // One that is sent again while it is on trial is still to be confirmed.
    if manifest.kind == Kind::Link && (word != "unchanged" || is_tried(&manifest.name, client).await) {
        changed.link(&manifest.name, Some(&manifest.text), &answer);
    }
    let generation = client.json(&answer)?["metadata"]["generation"].as_i64().unwrap_or(0);
    Ok(Sent { generation, warnings: answer.warnings, trial: answer.trial })
}

async fn is_tried(link: &str, client: &Client) -> bool {
    client.get("/net").await.is_ok_and(|net| net["trial"]["tried"][link].is_string())
}

/// Waits until the object does what this generation asks. Cut by the caller.
async fn settle(manifest: &Local, generation: i64, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let done = |object: &Value| {
        let is_done = |it: &Value| it["status"] == "True" && speaks_of(it, object, generation);
        wait::ready(object).is_some_and(is_done).then_some(())
    };
    wait::until(manifest.kind, &manifest.name, client, screen, done).await
}

fn speaks_of(condition: &Value, object: &Value, generation: i64) -> bool {
    let observed = condition["observedGeneration"].as_i64();
    observed.or_else(|| object["status"]["observedGeneration"].as_i64()).is_some_and(|it| it >= generation)
}

async fn unsettled(manifests: &[Local], seconds: u32, client: &Client) -> Failure {
    let mut words = format!("not ready within {seconds} s");
    for manifest in manifests {
        let Ok(object) = client.get(&subject::path(manifest.kind, &manifest.name)).await else { continue };
        if let Some(condition) = wait::ready(&object).filter(|it| it["status"] != "True") {
            let text = |key: &str| condition[key].as_str().unwrap_or_default();
            let name = format!("{}/{}", manifest.kind.singular(), manifest.name);
            words.push_str(&format!("\n  {name}: {} ({})", text("message"), text("reason")));
        }
    }
    Failure::Unsettled(words)
}
