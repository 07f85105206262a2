//! A change of links that came from a repository is confirmed once that repository answers again with the change: over a
//! connection that was made after it, and from beside this machine.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use piccolo_schema::{ConfigSourceSpec, Kind};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Puller, ask::Question, offer::home};
use crate::manifests::{Snapshot, etag};

/// How often a repository is asked while a change that came from it is on trial.
const PACE: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Changes of links that are put back unless somebody confirms them.
pub trait Trials: Send + Sync {
    /// Waits until a change is on trial.
    fn begins(&self) -> BoxFuture<'_, ()>;
    /// Returns what is on trial. An error is a sentence for people.
    fn seen(&self) -> BoxFuture<'_, Result<Option<OnTrial>, String>>;
    /// Lets it stay, as these addresses were reached by a way that is no older than this moment. An error is a sentence for
    /// people.
    fn confirm<'a>(&'a self, trial: &'a str, since: Instant, at: &'a [IpAddr]) -> BoxFuture<'a, Result<(), String>>;
}

/// A change on trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnTrial {
    /// What a confirmation names.
    pub id: String,
    /// The Links that are tried.
    pub links: BTreeSet<String>,
    /// Whether the machine is set up by it.
    pub in_force: bool,
}

impl Puller {
    /// Confirms changes of links that came from repositories, until the shutdown.
    pub async fn prove(self: Arc<Self>, trials: Arc<dyn Trials>, shutdown: CancellationToken) {
        let all = async {
            loop {
                trials.begins().await;
                loop {
                    match trials.seen().await {
                        Ok(None) => break,
                        Ok(Some(trial)) if trial.in_force => self.prove_one(&trial, &*trials).await,
                        Ok(Some(_)) => {}
                        // It may be on trial all the same, and nobody says a second time that it is.
                        Err(why) => tracing::warn!(why, "whether a change of links is on trial can't be told now"),
                    }
                    sleep(PACE).await;
                }
            }
        };
        shutdown.run_until_cancelled(all).await;
    }

    async fn prove_one(&self, trial: &OnTrial, trials: &dyn Trials) {
        let snapshot = self.manifests.snapshot();
        let Some((name, spec)) = self.source_of(&trial.links, &snapshot) else { return };
        let since = Instant::now();
        let proved = match timeout(PATIENCE, self.reach(&name, &spec)).await {
            Ok(Ok(at)) => trials.confirm(&trial.id, since, &at).await,
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("it took longer than {PATIENCE:?}")),
        };
        match proved {
            Ok(()) => {
                tracing::info!(source = name, trial = trial.id, "the repository answers with the change of links");
            }
            Err(why) => {
                tracing::warn!(source = name, trial = trial.id, why, "the change of links is not confirmed");
            }
        }
    }

    /// Returns the one repository that all of these Links came from, as they are now or by being removed. What a hand changed
    /// is none of its.
    fn source_of(&self, links: &BTreeSet<String>, snapshot: &Snapshot) -> Option<(String, ConfigSourceSpec)> {
        let sources: Vec<_> = self.lock().iter().map(|(name, it)| (name.clone(), it.spec.clone())).collect();
        sources.into_iter().find(|(name, _)| {
            let taken = self.taken(name, snapshot);
            let gone = self.lock().get(name).map(|it| it.removed.clone()).unwrap_or_default();
            let brought = |link: &String| match snapshot.declared.get(&(Kind::Link, link.clone())) {
                None => gone.contains(link),
                Some(it) => it.path.strip_prefix(home(name)).is_ok_and(|path| {
                    taken.as_ref().and_then(|taken| taken.files.get(path)) == Some(&etag(it.text.as_bytes()))
                }),
            };
            !links.is_empty() && links.iter().all(brought)
        })
    }

    /// Asks a repository for its branch. Returns the addresses at which it is.
    async fn reach(&self, name: &str, spec: &ConfigSourceSpec) -> Result<Vec<IpAddr>, String> {
        let Some((host, port)) = place(&spec.url) else {
            return Err("a repository on this machine does not show that others reach it".to_owned());
        };
        let found = tokio::net::lookup_host((host, port)).await.map_err(|error| format!("{host}: {error}"))?;
        let at = found.map(|it| it.ip()).collect();
        let (authorization, key) = self.login(spec).await?;
        let question = Question { spec, directory: &self.directory, name, authorization, key, revision: None };
        question.reach().await.map_err(|error| error.to_string())?;
        Ok(at)
    }
}

/// Returns the names of the Links that a source declared before a change and does no longer.
pub(super) fn removed(source: &str, before: &Snapshot, after: &Snapshot) -> BTreeSet<String> {
    let home = home(source);
    let links = before.declared.iter().filter(|((kind, _), it)| *kind == Kind::Link && it.path.starts_with(&home));
    links.filter(|(identity, _)| !after.declared.contains_key(*identity)).map(|((_, name), _)| name.clone()).collect()
}

/// Returns the host and the port of an URL; nothing for one that names none.
fn place(url: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        "ssh" => 22,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(usual), |it| it.parse().ok())?;
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn an_url_says_where_a_repository_is() {
        assert_eq!(place("https://git.example.org/x.git"), Some(("git.example.org", 443)));
        assert_eq!(place("ssh://git@10.0.0.7:2222/srv/x"), Some(("10.0.0.7", 2222)));
        assert_eq!(place("http://[fd00::1]:3000/x"), Some(("fd00::1", 3000)));
        assert_eq!(place("https://[fd00::1]/x"), Some(("fd00::1", 443)));
        for none in ["file:///srv/x", "https:///x", "https://a:b/x", "git.example.org:x.git", "ftp://a/x"] {
            assert_eq!(place(none), None, "{none}");
        }
    }
}
