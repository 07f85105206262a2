//! Power that can be cut, for machines in memory.

use crate::host::{HostError, Reason};

/// The power of a machine. It fails at a moment that was said before, and stays away until it is given back.
#[derive(Debug, Default)]
pub(super) struct Power {
    /// How many moments are left until it fails.
    left: Option<usize>,
    off: bool,
    /// How many things were begun.
    verbs: u64,
}

/// What stops when its power fails.
pub(super) trait Powered {
    /// Returns its power.
    fn power(&mut self) -> &mut Power;

    /// Does something in two halves. The power may fail before it did anything, in its midst, and after it.
    fn verb(&mut self, half: impl FnOnce(&mut Self), rest: impl FnOnce(&mut Self)) -> Result<(), HostError> {
        self.power().passes()?;
        self.power().verbs += 1;
        half(self);
        self.power().passes()?;
        rest(self);
        self.power().passes()
    }
}

impl Power {
    /// Has it fail at this moment, counted from now; with none it stays.
    pub(super) fn cut_at(&mut self, moment: Option<usize>) {
        (self.left, self.off) = (moment, false);
    }

    /// Returns how many things were begun.
    pub(super) const fn verbs(&self) -> u64 {
        self.verbs
    }

    /// Fails once the moment has come.
    fn passes(&mut self) -> Result<(), HostError> {
        if self.off || self.left == Some(0) {
            self.off = true;
            return Err(HostError::new(Reason::Failed, "The power failed"));
        }
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}
