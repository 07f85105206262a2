//! A container that others began is taken over, whatever goes wrong on the way, and does not notice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test writes files as a person would")]

#[path = "api/support.rs"]
mod house;
mod support;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use house::House;
use piccolo_agent::{
    api,
    capture::{self, Capture, Captured},
    host::{
        ContainerSeen, HostError, Reason, Stamp, Strangers,
        fake::{FakeEngine, Verb, When},
    },
};
use piccolo_schema::{Container, ContainerSpec, Desired};
use serde_json::json;

/// The fake engine, as the daemon hands it to the API.
struct Others(Arc<FakeEngine>);

impl api::Strangers for Others {
    fn capture(&self) -> BoxFuture<'_, Result<Capture, String>> {
        Box::pin(async { Ok(capture::all(&self.0.strangers(None).await.map_err(told)?)) })
    }

    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Captured>, String>> {
        Box::pin(async move {
            let found = self.0.strangers(Some(name)).await.map_err(told)?;
            Ok(found.containers.first().map(|it| capture::container(it, &found)))
        })
    }

    fn rename<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.0.rename_stranger(id, name).await.map_err(told) })
    }

    fn adopt<'a>(&'a self, id: &'a str, name: &'a str, spec: ContainerSpec) -> BoxFuture<'a, Result<(), String>> {
        let stamp = Stamp { subject: name.to_owned(), spec: Some(Box::new(spec)), ..Stamp::default() };
        Box::pin(async move { self.0.adopt(id, stamp).await.map_err(told) })
    }
}

fn told(error: HostError) -> String {
    error.message
}

async fn adopt(house: &House, name: &str) -> house::Answer {
    house.send("POST", "/adopt", &[], json!({ "container": name }).to_string()).await
}

fn pass(house: &House, engine: &Arc<FakeEngine>) -> bool {
    let desired: Desired<Container> = house.manifests.snapshot().desired();
    support::pass(&support::containers(engine), &desired)
}

fn only(engine: &FakeEngine) -> ContainerSeen {
    let all = engine.truth().containers;
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

#[tokio::test]
async fn nothing_is_done_to_it() {
    for name in ["web", "Their_Web.1"] {
        let engine = Arc::new(FakeEngine::new());
        engine.run_foreign(name);
        let before = only(&engine);
        let house = House::beside(Arc::new(Others(Arc::clone(&engine)))).await;
        let answer = adopt(&house, name).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(pass(&house, &engine), "there is something to do");
        let after = only(&engine);
        assert_eq!((&after.id, after.state, &after.limits), (&before.id, before.state, &before.limits));
        assert_eq!((engine.interruptions().len(), after.subject()), (0, Some(after.name.as_str())));
    }
}

#[tokio::test]
async fn whatever_goes_wrong_the_next_try_goes_on() {
    for (verb, when) in [
        (Verb::Strangers, When::Before),
        (Verb::Rename, When::Before),
        (Verb::Rename, When::After),
        (Verb::Adopt, When::Before),
        (Verb::Adopt, When::After),
    ] {
        let engine = Arc::new(FakeEngine::new());
        engine.run_foreign("Their_Web");
        let before = only(&engine);
        let house = House::beside(Arc::new(Others(Arc::clone(&engine)))).await;
        engine.fail(verb, 0, when, HostError::new(Reason::Failed, "it broke"));
        let answer = adopt(&house, "Their_Web").await;
        assert!(!answer.status.is_success(), "{verb:?} {when:?}: {}", answer.text);
        // Whatever the daemon does meanwhile, it does nothing to the container.
        pass(&house, &engine);
        assert_eq!(only(&engine).id, before.id, "{verb:?} {when:?}");
        let now = only(&engine);
        if now.stamp.is_none() {
            let answer = adopt(&house, &now.name).await;
            assert_eq!(answer.status, 200, "{verb:?} {when:?}: {}", answer.text);
        }
        assert!(pass(&house, &engine), "{verb:?} {when:?}: there is something to do");
        let after = only(&engine);
        assert_eq!((after.id, after.state, engine.interruptions().len()), (before.id, before.state, 0), "{verb:?}");
    }
}

#[tokio::test]
async fn it_is_kept_replaced_and_removed_as_if_it_were_our_own() {
    let engine = Arc::new(FakeEngine::new());
    engine.run_foreign("web");
    let before = only(&engine);
    let house = House::beside(Arc::new(Others(Arc::clone(&engine)))).await;
    assert_eq!(adopt(&house, "web").await.status, 200);
    let changed = house.read("containers/web.toml").replace("app:1", "app:2");
    let path = format!("{}/web", house::CONTAINERS);
    assert_eq!(house.send("PUT", &path, &[("content-type", "application/toml")], changed).await.status, 200);
    while !pass(&house, &engine) {}
    let after = only(&engine);
    assert!(after.id != before.id && after.name == "web" && after.state.is_live(), "{after:?}");
    assert_eq!(house.send("DELETE", &path, &[], "").await.status, 200);
    while !pass(&house, &engine) {}
    assert!(engine.truth().containers.is_empty());
}

#[tokio::test]
async fn what_cannot_be_taken_over_is_refused() {
    let engine = Arc::new(FakeEngine::new());
    for name in ["web", "frozen", "_", "db"] {
        engine.run_foreign(name);
    }
    engine.pause("frozen");
    let house = House::beside(Arc::new(Others(Arc::clone(&engine)))).await;
    house.put_web().await;
    for (name, status, words) in [
        ("web", 409, "there is a Container manifest `web` already, and it says something else"),
        ("frozen", 409, "`frozen` does not run"),
        ("_", 409, "`_` can't be declared"),
        ("nobody", 404, "the engine has no container `nobody` that is not Piccolo's"),
    ] {
        let answer = adopt(&house, name).await;
        assert_eq!((answer.status.as_u16(), answer.text.contains(words)), (status, true), "{name}: {}", answer.text);
    }
    assert_eq!(adopt(&house, "db").await.status, 200);
    let again = adopt(&house, "db").await;
    assert!(again.status == 409 && again.text.contains("`db` is Piccolo's already"), "{}", again.text);
    assert!(engine.truth().containers.iter().filter(|it| it.name != "db").all(|it| it.stamp.is_none()));
}
