//! What the engine does not know of its own things, and the daemon has to know before it looks at them.

use std::{collections::BTreeSet, io, path::Path};

use tokio::sync::watch;

use super::{adopted::Adopted, brought::Arrivals, ledger::Ledger};

/// What is kept beside the engine.
#[derive(Debug)]
pub struct Memory {
    pub(super) adopted: Adopted,
    pub(super) arrivals: Arrivals,
    pub(super) ledger: Ledger,
}

impl Memory {
    /// Reads what is kept below `home`. `named` are the names that manifests give to images, in familiar form.
    ///
    /// # Errors
    /// When something of it can't be read.
    pub fn open(home: &Path, named: watch::Receiver<BTreeSet<String>>) -> io::Result<Self> {
        let (adopted, arrivals) = (Adopted::open(home)?, Arrivals::open(home)?);
        Ok(Self { adopted, arrivals, ledger: Ledger::open(home, named)? })
    }
}
