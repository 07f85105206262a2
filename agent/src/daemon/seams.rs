//! What the API needs of rooms that it may not see.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use piccolo_schema::{Container, ContainerSpec, Declared, Desired, Volume};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Approvals, Logs, Preview, Strangers},
    capture::{self, Capture, Captured},
    controller::KindPreview,
    host::{
        self, Engine, Stamp,
        linux::{Followed, Updater},
    },
    manifests::Snapshot,
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
    fn follow(&self, container: &str, follow: bool, tail: Option<u32>) -> BoxStream<'static, Result<Bytes, String>> {
        self.0.logs(container, follow, tail).map(|part| part.map_err(|error| error.message)).boxed()
    }
}

impl Approvals for Updater {
    fn approve<'a>(&'a self, container: &'a str, digest: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.approve(container, digest))
    }

    fn go_back<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(self.go_back(container))
    }
}

/// What others run.
pub(super) struct EngineStrangers<E>(pub(super) Arc<E>);

impl<E: host::Strangers + Engine> Strangers for EngineStrangers<E> {
    fn capture(&self) -> BoxFuture<'_, Result<Capture, String>> {
        Box::pin(async {
            let found = self.0.strangers(None).await.map_err(|error| error.message)?;
            Ok(capture::all(&found))
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
    mut manifests: watch::Receiver<Arc<Snapshot>>,
    followed: watch::Sender<Followed>,
    shutdown: CancellationToken,
) {
    loop {
        let now = of_updates(&manifests.borrow_and_update());
        followed.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        match shutdown.run_until_cancelled(manifests.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

fn of_updates(snapshot: &Snapshot) -> Followed {
    let containers: Desired<Container> = snapshot.desired();
    let volumes: Desired<Volume> = snapshot.desired();
    let followed = containers.manifests.iter().filter(|it| it.spec.update.is_some());
    let kept = volumes.manifests.iter().filter(|it| it.spec.snapshot);
    Followed {
        images: followed.map(|it| (it.name().to_owned(), it.spec.image.clone())).collect(),
        volumes: kept.map(|it| it.name().to_owned()).collect(),
    }
}
