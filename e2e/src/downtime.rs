//! For how long nobody answers: from the signal that ends the old container to the start of the new one, by the clock of
//! the engine.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use bollard::{
    models::{ContainerCreateBody, EventMessage},
    query_parameters::{CreateContainerOptionsBuilder, EventsOptionsBuilder},
};
use futures_util::TryStreamExt;
use jiff::Timestamp;

use crate::Engine;

/// Returns the milliseconds between the first signal and the last start since then, of containers whose names begin so.
///
/// # Errors
/// When the engine tells of no such two.
pub async fn since(engine: &Engine, begin: Timestamp, name: &str) -> anyhow::Result<f64> {
    let seconds = |it: Timestamp| format!("{}.{:09}", it.as_second(), it.subsec_nanosecond());
    let filters = HashMap::from([("type", vec!["container"]), ("event", vec!["kill", "start"])]);
    let options =
        EventsOptionsBuilder::new().since(&seconds(begin)).until(&seconds(Timestamp::now())).filters(&filters);
    let events: Vec<EventMessage> = engine.0.events(Some(options.build())).try_collect().await?;
    let is_meant = |event: &&EventMessage| {
        let attributes = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
        attributes.and_then(|it| it.get("name")).is_some_and(|it| it.starts_with(name))
    };
    let at = |action: &str| {
        let matching = events.iter().filter(is_meant).filter(|it| it.action.as_deref() == Some(action));
        matching.filter_map(|it| it.time_nano).collect::<Vec<_>>()
    };
    let killed = at("kill").into_iter().min().context("nothing was stopped")?;
    let started = at("start").into_iter().max().context("nothing was started")?;
    ensure!(started > killed, "nothing was started after the stop");
    Ok((started - killed) as f64 / 1e6)
}

/// Stops a container, makes another one and starts it, with no more calls than that takes. Returns the downtime.
///
/// # Errors
/// When the engine refuses.
pub async fn by_hand(engine: &Engine, image: &str) -> anyhow::Result<f64> {
    let body = || ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["sleep".to_owned(), "1000000".to_owned()]),
        stop_signal: Some("SIGKILL".to_owned()),
        ..ContainerCreateBody::default()
    };
    let create = async |name: &str| {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        engine.0.create_container(Some(options), body()).await
    };
    create("by-hand-old").await?;
    engine.0.start_container("by-hand-old", None).await?;
    let begin = Timestamp::now();
    engine.0.stop_container("by-hand-old", None).await?;
    create("by-hand-new").await?;
    engine.0.start_container("by-hand-new", None).await?;
    let downtime = since(engine, begin, "by-hand").await;
    engine.remove("by-hand-old").await?;
    engine.remove("by-hand-new").await?;
    downtime
}
