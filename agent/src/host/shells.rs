//! Programs that people run in containers.

use futures_util::Stream;
use tokio::sync::mpsc;

use super::HostError;
use crate::console::{Input, Output, Program};

/// The container engine as far as it runs programs for people.
pub trait Shells: Send + Sync + 'static {
    /// Runs a program in a running container, beside what runs there.
    ///
    /// What comes ends with [`Output::Ended`] or with an error. Dropped before, the program and what it started are hung
    /// up as by a terminal that is closed, and killed if they go on all the same; nothing else in the container is touched.
    fn run(
        &self,
        id: &str,
        program: Program,
        input: mpsc::Receiver<Input>,
    ) -> impl Stream<Item = Result<Output, HostError>> + Send + 'static;

    /// Waits, for seconds at most, until the programs have ended that nobody listens to any more.
    fn end_programs(&self) -> impl Future<Output = ()> + Send;
}
