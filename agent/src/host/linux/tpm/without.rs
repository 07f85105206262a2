//! In the place of the TPM where this program was built without the libraries for it.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::host::{Above, HostError, Pcrs, Quote, Reason, Sealed, Terms, TpmSeen};

pub(super) fn look(_: &str) -> Result<TpmSeen, HostError> {
    Err(missing())
}

pub(super) fn seal(
    _: &str,
    _: &Zeroizing<Vec<u8>>,
    _: &Terms,
    _: Option<&Zeroizing<Vec<u8>>>,
    _: Above,
) -> Result<Sealed, HostError> {
    Err(missing())
}

pub(super) fn unseal(
    _: &str,
    _: &Sealed,
    _: Option<&Zeroizing<Vec<u8>>>,
    _: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HostError> {
    Err(missing())
}

pub(super) fn quote(_: &str, _: &[u8], _: Pcrs) -> Result<Quote, HostError> {
    Err(missing())
}

pub(super) fn registers(_: &str, _: Pcrs) -> Result<BTreeMap<u8, String>, HostError> {
    Err(missing())
}

fn missing() -> HostError {
    HostError::new(Reason::Refused, "This piccolod was built without the feature `tpm`; build it with that feature")
}
