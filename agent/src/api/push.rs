//! What the hooks of the repository ask: whether a push may come in, and then to take it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{Json, Router, extract::State as Extract, http::StatusCode, routing::post};
use bytes::Bytes;
use piccolo_schema::Role;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{State, fault::Fault, params, plan, trial, warning};
use crate::{
    history::PushError,
    manifests::{By, Door, Manifests, Snapshot, Who, WriteError},
};

/// The one branch.
const BRANCH: &str = "refs/heads/main";
/// The most reasons that are told of one push.
const MOST: usize = 50;

/// Returns the routes for the hooks, which are answered to users of this machine alone.
pub(super) fn routes() -> Router<State> {
    Router::new().route("/git/hooks/pre-receive", post(look)).route("/git/hooks/proc-receive", post(take))
}

/// A push in the words of a hook.
#[derive(Deserialize)]
struct Push {
    /// Where what it brings waits until it is accepted.
    quarantine: Option<PathBuf>,
    commands: Vec<Command>,
    options: Vec<String>,
    /// Who pushes; none if it is root on this machine.
    pusher: Option<Pusher>,
}

/// Who pushes over the API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Pusher {
    name: Arc<str>,
    role: Role,
}

/// One ref that shall be changed.
#[derive(Deserialize)]
struct Command {
    old: String,
    new: String,
    name: String,
}

/// What a push wants.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// The latest revision as the pusher knows it.
    from: Option<String>,
    /// The latest revision as it shall be.
    to: String,
    options: Options,
    pusher: Option<Pusher>,
}

/// What is asked for by `git push -o`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    within: Option<Duration>,
    dry_run: bool,
}

/// Answers with the plan of a push that may come in.
async fn look(Extract(state): Extract<State>, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let (wanted, quarantine) = read(&bytes)?;
    if let (Some(trial), Options { within: None, dry_run: false }) = (state.manifests.trial(), &wanted.options) {
        return Err(WriteError::OnTrial { id: trial.id.clone() }.into());
    }
    let turn = state.history.turn(quarantine.as_deref()).await?;
    let base = base(&state, &wanted).await?;
    let texts = turn.texts(wanted.from.as_deref(), &wanted.to).await?;
    let after = base.replaced(&texts)?;
    wanted.writer(&state).permits(&base, &after)?;
    let mut answer = plan::document(&state.preview.plan(&after), &after);
    answer["warnings"] = json!(warning::warnings(&base, &after, None));
    answer["dryRun"] = json!(wanted.options.dry_run);
    Ok(Json(answer))
}

/// Puts what a push holds in force, and answers with the change on trial, if it is on trial.
async fn take(Extract(mut state): Extract<State>, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let (wanted, _) = read(&bytes)?;
    state.manifests = wanted.writer(&state);
    let Wanted { from, to, options, .. } = &wanted;
    if options.dry_run {
        return Err(Fault::bad_request("a dry run changes nothing"));
    }
    let turn = state.history.turn(None).await?;
    let base = base(&state, &wanted).await?;
    let texts = turn.texts(from.as_deref(), to).await?;
    let links = trial::links(&state, &base.replaced(&texts)?);
    // From here on the next start of the agent knows whose change it was.
    turn.keep(to).await?;
    if let Err(error) = trial::writer(&state, options.within).replace(texts, base).await {
        turn.forget().await;
        return Err(match error {
            WriteError::Conflict { .. } => overtaken(),
            error => error.into(),
        });
    }
    let head = state.history.settled().await?;
    let is_recorded = turn.holds(head.as_deref(), to).await?;
    turn.forget().await;
    if !is_recorded {
        return Err(Fault::conflict("it is in force, and a hand changed more at the same time: git pull --rebase"));
    }
    let trial = options.within.and_then(|_| state.manifests.trial());
    Ok(Json(json!({ "revision": to, "trial": trial.map(|trial| trial::show(&trial)), "links": links })))
}

impl Wanted {
    /// Returns the directory as the pusher may write it.
    fn writer(&self, state: &State) -> Manifests {
        let (who, role) = match &self.pusher {
            Some(pusher) => (Who::Named(Arc::clone(&pusher.name)), pusher.role),
            None => (Who::User(0), Role::Admin),
        };
        state.manifests.by(By { door: Door::Git, who }).limited(role)
    }
}

/// Returns what the directory says, if the pusher has seen all of it.
async fn base(state: &State, wanted: &Wanted) -> Result<Arc<Snapshot>, Fault> {
    let base = state.manifests.look().await?;
    let head = state.history.settled().await?;
    if head == wanted.from { Ok(base) } else { Err(overtaken()) }
}

fn overtaken() -> Fault {
    Fault::conflict("the manifests were changed meanwhile; nothing of that is lost")
        .help("git pull --rebase first, then push again")
}

fn read(bytes: &[u8]) -> Result<(Wanted, Option<PathBuf>), Fault> {
    let push: Push =
        serde_json::from_slice(bytes).map_err(|error| Fault::bad_request(format!("this is no push: {error}")))?;
    let options = options(&push.options)?;
    let [command] = &*push.commands else {
        return Err(refused("there is one branch, so one thing to push").help("git push REMOTE main"));
    };
    if command.name != BRANCH {
        return Err(refused("there is no branch but `main`, and there are no tags").help("git push REMOTE HEAD:main"));
    }
    let is_object = |it: &str| [40, 64].contains(&it.len()) && it.bytes().all(|it| it.is_ascii_hexdigit());
    if !is_object(&command.old) || !is_object(&command.new) {
        return Err(refused("a revision is named by 40 digits"));
    }
    let real = |it: &str| it.bytes().any(|it| it != b'0').then(|| it.to_ascii_lowercase());
    let Some(to) = real(&command.new) else {
        return Err(refused("the branch `main` can't be removed"));
    };
    Ok((Wanted { from: real(&command.old), to, options, pusher: push.pusher }, push.quarantine))
}

fn options(words: &[String]) -> Result<Options, Fault> {
    let mut options = Options::default();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("dry-run", "") => options.dry_run = true,
            ("confirm-within", time) => options.within = Some(params::within("confirm-within", time)?),
            _ => {
                return Err(refused("there is no such push option")
                    .help("there are `git push -o dry-run` and `git push -o confirm-within=120s`"));
            }
        }
    }
    match options {
        Options { within: Some(_), dry_run: true } => Err(refused("a dry run is never on trial")),
        options => Ok(options),
    }
}

fn refused(why: &str) -> Fault {
    Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "Refused", why)
}

impl From<PushError> for Fault {
    fn from(error: PushError) -> Self {
        match error {
            PushError::History(error) => error.into(),
            PushError::Refused { why, reasons } => {
                let mut text = why.to_owned();
                reasons.iter().take(MOST).for_each(|it| text.extend(["\n  ", it]));
                if reasons.len() > MOST {
                    text.push_str(&format!("\n  and {} more", reasons.len() - MOST));
                }
                refused(&text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";
    const NONE: &str = "0000000000000000000000000000000000000000";

    fn read_one(old: &str, new: &str, name: &str, options: &[&str]) -> Result<Wanted, String> {
        let commands = [json!({ "old": old, "new": new, "name": name })];
        let push = json!({ "quarantine": null, "commands": commands, "options": options });
        read(push.to_string().as_bytes()).map(|(wanted, _)| wanted).map_err(|fault| fault.detail.into())
    }

    #[test]
    fn a_push_is_to_main_alone() {
        let wanted = read_one(OLD, NEW, BRANCH, &[]).unwrap();
        assert_eq!((wanted.from.as_deref(), &*wanted.to), (Some(OLD), NEW));
        assert_eq!(read_one(NONE, NEW, BRANCH, &[]).unwrap().from, None);
        assert!(read_one(OLD, NONE, BRANCH, &[]).unwrap_err().contains("removed"));
        for name in ["refs/heads/other", "refs/tags/v1", "refs/piccolo/pushed", "main", "refs/heads/main\n", "--all"] {
            assert!(read_one(OLD, NEW, name, &[]).unwrap_err().contains("no branch"), "{name}");
        }
        for object in ["", "main", "--all", "12", &"z".repeat(40), &format!("{NEW}\n")] {
            assert!(read_one(OLD, object, BRANCH, &[]).is_err(), "{object}");
            assert!(read_one(object, NEW, BRANCH, &[]).is_err(), "{object}");
        }
        let none = json!({ "commands": [], "options": [] });
        assert!(read(none.to_string().as_bytes()).is_err());
    }

    #[test]
    fn options_are_the_two_that_there_are() {
        let options = |words: &[&str]| read_one(OLD, NEW, BRANCH, words).map(|wanted| wanted.options);
        let within = Some(Duration::from_secs(120));
        assert_eq!(options(&["confirm-within=2m"]), Ok(Options { within, dry_run: false }));
        assert_eq!(options(&["dry-run"]), Ok(Options { within: None, dry_run: true }));
        for wrong in [
            &["dry-run=no"][..],
            &["confirm-within"],
            &["confirm-within=0s"],
            &["ci.skip"],
            &["dry-run", "confirm-within=9s"],
        ] {
            assert!(options(wrong).is_err(), "{wrong:?}");
        }
    }
}
