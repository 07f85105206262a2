//! What the TPM said when it did not do what was asked.

use tss_esapi::{Error, constants::response_code::Tss2ResponseCodeKind as Kind};

use crate::host::{HostError, NotSealed, Reason};

/// A try that the chip, or its libraries, did not let succeed.
pub(super) enum Failed {
    Tss(Error),
    Other(HostError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Tss(error)
    }
}

impl From<HostError> for Failed {
    fn from(error: HostError) -> Self {
        Self::Other(error)
    }
}

impl From<NotSealed> for Failed {
    fn from(error: NotSealed) -> Self {
        Self::Other(HostError::new(Reason::Refused, format!("What is sealed can't be read: {error}")))
    }
}

impl Failed {
    /// Returns it in words. `act` says what was tried, `open the connection`.
    pub(super) fn told(self, act: &str) -> HostError {
        let error = match self {
            Self::Other(error) => return error,
            Self::Tss(error) => error,
        };
        let (reason, message) = match kind(error) {
            Some(Kind::PolicyFail) => (
                Reason::Undecryptable,
                "the registers are not as they were when it was sealed: something that starts this machine changed; \
                 `piccolo trust why` says what, and `piccolo trust reseal` binds it to this start with the recovery key"
                    .to_owned(),
            ),
            Some(Kind::Integrity | Kind::Handle) => (
                Reason::Undecryptable,
                "it was sealed by another TPM, or by this one before it was cleared; use the recovery key, then seal anew"
                    .to_owned(),
            ),
            Some(Kind::AuthFail | Kind::BadAuth) => (Reason::PermissionDenied, "the PIN is wrong".to_owned()),
            Some(Kind::Lockout) => (
                Reason::PermissionDenied,
                "it takes no PIN for now, after too many wrong ones; wait, or use the recovery key".to_owned(),
            ),
            _ => (Reason::Failed, error.to_string()),
        };
        HostError::new(reason, format!("The TPM did not {act}: {message}"))
    }
}

fn kind(error: Error) -> Option<Kind> {
    match error {
        Error::Tss2Error(code) => code.kind(),
        Error::WrapperError(_) => None,
    }
}
