//! A controller of toys with all that it needs, and words to speak to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use piccolo_agent::{
    controller::{Bells, Controller, Lanes, Pulse, Registrar, Shared},
    manifests::{Declaration, Snapshot},
    store::{self, EventQuery, HeldView, Reader, Writer},
};
use piccolo_schema::{Kind, Manifest, Mode, Network, NetworkSpec};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::toy::{Toys, World};

pub(crate) struct Bench {
    pub(crate) world: Arc<World>,
    /// Names whose manifests are only observed from the next declaration on.
    pub(crate) only_observed: BTreeSet<&'static str>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    reader: Reader,
    writer: Arc<Writer>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    pulse: Pulse,
    directory: Arc<TempDir>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::over(Arc::default(), Arc::new(TempDir::new().unwrap()), Mode::Enforce).await
    }

    /// A machine that is only observed.
    pub(crate) async fn observed() -> Self {
        Self::over(Arc::default(), Arc::new(TempDir::new().unwrap()), Mode::Observe).await
    }

    async fn over(world: Arc<World>, directory: Arc<TempDir>, mode: Mode) -> Self {
        let (writer, reader) = store::open(&directory.path().join("store")).await.unwrap();
        // From here on time passes by itself; the store's own threads know nothing of that.
        tokio::time::pause();
        let writer = Arc::new(writer);
        let (snapshots, manifests) = watch::channel(Arc::default());
        let (registrar, registered) = Registrar::new(writer.clone(), manifests);
        let shutdown = CancellationToken::new();
        let shared = Shared {
            store: writer.clone(),
            registered,
            lanes: Arc::new(Lanes::default()),
            bells: Arc::new(Bells::default()),
            mode,
            shutdown: shutdown.clone(),
        };
        let (controller, pulse) = Controller::new(Arc::new(Toys(world.clone())), shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(registrar.run(shutdown.clone()));
        tasks.spawn(controller.run());
        Self { world, only_observed: BTreeSet::new(), snapshots, reader, writer, shutdown, tasks, pulse, directory }
    }

    pub(crate) async fn restart(self) -> Self {
        let (world, directory) = (self.world.clone(), self.directory.clone());
        self.stop().await;
        Self::over(world, directory, Mode::Enforce).await
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
        tokio::time::resume();
        self.writer.close().await;
    }

    pub(crate) fn declare(&mut self, things: &[(&str, &str)]) {
        self.publish(things, true, &[]);
    }

    pub(crate) fn declare_incomplete(&mut self, things: &[(&str, &str)]) {
        self.publish(things, false, &[]);
    }

    pub(crate) fn consent(&mut self, names: &[&str]) {
        self.publish(&[], true, names);
    }

    fn publish(&mut self, things: &[(&str, &str)], complete: bool, consented: &[&str]) {
        let before = self.snapshots.borrow().clone();
        let declared = things.iter().map(|(name, how)| {
            let mode = if self.only_observed.contains(name) { Mode::Observe } else { Mode::Enforce };
            let manifest = manifest(name, how, mode);
            let key = (Kind::Network, (*name).to_owned());
            let known = before.declared.get(&key).filter(|it| *it.manifest == manifest).cloned();
            let path = PathBuf::from(format!("{name}.toml"));
            let new = || Declaration {
                manifest: Arc::new(manifest),
                path,
                text: Arc::default(),
                etag: (*how).to_owned(),
                stale: None,
            };
            (key, known.unwrap_or_else(new))
        });
        self.snapshots.send_replace(Arc::new(Snapshot {
            declared: declared.collect(),
            complete: Kind::ALL.iter().map(|kind| (*kind, complete)).collect::<BTreeMap<_, _>>(),
            consented: consented.iter().map(|name| (Kind::Network, (*name).to_owned())).collect(),
            ..Snapshot::default()
        }));
    }

    /// Lets everything run that can run now.
    pub(crate) async fn turn(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until this holds; time passes by itself.
    pub(crate) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let waits = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(7200);
        assert!(
            tokio::time::timeout(limit, waits).await.is_ok(),
            "never came: {:?}",
            self.reader.events(&EventQuery::default())
        );
    }

    pub(crate) async fn until_ready(&self, name: &str) {
        self.until(|bench| bench.is_ready(name)).await;
    }

    pub(crate) fn is_ready(&self, name: &str) -> bool {
        self.condition(name)["status"] == "True"
    }

    pub(crate) fn status(&self, name: &str) -> Value {
        self.reader.get(Kind::Network, name).map(|object| object["status"].clone()).unwrap_or_default()
    }

    pub(crate) fn condition(&self, name: &str) -> Value {
        self.status(name)["conditions"][0].clone()
    }

    pub(crate) fn applied(&self) -> Vec<String> {
        self.world.applied.lock().unwrap().clone()
    }

    /// Returns the steps of the last plan, and whether each is only said.
    pub(crate) fn planned(&self) -> Vec<(String, bool)> {
        let plans = self.reader.plans();
        let steps = plans.get(&Kind::Network).map(|plan| plan.steps.clone()).unwrap_or_default();
        steps.into_iter().map(|step| (step.text, step.observed)).collect()
    }

    pub(crate) fn held(&self) -> Option<HeldView> {
        self.reader.plans().get(&Kind::Network)?.held.clone()
    }

    pub(crate) fn passes(&self) -> u64 {
        self.reader.counters().work.values().map(|work| work.passes).sum()
    }

    /// True once a pass was made since the start.
    pub(crate) fn has_passed(&self) -> bool {
        self.reader.plans().contains_key(&Kind::Network)
    }

    pub(crate) fn reasons(&self, name: &str) -> Vec<String> {
        let query = EventQuery { name: Some(name.to_owned()), ..EventQuery::default() };
        self.reader.events(&query).into_iter().map(|event| event.reason).collect()
    }

    pub(crate) fn all_reasons(&self) -> Vec<String> {
        self.reader.events(&EventQuery::default()).into_iter().map(|event| event.reason).collect()
    }

    pub(crate) async fn pulse(&self) -> bool {
        let (asked, answer) = oneshot::channel();
        self.pulse.send(asked).await.is_ok() && answer.await.is_ok()
    }
}

fn manifest(name: &str, how: &str, mode: Mode) -> Manifest {
    let spec = NetworkSpec { subnet: Some(how.to_owned()), ..NetworkSpec::default() };
    let mut network = Network::new(name, spec);
    if mode == Mode::Observe {
        network.metadata.annotations = Some(BTreeMap::from([(Mode::ANNOTATION.to_owned(), "observe".to_owned())]));
    }
    Manifest::Network(Box::new(network))
}
