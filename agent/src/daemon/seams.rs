//! What the API needs of rooms that it may not see.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};

use crate::{
    api::{Logs, Preview},
    controller::KindPreview,
    host::Engine,
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
