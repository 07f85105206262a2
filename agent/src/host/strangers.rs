//! Containers that are not ours.

use std::future::Future;

use super::HostError;
use crate::capture::Found;

/// The container engine as far as others' containers go.
pub trait Strangers: Send + Sync + 'static {
    /// Inspects what runs and is not ours, or the container of this name alone, running or not, with what it stands on.
    /// Changes nothing.
    fn strangers(&self, name: Option<&str>) -> impl Future<Output = Result<Found, HostError>> + Send;
}
