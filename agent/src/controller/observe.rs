//! What is planned and not done, because a manifest or the whole machine is only observed. Pure.

use std::collections::BTreeSet;

use piccolo_schema::{Declared, Mode};

/// The subjects whose steps are said and not done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    all: bool,
    names: BTreeSet<String>,
}

impl Observed {
    /// Finds the manifests that are only observed, on a machine in this mode. What no manifest asks for any more is
    /// observed only where the whole machine is.
    pub(super) fn of<M: Declared>(machine: Mode, manifests: &[M]) -> Self {
        let observed = manifests.iter().filter(|it| it.mode() == Mode::Observe);
        Self { all: machine == Mode::Observe, names: observed.map(|it| it.name().to_owned()).collect() }
    }

    /// Returns true if the steps of this subject are not done.
    pub(super) fn has(&self, subject: &str) -> bool {
        self.all || self.names.contains(subject)
    }
}
