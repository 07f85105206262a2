//! The links of the machine, for the API and for the program that puts changes of them back.

use std::{net::IpAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{Arrival, Nets, Unconfirmed},
    clock,
    host::{
        HostError, Links as _, LinksView, Reason, TrialSeen, Way,
        linux::{Networkd, TrialBook, put_links_back},
    },
    sources::{OnTrial, Trials},
};

/// Where the state is when the command line does not say.
const STATE: &str = "/var/lib/piccolo";

/// The links of the machine.
pub(super) struct MachineNets(pub(super) Arc<Networkd>);

impl Nets for MachineNets {
    fn show(&self) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async move { self.0.links().await.map(|view| shown(&view)).map_err(|error| error.message) })
    }

    fn confirm<'a>(
        &'a self,
        trial: Option<&'a str>,
        arrival: Option<Arrival>,
    ) -> BoxFuture<'a, Result<(), Unconfirmed>> {
        let way = arrival.map(|it| Way { since: it.at, from: it.from, over: it.over });
        Box::pin(async move { self.0.confirm(trial, way.as_slice()).await.map_err(unconfirmed) })
    }

    fn retry(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { self.0.retry().await.map_err(|error| error.message) })
    }
}

/// What follows repositories sees of the links.
pub(super) struct MachineTrials(pub(super) Arc<Networkd>);

impl Trials for MachineTrials {
    fn begins(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.trial_begins())
    }

    fn seen(&self) -> BoxFuture<'_, Result<Option<OnTrial>, String>> {
        Box::pin(async move {
            let seen = self.0.on_trial().await.map_err(|error| error.message)?;
            let of = |(trial, in_force): (TrialSeen, bool)| OnTrial {
                id: trial.id,
                links: trial.tried.into_keys().collect(),
                in_force,
            };
            Ok(seen.map(of))
        })
    }

    fn confirm<'a>(&'a self, trial: &'a str, since: Instant, at: &'a [IpAddr]) -> BoxFuture<'a, Result<(), String>> {
        let ways: Vec<Way> = at.iter().map(|from| Way { since, from: *from, over: 0 }).collect();
        Box::pin(async move {
            // Without any way it would be a person's word.
            if ways.is_empty() {
                return Err("Nobody knows where the repository is".to_owned());
            }
            self.0.confirm(Some(trial), &ways).await.map_err(|error| error.message)
        })
    }
}

fn unconfirmed(error: HostError) -> Unconfirmed {
    match error.reason {
        Reason::InUse => Unconfirmed::Early(error.message),
        _ => Unconfirmed::Refused(error.message),
    }
}

/// Shows each link with the manifest that it is from. Nothing of secrets.
fn shown(view: &LinksView) -> Value {
    let declared = |unit: &str| view.units.iter().find(|it| it.path() == unit)?.subject.clone();
    let items = view.devices.iter().map(|device| {
        let mut item = serde_json::to_value(device).unwrap_or_default();
        item["declaredBy"] = json!(device.unit.as_deref().and_then(declared));
        item["reachedBy"] = json!(view.reached_by.contains(&device.name));
        item
    });
    let mut trial = json!(view.trial);
    if let Some(until) = view.trial.as_ref().and_then(|it| it.until.parse::<Timestamp>().ok()) {
        trial["secondsLeft"] = json!(until.duration_since(clock::now()).as_secs().max(0));
    }
    json!({ "items": items.collect::<Vec<_>>(), "problem": view.problem, "trial": trial, "refused": view.refused })
}

/// Puts back a change of links that nobody confirmed, without the daemon: `piccolod net-restore [--boot] [STATE]`. At the
/// start of the machine networkd is not told, as it has not read its files yet.
pub async fn restore(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let (flags, paths): (Vec<_>, Vec<_>) = arguments.partition(|it| it == "--boot");
    let state = paths.into_iter().next().map_or_else(|| PathBuf::from(STATE), PathBuf::from);
    let book = TrialBook::of(&state);
    match put_links_back(&book, &clock::uptime(), flags.is_empty()).await {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(restored)) => {
            tracing::warn!(files = ?restored.files, "a change of links was put back that nobody confirmed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error, "a change of links can't be put back");
            ExitCode::FAILURE
        }
    }
}
