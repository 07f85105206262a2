//! The TPM of this machine, by the libraries of the TCG's software stack.
//!
//! Those libraries block, and a chip may take seconds: every verb runs in a thread of its own, one at a time, and whoever
//! waits for it waits only so long. Each opens its own connection and closes it again, so that nothing of ours stays in the
//! chip and other programs come to it in between.

#[cfg(feature = "tpm")]
mod attempt;
#[cfg(feature = "tpm")]
mod device;
#[cfg(feature = "tpm")]
mod keys;
mod logs;
#[cfg(feature = "tpm")]
mod signed;
#[cfg(not(feature = "tpm"))]
#[path = "tpm/without.rs"]
mod work;
#[cfg(feature = "tpm")]
mod work;

use std::{path::Path, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use zeroize::Zeroizing;

pub use self::logs::Logs;
use crate::host::{Above, HostError, Measured, Pcrs, Quote, Reason, Sealed, Signer, Terms, Tpm, TpmSeen};

/// How long anybody waits for the chip, the turns of others included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the kernel shares the chip out to several programs.
const DEVICE: &str = "/dev/tpmrm0";

/// The TPM of this machine, or one that is reached another way.
#[derive(Clone)]
pub struct Chip {
    /// The way to it, as the libraries write it; none if there is none.
    way: Option<Arc<str>>,
    turn: Arc<Semaphore>,
    logs: Logs,
    /// The file of signatures; where systemd looks for it when left out.
    signatures: Option<Arc<Path>>,
    /// The file of the key that makes them; where systemd looks for it when left out.
    signer: Option<Arc<Path>>,
}

impl Chip {
    /// Takes the chip that is reached this way, `device:/dev/tpmrm0` or `swtpm:host=127.0.0.1,port=2321`; when left out the
    /// one of this machine, if the kernel has one; with `none` there is none.
    pub fn new(way: Option<&str>) -> Self {
        let own = || Path::new(DEVICE).exists().then(|| format!("device:{DEVICE}"));
        let way = match way {
            Some("none") => None,
            Some(way) => Some(way.to_owned()),
            None => own(),
        };
        let turn = Arc::new(Semaphore::new(1));
        Self { way: way.map(Into::into), turn, logs: Logs::default(), signatures: None, signer: None }
    }

    /// Reads what was measured from these logs.
    #[must_use]
    pub fn with_logs(self, logs: Logs) -> Self {
        Self { logs, ..self }
    }

    /// Reads signatures over registers from this file.
    #[must_use]
    pub fn with_signatures(self, file: &Path) -> Self {
        Self { signatures: Some(file.into()), ..self }
    }

    /// Reads the key that makes such signatures from this file.
    #[must_use]
    pub fn with_signer(self, file: &Path) -> Self {
        Self { signer: Some(file.into()), ..self }
    }

    /// Returns whose signatures over the kernel's image come with the system, if it says so.
    pub fn signer(&self) -> Option<Signer> {
        Signer::new(logs::signer(self.signer.as_deref()), Pcrs::of([Signer::IMAGE])?).ok()
    }

    /// Does this with the chip, in a thread of its own.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&str) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let way = self.way.clone().ok_or_else(nothing)?;
        let turn = timeout(PATIENCE, Arc::clone(&self.turn).acquire_owned());
        let turn = turn.await.map_err(|_| late())?.map_err(|_| late())?;
        let (tell, told) = oneshot::channel();
        let thread = thread::Builder::new().name("tpm".to_owned()).spawn(move || {
            // Nobody may wait for it any more.
            drop(tell.send(work(&way)));
            drop(turn);
        });
        thread.map_err(|error| HostError::new(Reason::Failed, format!("No thread can be started ({error})")))?;
        match timeout(PATIENCE, told).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(HostError::new(Reason::Failed, "The TPM's libraries failed")),
            Err(_) => Err(late()),
        }
    }
}

impl Tpm for Chip {
    fn is_there(&self) -> bool {
        self.way.is_some()
    }

    async fn look(&self) -> Result<TpmSeen, HostError> {
        self.with(work::look).await
    }

    async fn seal_on(
        &self,
        secret: &Zeroizing<Vec<u8>>,
        terms: &Terms,
        pin: Option<&Zeroizing<Vec<u8>>>,
        above: Above,
    ) -> Result<Sealed, HostError> {
        let (secret, terms, pin) = (secret.clone(), terms.clone(), pin.cloned());
        self.with(move |way| work::seal(way, &secret, &terms, pin.as_ref(), above)).await
    }

    async fn unseal(&self, sealed: &Sealed, pin: Option<&Zeroizing<Vec<u8>>>) -> Result<Zeroizing<Vec<u8>>, HostError> {
        let (sealed, pin, file) = (sealed.clone(), pin.cloned(), self.signatures.clone());
        let read = move |sealed: &Sealed| sealed.signer.as_ref().map(|_| logs::signatures(file.as_deref()));
        self.with(move |way| {
            let signatures = read(&sealed).unwrap_or_default();
            work::unseal(way, &sealed, pin.as_ref(), &signatures)
        })
        .await
    }

    async fn quote(&self, nonce: &[u8], pcrs: Pcrs) -> Result<Quote, HostError> {
        let nonce = nonce.to_vec();
        self.with(move |way| work::quote(way, &nonce, pcrs)).await
    }

    async fn measured(&self) -> Result<Measured, HostError> {
        let logs = self.logs.clone();
        self.with(move |way| logs.read(|| work::registers(way, Pcrs::OF_A_START))).await
    }
}

fn nothing() -> HostError {
    HostError::new(Reason::Gone, format!("This machine has no TPM ({DEVICE} is not there); turn it on in its firmware"))
}

fn late() -> HostError {
    HostError::new(Reason::TimedOut, format!("The TPM did not answer within {} s", PATIENCE.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_there_is_none_every_verb_says_so() {
        let chip = Chip::new(Some("none"));
        assert!(!chip.is_there());
        assert_eq!(chip.look().await.unwrap_err().reason, Reason::Gone);
        assert_eq!(chip.quote(b"nonce", Pcrs::NONE).await.unwrap_err().reason, Reason::Gone);
    }

    #[tokio::test]
    async fn a_way_that_leads_nowhere_is_an_error() {
        for way in ["device:/nowhere", "swtpm:host=127.0.0.1,port=1", "nonsense", ""] {
            assert!(Chip::new(Some(way)).look().await.is_err(), "{way}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chip_that_never_answers_is_not_waited_for() {
        let chip = Chip::new(Some("nonsense"));
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let hangs = chip.with(move |_| held.recv().map_err(|_| late()));
        assert_eq!(hangs.await.unwrap_err().reason, Reason::TimedOut);
        // It has its turn until it comes back, so nobody else has one.
        assert_eq!(chip.look().await.unwrap_err().reason, Reason::TimedOut);
        drop(hold);
    }
}
