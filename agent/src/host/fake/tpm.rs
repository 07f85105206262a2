//! A security chip in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::host::{Above, HostError, Measured, Pcrs, Quote, Reason, Sealed, Terms, Tpm, TpmSeen};

/// A security chip in memory. It signs nothing; all else it keeps as a real one does. A copy is the same chip.
#[derive(Clone, Debug, Default)]
pub struct FakeTpm(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    is_gone: bool,
    /// Another one after each time that it was cleared.
    seed: u64,
    registers: BTreeMap<u8, Vec<u8>>,
    sealed: BTreeMap<Vec<u8>, Kept>,
    /// What is written down of what was measured, if anything is.
    measured: Option<Measured>,
    /// How many more verbs it does before it fails.
    lasts: Option<u32>,
}

#[derive(Debug)]
struct Kept {
    seed: u64,
    policy: Vec<u8>,
    pin: Option<Zeroizing<Vec<u8>>>,
    secret: Zeroizing<Vec<u8>>,
}

impl FakeTpm {
    /// Takes the chip out, or puts it back.
    pub fn take_out(&self, is_gone: bool) {
        self.lock().is_gone = is_gone;
    }

    /// Clears it, as its firmware does on request.
    pub fn clear(&self) {
        self.lock().seed += 1;
    }

    /// Measures something into a register.
    pub fn extend(&self, register: u8, what: &[u8]) {
        let mut inner = self.lock();
        let value = inner.registers.entry(register).or_default();
        *value = Sha256::digest([&value[..], what].concat()).to_vec();
    }

    /// Starts the machine anew: this is measured.
    pub fn start(&self, measured: Measured) {
        let mut inner = self.lock();
        inner.registers = measured.registers.iter().map(|(pcr, text)| (*pcr, text.as_bytes().to_vec())).collect();
        inner.measured = Some(measured);
    }

    /// Lets it fail after so many more verbs; never when none.
    pub fn last(&self, verbs: Option<u32>) {
        self.lock().lasts = verbs;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) -> Result<MutexGuard<'_, Inner>, HostError> {
        let mut inner = self.lock();
        if inner.is_gone {
            return Err(HostError::new(Reason::Gone, "This machine has no TPM"));
        }
        match &mut inner.lasts {
            Some(0) => Err(HostError::new(Reason::Failed, "The TPM failed")),
            Some(left) => {
                *left -= 1;
                Ok(inner)
            }
            None => Ok(inner),
        }
    }
}

impl Inner {
    fn policy(&self, pcrs: Pcrs, pin: bool) -> Vec<u8> {
        policy(&self.registers, pcrs, pin)
    }
}

fn policy(registers: &BTreeMap<u8, Vec<u8>>, pcrs: Pcrs, pin: bool) -> Vec<u8> {
    let values = pcrs.iter().flat_map(|it| [vec![it], registers.get(&it).cloned().unwrap_or_default()]);
    Sha256::digest([&values.flatten().collect::<Vec<_>>()[..], &[pin.into()]].concat()).to_vec()
}

impl Tpm for FakeTpm {
    fn is_there(&self) -> bool {
        !self.lock().is_gone
    }

    async fn look(&self) -> Result<TpmSeen, HostError> {
        let seed = self.ask()?.seed;
        Ok(TpmSeen { maker: "FAKE".to_owned(), signer: format!("000b{seed:064x}"), ..TpmSeen::default() })
    }

    async fn seal_on(
        &self,
        secret: &Zeroizing<Vec<u8>>,
        terms: &Terms,
        pin: Option<&Zeroizing<Vec<u8>>>,
        _: Above,
    ) -> Result<Sealed, HostError> {
        let mut inner = self.ask()?;
        if terms.signer.is_some() {
            return Err(HostError::new(Reason::Refused, "A chip in memory checks no signature"));
        }
        let pcrs = terms.pcrs;
        let policy = match &terms.values {
            None => inner.policy(pcrs, pin.is_some()),
            Some(values) => {
                let held = values.iter().map(|(pcr, text)| (*pcr, text.as_bytes().to_vec())).collect();
                policy(&held, pcrs, pin.is_some())
            }
        };
        let blob = Sealed::joined(&inner.sealed.len().to_be_bytes(), b"fake");
        let kept = Kept { seed: inner.seed, policy: policy.clone(), pin: pin.cloned(), secret: secret.clone() };
        inner.sealed.insert(blob.clone(), kept);
        Ok(Sealed { blob, pcrs, pin: pin.is_some(), policy, signer: None, home: None })
    }

    async fn unseal(&self, sealed: &Sealed, pin: Option<&Zeroizing<Vec<u8>>>) -> Result<Zeroizing<Vec<u8>>, HostError> {
        let inner = self.ask()?;
        let kept = inner.sealed.get(&sealed.blob).filter(|it| it.seed == inner.seed);
        let refused = |message| HostError::new(Reason::Undecryptable, message);
        let kept = kept.ok_or_else(|| refused("The TPM is not the one that this was sealed by"))?;
        if kept.policy != inner.policy(sealed.pcrs, sealed.pin) {
            return Err(refused("The registers are not as they were"));
        }
        if sealed.pin && kept.pin.as_ref() != pin {
            return Err(HostError::new(Reason::PermissionDenied, "The PIN is wrong"));
        }
        Ok(kept.secret.clone())
    }

    async fn quote(&self, _: &[u8], _: Pcrs) -> Result<Quote, HostError> {
        drop(self.ask()?);
        Err(HostError::new(Reason::Refused, "A chip in memory signs nothing"))
    }

    async fn measured(&self) -> Result<Measured, HostError> {
        let measured = self.ask()?.measured.clone();
        measured.ok_or_else(|| HostError::new(Reason::Gone, "This machine keeps no log of what was measured"))
    }
}
