//! A change of links that is on trial, confirmed by the command that made it: it asks the machine anew, and that it is
//! answered is the proof that others reach it.

mod changed;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use futures_util::future::select_ok;
use hyper::{Method, header};
use piccolo_schema::Kind;
use serde_json::{Value, json};
use tokio::time::sleep;

pub(super) use self::changed::Changed;
use super::{
    client::Client,
    contexts::Contexts,
    failure::Failure,
    host::Host,
    plan,
    screen::Screen,
    wait::{self, Line},
};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often the machine is asked.
const PACE: Duration = Duration::from_millis(700);
/// How long it takes at most until a change that was written is on trial, and at least until it is planned.
const TAKES: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(1500);
/// After which time the machine has put back what was there, and had time to be reached by it.
const OVER: Duration = Duration::from_secs(150);
/// How long a machine puts up with a change that nobody confirms, if it did not say so itself.
const TRIAL: u64 = 90;

/// Whether a change of links is confirmed by the command that makes it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Reach {
    /// Leaves it to `piccolo net confirm` to say that the machine is still reached. Otherwise a change of links that could cut
    /// it off is confirmed by this command itself, over a new connection.
    #[arg(long)]
    no_confirm: bool,
}

/// What one question found.
enum Found {
    /// The change is on trial under this name, for so many seconds more.
    OnTrial(String, u64),
    /// It is, and so is this of others, for which an answer to this command proves nothing.
    WithOthers(String),
    /// Nothing of it is, and there is more to do before it may be.
    Coming,
    /// Nothing of it is, nor will be: true if it was put back.
    Over(bool),
}

impl Reach {
    /// Confirms what was changed, once the machine answers with it. Says what is to be done where it can't. Returns the
    /// way by which it answers then, if it was asked.
    pub(super) async fn confirm(
        self,
        changed: &Changed,
        client: &Client,
        screen: &Screen,
    ) -> Result<Option<Client>, Failure> {
        if changed.links.is_empty() {
            return Ok(None);
        }
        match client.place() {
            Host::Tls(at) if !self.no_confirm => {
                let places = places(at, &changed.addresses, client);
                let at = Watch::new(changed, places, screen).run().await?;
                Ok(Some(Client::new(at.place().clone(), at.known().cloned())))
            }
            place => {
                let links: Vec<&str> = changed.tried.iter().map(String::as_str).collect();
                told(&links, matches!(place, Host::Unix(_)), screen);
                Ok(None)
            }
        }
    }
}

/// Confirms whatever is on trial, as a person asks for it. On this machine that counts as it is.
pub(super) async fn confirm_now(client: &Client, screen: &Screen) -> Result<(), Failure> {
    if matches!(client.place(), Host::Unix(_)) {
        return confirm(client, None).await;
    }
    let Some(trial) = client.get("/net").await?["trial"]["id"].as_str().map(str::to_owned) else {
        return Err(Failure::NotFound("no change of links waits to be confirmed".to_owned()));
    };
    let (begun, line) = (Instant::now(), Line::of(screen));
    loop {
        match confirm(&client.patient(PATIENCE), Some(&trial)).await {
            Err(Failure::Refused(problem)) if is_early(&problem) && begun.elapsed() < TAKES => {
                line.show("the change is not in force yet");
                sleep(PACE).await;
            }
            done => return done,
        }
    }
}

async fn confirm(client: &Client, trial: Option<&str>) -> Result<(), Failure> {
    let body = trial.map(|trial| json!({ "trial": trial }).to_string()).unwrap_or_default();
    let headers = [(header::CONTENT_TYPE, "application/json")];
    client.send(Method::POST, "/net/confirm", &headers, body).await.map(drop)
}

fn is_early(problem: &Value) -> bool {
    problem["type"].as_str().is_some_and(|it| it.ends_with(":TooEarly"))
}

/// Says how a change of these Links is confirmed by hand that was made just now.
pub(super) fn told(links: &[&str], is_local: bool, screen: &Screen) {
    told_within(links, is_local, TRIAL, screen);
}

fn told_within(links: &[&str], is_local: bool, seconds: u64, screen: &Screen) {
    let names: Vec<_> = links.iter().map(|name| format!("link/{name}")).collect();
    if names.is_empty() {
        return;
    }
    screen.note(format!("{} is on trial: what was before is put back in {seconds} s, unless", names.join(", ")));
    screen.note("  it is meant to stay: piccolo net confirm, over the network by the new way");
    if is_local {
        screen.note("  that this command was answered over a socket of the machine itself proves nothing");
    }
}

/// Returns where the machine is asked: where it was, and where the manifests say that it will be.
fn places(at: &str, addresses: &[IpAddr], client: &Client) -> Vec<Client> {
    let port = at.rsplit_once(':').map_or("8080", |(_, port)| port);
    let place = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    };
    let further = addresses.iter().map(place).filter(|it| it != at);
    let all = std::iter::once(at.to_owned()).chain(further);
    all.map(|at| Client::new(Host::Tls(at), client.known().cloned()).patient(PATIENCE)).collect()
}

/// A change that is watched until it is confirmed, or over.
struct Watch<'a> {
    changed: &'a Changed,
    places: Vec<Client>,
    screen: &'a Screen,
    begun: Instant,
    /// When the machine puts the change back, as far as that is known.
    until: Option<Instant>,
    /// Whether the change was seen on trial.
    seen: bool,
    /// What had been put back before this change.
    refused: Option<Value>,
    /// The change on trial whose confirmation was refused last.
    denied: Option<String>,
    /// Since when it is on trial no more.
    vanished: Option<Instant>,
    /// The Links that are confirmed, while others are still to come.
    confirmed: BTreeSet<String>,
}

impl<'a> Watch<'a> {
    fn new(changed: &'a Changed, places: Vec<Client>, screen: &'a Screen) -> Self {
        let begun = Instant::now();
        let (until, refused, denied, vanished, confirmed) = (None, None, None, None, BTreeSet::new());
        Self { changed, places, screen, begun, until, seen: false, refused, denied, vanished, confirmed }
    }

    /// Returns the way by which the machine answers when the change is over.
    async fn run(mut self) -> Result<Client, Failure> {
        let line = Line::of(self.screen);
        let mut told = Instant::now();
        while self.begun.elapsed() < OVER {
            if let Some((at, net)) = self.ask().await {
                match self.found(&net, &at).await {
                    Found::Coming => {}
                    Found::Over(false) if !self.seen && !self.confirmed.is_empty() => {
                        return self.stays(&at, line).await.map(|()| at);
                    }
                    Found::Over(back) => return self.over(back, line).map(|()| at),
                    Found::WithOthers(names) => {
                        let why =
                            format!("{names} of somebody else is on trial with it, which this answer does not prove");
                        return Err(self.by_hand(&why, line));
                    }
                    Found::OnTrial(id, left) => {
                        self.sees(left);
                        match confirm(&at, Some(&id)).await {
                            Ok(()) if self.has_more(&net, &at).await => {}
                            Ok(()) => return self.stays(&at, line).await.map(|()| at),
                            // By now another may be on trial, or none: only the second time it is this one.
                            Err(Failure::Refused(problem)) if !is_early(&problem) => {
                                if self.denied.replace(id.clone()) == Some(id) {
                                    return Err(self.by_hand(problem["detail"].as_str().unwrap_or_default(), line));
                                }
                            }
                            Err(_) => {}
                        }
                    }
                }
            }
            if told.elapsed() >= wait::beat(self.screen) {
                told = Instant::now();
                line.show(&self.standing());
            }
            sleep(PACE).await;
        }
        Err(Failure::Unsettled(format!("{} does not answer, neither with the change nor without it", self.names())))
    }

    /// Asks all places at once, each over a connection of its own. The first that answers counts.
    async fn ask(&self) -> Option<(Client, Value)> {
        let asked = self.places.iter().map(|at| Box::pin(async move { at.get("/net").await.map(|net| (at, net)) }));
        let ((at, net), _) = select_ok(asked).await.ok()?;
        Some((at.patient(PATIENCE), net))
    }

    fn sees(&mut self, left: u64) {
        self.until = Some(Instant::now() + Duration::from_secs(left));
        (self.seen, self.vanished) = (true, None);
    }

    /// Takes in that what is on trial is confirmed. Returns true if another of the Links is still to be set up: a trial of it may
    /// begin yet, and is confirmed as well.
    async fn has_more(&mut self, net: &Value, at: &Client) -> bool {
        let tried = net["trial"]["tried"].as_object().into_iter().flatten();
        let known = self.confirmed.len();
        self.confirmed.extend(tried.map(|(name, _)| name.clone()).filter(|name| self.changed.links.contains(name)));
        // Each time there is one less that it can be.
        let is_more = self.confirmed.len() > known && self.is_planned(at).await;
        if is_more {
            (self.seen, self.until, self.vanished, self.begun) = (false, None, None, Instant::now());
        }
        is_more
    }

    async fn found(&mut self, net: &Value, at: &Client) -> Found {
        let (trial, links, passed) = (&net["trial"], &self.changed.links, self.begun.elapsed());
        // What was put back so early was so before.
        if passed < TAKES && self.refused.is_none() {
            self.refused = Some(net["refused"].clone());
        }
        if links.iter().any(|name| trial["tried"][name].is_string()) {
            let left = trial["secondsLeft"].as_u64().unwrap_or(TRIAL);
            let others = others(trial, links);
            if !others.is_empty() {
                self.sees(left);
                return Found::WithOthers(others.join(", "));
            }
            return Found::OnTrial(trial["id"].as_str().unwrap_or_default().to_owned(), left);
        }
        let earlier = self.refused.as_ref().unwrap_or(&Value::Null);
        let is_back =
            links.iter().any(|name| net["refused"][name].is_string() && net["refused"][name] != earlier[name]);
        if self.seen && !is_back && self.may_be_put_back() {
            return Found::Coming;
        }
        let is_over = self.seen || is_back || passed > TAKES;
        let may_be_none = self.changed.tried.is_subset(&self.confirmed);
        if is_over || (may_be_none && passed > SHORT && !self.is_planned(at).await) {
            return Found::Over(is_back);
        }
        Found::Coming
    }

    /// Returns whether what is on trial no more is perhaps about to be put back: that is told a moment later than it begins, and
    /// later yet when its time is over.
    fn may_be_put_back(&mut self) -> bool {
        let since = *self.vanished.get_or_insert_with(Instant::now);
        let ran_out = self.until.is_some_and(|until| since + SHORT >= until);
        since.elapsed() < if ran_out { TAKES } else { SHORT }
    }

    /// Returns whether the machine has something to do for the Links. What it does is in the plan until it is done.
    async fn is_planned(&self, at: &Client) -> bool {
        let plans = match at.get("/plan").await {
            Ok(document) => plan::read(&document).unwrap_or_default(),
            Err(_) => return true,
        };
        let mut steps = plans.iter().filter(|it| it.kind == Kind::Link).flat_map(|it| &it.steps);
        let is_left = |name: &String| self.changed.links.contains(name) && !self.confirmed.contains(name);
        steps.any(|step| is_left(&step.subject))
    }

    fn names(&self) -> String {
        self.changed.links.iter().map(|name| format!("link/{name}")).collect::<Vec<_>>().join(", ")
    }

    fn standing(&self) -> String {
        let (names, passed) = (self.names(), self.begun.elapsed().as_secs());
        let left = self
            .until
            .map_or(TRIAL.saturating_sub(passed), |it| it.saturating_duration_since(Instant::now()).as_secs());
        match (self.seen, left) {
            (_, 0) => format!("{names}: the machine puts back what was there"),
            (true, left) => format!("{names}: on trial, asking for the machine anew; else it is put back in {left} s"),
            (false, _) if self.changed.tried.is_empty() => format!("{names}: being set up, {passed} s"),
            (false, left) => {
                format!("{names}: no answer over the new way yet; the machine puts back what was there in {left} s")
            }
        }
    }

    async fn stays(&self, at: &Client, line: Line<'_>) -> Result<(), Failure> {
        drop(line);
        let place = at.place().place();
        self.screen.line(format!("{} stays: the machine answers at {place}", self.names()))?;
        match self.places.first().filter(|first| first.place() != at.place()) {
            Some(first) if first.patient(PATIENCE).get("/net").await.is_err() => self.moved(first, &place),
            _ => Ok(()),
        }
    }

    /// Takes down where the machine is from now on. That it is the same one is proved by its authority.
    fn moved(&self, from: &Client, place: &str) -> Result<(), Failure> {
        let mut contexts = Contexts::read()?;
        if contexts.moved(&from.place().place(), place) == 0 {
            self.screen.note(format!("it is reached there alone now: `--host https://{place}`; no context names it"));
            return Ok(());
        }
        contexts.write()?;
        self.screen.note("it is reached there alone now, which is written down: `piccolo context list`");
        Ok(())
    }

    /// Says what speaks against a confirmation by this command.
    fn by_hand(&self, why: &str, line: Line<'_>) -> Failure {
        drop(line);
        self.screen.note(why);
        let links: Vec<&str> = self.changed.links.iter().map(String::as_str).collect();
        let left = self.until.map_or(TRIAL, |it| it.saturating_duration_since(Instant::now()).as_secs());
        told_within(&links, false, left, self.screen);
        Failure::Unsettled(format!("{} is not confirmed", self.names()))
    }

    fn over(&self, is_back: bool, line: Line<'_>) -> Result<(), Failure> {
        drop(line);
        match (is_back, self.seen) {
            (true, _) => Err(Failure::Unsettled(format!(
                "{} was put back: nobody reached the machine with the change; `piccolo why link/{}` says more",
                self.names(),
                self.changed.links.first().map_or("", String::as_str)
            ))),
            (false, true) => self.screen.line(format!("{} stays: it was confirmed meanwhile", self.names())),
            (false, false) => {
                if !self.changed.tried.is_empty() {
                    self.screen.note(format!("{} is not on trial; `piccolo net` shows how it stands", self.names()));
                }
                Ok(())
            }
        }
    }
}

/// Returns what is on trial besides these Links.
fn others(trial: &Value, own: &BTreeSet<String>) -> Vec<String> {
    let tried = trial["tried"].as_object().into_iter().flatten();
    tried.filter(|(name, _)| !own.contains(*name)).map(|(name, _)| format!("link/{name}")).collect()
}
