//! Containers that are not ours.

use std::future::Future;

use super::{HostError, Stamp};
use crate::capture::Found;

/// The container engine as far as others' containers go.
pub trait Strangers: Send + Sync + 'static {
    /// Inspects what runs and is not ours, or the container of this name alone, running or not, with what it stands on.
    /// Changes nothing.
    fn strangers(&self, name: Option<&str>) -> impl Future<Output = Result<Found, HostError>> + Send;
    /// Writes down that a container is ours from now on, and was made from the spec of the stamp. The container does not
    /// notice.
    fn adopt(&self, id: &str, stamp: Stamp) -> impl Future<Output = Result<(), HostError>> + Send;
}
