//! How far a pull has come, from the ticks of the engine to the status.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use piccolo_agent::{
    controller::{Bells, Controller, Lanes, Registrar, Shared},
    host::fake::{FakeEngine, Verb},
    manifests::{Declaration, Snapshot},
    reconcile::{Reconciler, container::Containers, image::Images},
    store,
};
use piccolo_schema::{Container, Image, Kind, Manifest, Mode, Progress, quantity::Bytes};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const IMAGE: &str = "lan:5000/app:1";
const TICK: Duration = Duration::from_millis(50);
const PULL: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_pull_of_an_image_is_told_at_most_once_a_second_and_to_its_end() {
    let engine = Arc::new(FakeEngine::new());
    let spec = serde_json::from_value(json!({ "reference": IMAGE })).unwrap();
    let manifest = Manifest::Image(Box::new(Image::new("app", spec)));
    is_told(&engine, Images(engine.clone()), manifest, Verb::PullDeclared).await;
}

#[tokio::test]
async fn so_is_the_pull_of_a_container_whose_image_nobody_declares() {
    let engine = Arc::new(FakeEngine::new());
    let spec = serde_json::from_value(json!({ "image": IMAGE })).unwrap();
    let manifest = Manifest::Container(Box::new(Container::new("app", spec)));
    is_told(&engine, Containers(engine.clone(), engine.clone(), engine.clone()), manifest, Verb::Pull).await;
}

/// Lets a pull tick all the time, and then be silent for a while, and reads the statuses that come of it.
async fn is_told<R: Reconciler>(engine: &FakeEngine, reconciler: R, manifest: Manifest, pull: Verb) {
    let directory = TempDir::new().unwrap();
    let (writer, reader) = store::open(&directory.path().join("store")).await.unwrap();
    tokio::time::pause();
    let (writer, shutdown) = (Arc::new(writer), CancellationToken::new());
    let (_snapshots, manifests) = watch::channel(Arc::new(declared(manifest)));
    let (registrar, registered) = Registrar::new(writer.clone(), manifests);
    let (lanes, bells) = (Arc::<Lanes>::default(), Arc::<Bells>::default());
    let shared = Shared { store: writer.clone(), registered, lanes, bells, mode: Mode::Enforce, shutdown };
    let shutdown = shared.shutdown.clone();
    engine.delay(pull, PULL);
    let (controller, _pulse) = Controller::new(Arc::new(reconciler), shared);
    let tasks = [tokio::spawn(registrar.run(shutdown.clone())), tokio::spawn(controller.run())];

    let (_, mut changes) = reader.since(reader.counters().resource_version).unwrap();
    let ticks = async {
        for percent in 0..=90 {
            engine.tick(IMAGE, progress(percent));
            sleep(TICK).await;
        }
    };
    let mut told: Vec<(Instant, Value)> = Vec::new();
    let follow = async {
        loop {
            let status = changes.recv().await.unwrap().object["status"].clone();
            if told.last().is_none_or(|(_, last)| *last != status["progress"]) {
                told.push((Instant::now(), status["progress"].clone()));
            }
            if status["conditions"][0]["status"] == "True" {
                break;
            }
        }
    };
    timeout(PULL * 3, async { tokio::join!(ticks, follow) }).await.unwrap();
    let (_, last) = told.pop().unwrap();
    assert_eq!(last, Value::Null, "what is over is told no more");
    told.retain(|(_, progress)| !progress.is_null());
    assert_eq!(told.last().unwrap().1["percent"], 90, "the last tick is told");
    assert!(told.len() >= 4, "{told:#?}");
    let rests: Vec<_> = told.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(rests.iter().all(|rest| *rest >= Duration::from_millis(990)), "{rests:?}");
    shutdown.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    tokio::time::resume();
    writer.close().await;
}

fn progress(percent: u8) -> Progress {
    let bytes = |mib: u64| Bytes::new(mib << 20);
    Progress {
        percent,
        done: bytes(percent.into()),
        total: Some(bytes(100)),
        layers_done: 0,
        layers: 1,
        ..Progress::default()
    }
}

fn declared(manifest: Manifest) -> Snapshot {
    let key = (manifest.kind(), "app".to_owned());
    let path = PathBuf::from("app.toml");
    let (text, etag) = (Arc::default(), "1".to_owned());
    let declaration = Declaration { manifest: Arc::new(manifest), path, text, etag, stale: None };
    let complete = Kind::ALL.iter().map(|kind| (*kind, true)).collect::<BTreeMap<_, _>>();
    Snapshot { declared: [(key, declaration)].into(), complete, ..Snapshot::default() }
}
