//! What the engine says of itself. Every word is a hint to look again, nothing more.

use std::{sync::Weak, time::Duration};

use bollard::{
    models::{EventMessage, EventMessageTypeEnum},
    query_parameters::{EventsOptions, EventsOptionsBuilder},
};
use futures_util::StreamExt;
use tracing::{debug, info};

use super::docker::{Docker, lock};
use crate::clock;

/// The rest before the first try to reach the engine again.
const FIRST_REST: Duration = Duration::from_millis(200);
/// How far back the engine is asked to tell.
const OVERLAP: Duration = Duration::from_secs(5);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// Follows the engine's events until nobody owns it any more. When the stream breaks everything that is remembered is
/// dropped, and both kinds are told to look: first to see that the engine is gone, then that it is back.
pub(super) async fn follow(docker: Weak<Docker>) {
    let mut rest = FIRST_REST;
    while let Some(engine) = docker.upgrade() {
        if let Ok(client) = engine.client().await {
            let mut events = std::pin::pin!(client.events(Some(since())));
            hint_all(&engine);
            drop(engine);
            info!("following the engine's events");
            while let Some(Ok(event)) = events.next().await {
                let Some(engine) = docker.upgrade() else { return };
                heed(&engine, &event);
                rest = FIRST_REST;
            }
            debug!("the engine's events ended");
            if let Some(engine) = docker.upgrade() {
                engine.forget();
                hint_all(&engine);
            }
        } else {
            drop(engine);
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(LONGEST_REST);
    }
}

/// Asks for the last seconds too: what happens between the last look and the subscription is then told after it.
fn since() -> EventsOptions {
    let since = clock::now().as_second() - OVERLAP.as_secs().cast_signed();
    EventsOptionsBuilder::new().since(&since.to_string()).build()
}

fn hint_all(engine: &Docker) {
    engine.containers_hint.now();
    engine.images_hint.notify_one();
    engine.networks_hint.notify_one();
    engine.gate.hint.notify_one();
    engine.volumes_hint.notify_one();
}

/// Forgets what an event may have changed, and asks for a look.
fn heed(engine: &Docker, event: &EventMessage) {
    let action = event.action.as_deref().unwrap_or_default();
    let actor = event.actor.as_ref();
    let id = actor.and_then(|actor| actor.id.as_deref()).unwrap_or_default();
    match event.typ {
        // A health check or a command in a container says nothing that anybody asked for, again and again.
        Some(EventMessageTypeEnum::CONTAINER) if action.starts_with("exec_") || action == "top" => return,
        Some(EventMessageTypeEnum::CONTAINER) => {
            lock(&engine.cache).forget_container(id);
            match action {
                "start" => engine.probes.started(id),
                "destroy" => engine.adopted.forget(id),
                _ => {}
            }
        }
        Some(EventMessageTypeEnum::IMAGE) => {
            lock(&engine.cache).forget_images();
            engine.images_hint.notify_one();
        }
        // That a volume is mounted or unmounted is told at each start and stop of a container, and changes nothing.
        Some(EventMessageTypeEnum::VOLUME) if action == "mount" || action == "unmount" => return,
        Some(EventMessageTypeEnum::VOLUME) => {
            lock(&engine.cache).forget_volumes();
            engine.volumes_hint.notify_one();
        }
        Some(EventMessageTypeEnum::NETWORK) => {
            let joins = action == "connect";
            if !joins && action != "disconnect" {
                lock(&engine.cache).forget_networks();
            }
            let container = actor.and_then(|actor| actor.attributes.as_ref()?.get("container"));
            if let Some(container) = container {
                lock(&engine.cache).forget_container(container);
            }
            // Who joined has an address now, which rules may be about; that one left may let the network go.
            engine.networks_hint.notify_one();
            engine.gate.hint.notify_one();
        }
        _ => return,
    }
    match action {
        // A signal alone changes nothing, and who left a network is told of anyway.
        "kill" | "disconnect" => {}
        // What died may be about to be removed, or started again by the engine.
        "die" => engine.containers_hint.soon(),
        _ => engine.containers_hint.now(),
    }
}
