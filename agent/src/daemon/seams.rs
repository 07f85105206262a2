//! What the API needs of rooms that it may not see.

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use piccolo_schema::{
    Container, ContainerSpec, Declared as _, Desired, Disk, Image, Volume,
    image::{Prune, Reference},
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    api::{Approvals, Archives, Gauges, Logs, Preview, Pruned, Prunes, Shells, Strangers, Wakes},
    archive::{Arrived, Outgoing},
    capture::{self, Capture, Captured},
    console::{Excerpt, Input, Output, Program, Usage},
    controller::KindPreview,
    host::{
        self, Engine, GroundPlaces, Stamp,
        linux::{Declared, DeclaredImage, Docker, Followed, Updater, Vault},
    },
    manifests::Snapshot,
    sources::{Logins, Puller},
    store::PlanView,
};

/// The plans of all kinds.
pub(super) struct Previews(pub(super) Vec<Arc<dyn KindPreview>>);

impl Preview for Previews {
    fn plan(&self, snapshot: &Snapshot) -> Vec<PlanView> {
        self.0.iter().map(|kind| kind.plan(snapshot)).collect()
    }
}

/// What containers write.
pub(super) struct EngineLogs<E>(pub(super) Arc<E>);

impl<E: Engine> Logs for EngineLogs<E> {
    fn read(&self, container: &str, excerpt: &Excerpt) -> BoxStream<'static, Result<Bytes, String>> {
        self.0.logs(container, excerpt).map(|part| part.map_err(|error| error.message)).boxed()
    }
}

/// Programs in containers.
pub(super) struct EngineShells<E>(pub(super) Arc<E>);

impl<E: host::Shells> Shells for EngineShells<E> {
    fn run(
        &self,
        container: &str,
        program: Program,
        input: mpsc::Receiver<Input>,
    ) -> BoxStream<'static, Result<Output, String>> {
        self.0.run(container, program, input).map(|output| output.map_err(|error| error.message)).boxed()
    }
}

/// What containers use. The engine is asked a few questions at a time, however many people ask.
pub(super) struct EngineGauges<E> {
    engine: Arc<E>,
    places: Semaphore,
}

/// Questions to the engine side by side.
const QUESTIONS: usize = 8;

impl<E> EngineGauges<E> {
    pub(super) fn new(engine: Arc<E>) -> Self {
        Self { engine, places: Semaphore::new(QUESTIONS) }
    }
}

impl<E: host::Gauges> Gauges for EngineGauges<E> {
    fn usage<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Usage, String>> {
        Box::pin(async move {
            let _place = self.places.acquire().await;
            self.engine.usage(container).await.map_err(|error| error.message)
        })
    }
}

impl Approvals for Updater {
    fn approve<'a>(&'a self, container: &'a str, digest: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.approve(container, digest))
    }

    fn go_back<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(self.go_back(container))
    }

    fn return_to<'a>(
        &'a self,
        container: &'a str,
        image: &'a str,
        digest: &'a str,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.return_to(container, image, digest))
    }
}

/// Logins for repositories.
pub(super) struct VaultLogins(pub(super) Vault);

impl Logins for VaultLogins {
    fn authorization<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<Zeroizing<String>, String>> {
        Box::pin(async move { self.0.authorization(secret).await.map_err(|error| error.message) })
    }

    fn key<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<PathBuf, String>> {
        Box::pin(async move { self.0.private_key(secret).await.map_err(|error| error.message) })
    }
}

impl Wakes for Puller {
    fn wake(&self, source: &str) -> bool {
        self.wake(source)
    }
}

impl Prunes for Docker {
    fn prune(&self, dry_run: bool) -> BoxFuture<'_, Result<Vec<Pruned>, String>> {
        Box::pin(async move {
            let images = self.prune(dry_run).await.map_err(|error| error.message)?;
            Ok(images.into_iter().map(|it| Pruned { id: it.id, names: it.names, size: it.size }).collect())
        })
    }
}

impl Archives for Docker {
    fn export<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Outgoing>, String>> {
        Box::pin(async move { self.export_image(reference).await.map_err(|error| error.message) })
    }

    fn import<'a>(
        &'a self,
        bytes: BoxStream<'a, io::Result<Bytes>>,
        name: Option<String>,
    ) -> BoxFuture<'a, Result<Vec<Arrived>, String>> {
        Box::pin(async move { self.import_images(bytes, name).await.map_err(|error| error.message) })
    }
}

/// What others run.
pub(super) struct MachineStrangers<E, L>(pub(super) Arc<E>, pub(super) Arc<L>);

impl<E: host::Strangers + Engine, L: host::Links> Strangers for MachineStrangers<E, L> {
    fn capture(&self) -> BoxFuture<'_, Result<Capture, String>> {
        Box::pin(async {
            let found = self.0.strangers(None).await.map_err(|error| error.message)?;
            let view = self.1.links().await.map_err(|error| error.message)?;
            let mut all = capture::links(&serde_json::to_value(&view).map_err(|error| error.to_string())?);
            let containers = capture::all(&found);
            all.manifests.extend(containers.manifests);
            all.report.rows.extend(containers.report.rows);
            Ok(all)
        })
    }

    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Captured>, String>> {
        Box::pin(async move {
            let found = self.0.strangers(Some(name)).await.map_err(|error| error.message)?;
            Ok(found.containers.first().map(|it| capture::container(it, &found)))
        })
    }

    fn rename<'a>(&'a self, id: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.0.rename(id, name).await.map_err(|error| error.message) })
    }

    fn adopt<'a>(&'a self, id: &'a str, name: &'a str, spec: ContainerSpec) -> BoxFuture<'a, Result<(), String>> {
        let stamp = Stamp { subject: name.to_owned(), spec: Some(Box::new(spec)), ..Stamp::default() };
        Box::pin(async move { self.0.adopt(id, stamp).await.map_err(|error| error.message) })
    }
}

/// Says what the manifests say of updates, whenever that changes, until the shutdown.
pub(super) async fn follow(
    manifests: watch::Receiver<Arc<Snapshot>>,
    followed: watch::Sender<Followed>,
    shutdown: CancellationToken,
) {
    pass_on(manifests, of_updates, followed, shutdown).await;
}

/// Says what the manifests say of images, whenever that changes, until the shutdown.
pub(super) async fn declare(
    manifests: watch::Receiver<Arc<Snapshot>>,
    declared: watch::Sender<Declared>,
    shutdown: CancellationToken,
) {
    pass_on(manifests, of_images, declared, shutdown).await;
}

/// Says what the manifests say of mount points and directories, and only then passes them on. So who plans by a manifest
/// knows of every disk that was declared along with it.
pub(super) struct Place {
    manifests: watch::Receiver<Arc<Snapshot>>,
    places: watch::Sender<GroundPlaces>,
    onward: watch::Sender<Arc<Snapshot>>,
}

impl Place {
    /// Returns it, the end at which places are heard, and the one at which the manifests come out.
    pub(super) fn new(
        mut manifests: watch::Receiver<Arc<Snapshot>>,
    ) -> (Self, watch::Receiver<GroundPlaces>, watch::Receiver<Arc<Snapshot>>) {
        let first = manifests.borrow_and_update().clone();
        let (places, told) = watch::channel(of_places(&first));
        let (onward, placed) = watch::channel(first);
        (Self { manifests, places, onward }, told, placed)
    }

    /// Does so until the shutdown.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while let Some(Ok(())) = shutdown.run_until_cancelled(self.manifests.changed()).await {
            let now = self.manifests.borrow_and_update().clone();
            self.places.send_replace(of_places(&now));
            self.onward.send_replace(now);
        }
    }
}

fn of_places(snapshot: &Snapshot) -> GroundPlaces {
    let (disks, volumes): (Desired<Disk>, Desired<Volume>) = (snapshot.desired(), snapshot.desired());
    let disks = disks.manifests.iter().flat_map(|it| it.spec.places(it.name()));
    let volumes = volumes.manifests.iter().filter_map(|it| Some((it.name().to_owned(), it.spec.plain_path()?)));
    GroundPlaces { disks: disks.collect(), volumes: volumes.collect() }
}

async fn pass_on<T: Clone + PartialEq>(
    mut manifests: watch::Receiver<Arc<Snapshot>>,
    read: fn(&Snapshot) -> T,
    told: watch::Sender<T>,
    shutdown: CancellationToken,
) {
    loop {
        let now = read(&manifests.borrow_and_update());
        told.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        match shutdown.run_until_cancelled(manifests.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Says how the manifests name images, whenever that changes, until the shutdown.
pub(super) async fn name(
    manifests: watch::Receiver<Arc<Snapshot>>,
    named: watch::Sender<BTreeSet<String>>,
    shutdown: CancellationToken,
) {
    pass_on(manifests, names, named, shutdown).await;
}

fn names(snapshot: &Snapshot) -> BTreeSet<String> {
    let images: Desired<Image> = snapshot.desired();
    let containers: Desired<Container> = snapshot.desired();
    let given = images.manifests.iter().map(|it| &it.spec.reference);
    let given = given.chain(containers.manifests.iter().map(|it| &it.spec.image));
    given.filter_map(|name| Reference::parse(name).ok()).map(|name| name.to_string()).collect()
}

fn of_images(snapshot: &Snapshot) -> Declared {
    let images: Desired<Image> = snapshot.desired();
    let mut declared = Declared::new();
    for image in &images.manifests {
        let Ok(reference) = Reference::parse(&image.spec.reference) else { continue };
        let secret = image.spec.credentials.as_ref().map(|it| it.secret.clone());
        let manifest = image.name().to_owned();
        declared.entry(reference.to_string()).or_insert(DeclaredImage {
            manifest,
            secret,
            mirrors: image.spec.mirrors.clone(),
            build: image.spec.build.clone(),
            archive: image.spec.archive.clone(),
            prunes: image.spec.prune == Some(Prune::Unused),
        });
    }
    declared
}

fn of_updates(snapshot: &Snapshot) -> Followed {
    let containers: Desired<Container> = snapshot.desired();
    let volumes: Desired<Volume> = snapshot.desired();
    let image = |it: &Container| (it.name().to_owned(), it.spec.image.clone());
    let (followed, fixed): (Vec<_>, Vec<_>) = containers.manifests.iter().partition(|it| it.spec.update.is_some());
    let kept = volumes.manifests.iter().filter(|it| it.spec.snapshot);
    Followed {
        images: followed.into_iter().map(image).collect(),
        fixed: fixed.into_iter().map(image).collect(),
        volumes: kept.map(|it| it.name().to_owned()).collect(),
    }
}
