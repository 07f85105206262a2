//! On what terms a chip gives something back.

use std::collections::BTreeMap;

use super::{Pcrs, Sealed, Signer};

/// On what terms a chip gives something back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The registers that have to be as they are now.
    pub pcrs: Pcrs,
    /// What these registers have to hold instead, in hexadecimal: for a start that is still to come. All of them, or none.
    pub values: Option<BTreeMap<u8, String>>,
    /// Whose signature over what further registers hold is needed.
    pub signer: Option<Signer>,
}

impl Terms {
    /// Asks for these registers as they are now.
    pub fn now(pcrs: Pcrs) -> Self {
        Self { pcrs, ..Self::default() }
    }

    /// Asks for registers that hold this.
    pub fn held(values: BTreeMap<u8, String>) -> Self {
        let pcrs = Pcrs::of(values.keys().map(|it| u64::from(*it))).unwrap_or_default();
        Self { pcrs, values: Some(values), signer: None }
    }

    /// Returns the terms on which something was sealed.
    pub fn of(sealed: &Sealed) -> Self {
        Self { pcrs: sealed.pcrs, values: None, signer: sealed.signer.clone() }
    }
}
