//! The steps by which a machine becomes as new.

use std::fmt;

use crate::host::{Erase, ResetOrder};

/// One step. Each can be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Erases a disk for data.
    Erase(Erase),
    /// Destroys the keys of the state.
    Destroy,
    /// Makes an empty state.
    Make,
    /// Has the TPM open it.
    Bind,
    /// Makes the recovery key.
    Recovery,
    /// Has the order be for no machine any more.
    Rename,
    /// Takes the order away.
    Finish,
}

/// Returns the steps of an order. Disks for data come first: what becomes of them is told in the new state.
pub fn plan(order: &ResetOrder) -> Vec<Step> {
    let rest = [Step::Destroy, Step::Make, Step::Bind, Step::Recovery, Step::Rename, Step::Finish];
    order.erase.iter().cloned().map(Step::Erase).chain(rest).collect()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Erase(disk) => write!(f, "erasing {}", disk.name),
            Self::Destroy => f.write_str("destroying the keys of the state"),
            Self::Make => f.write_str("making an empty state"),
            Self::Bind => f.write_str("binding its key to the TPM"),
            Self::Recovery => f.write_str("making the recovery key"),
            Self::Rename => f.write_str("giving the partition of the state a new UUID"),
            Self::Finish => f.write_str("taking the order away"),
        }
    }
}
