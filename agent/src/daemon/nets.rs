//! The links of the machine, for the API and for the program that puts changes of them back.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::{
    api::Nets,
    clock,
    host::{
        Links as _, LinksView,
        linux::{Networkd, TrialBook, put_links_back},
    },
};

/// Where the state is when the command line does not say.
const STATE: &str = "/var/lib/piccolo";

/// The links of the machine.
pub(super) struct MachineNets(pub(super) Arc<Networkd>);

impl Nets for MachineNets {
    fn show(&self) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async move { self.0.links().await.map(|view| shown(&view)).map_err(|error| error.message) })
    }

    fn confirm(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { self.0.confirm().await.map_err(|error| error.message) })
    }

    fn retry(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { self.0.retry().await.map_err(|error| error.message) })
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
    json!({ "items": items.collect::<Vec<_>>(), "problem": view.problem, "trial": view.trial, "refused": view.refused })
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
