//! What running containers use.

use std::future::Future;

use super::HostError;
use crate::console::Usage;

/// The container engine as far as it counts.
pub trait Gauges: Send + Sync + 'static {
    /// Counts what a running container uses. Changes nothing.
    fn usage(&self, id: &str) -> impl Future<Output = Result<Usage, HostError>> + Send;
}
