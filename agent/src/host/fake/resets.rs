use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::power::{Power, Powered};
use crate::host::{Erase, HostError, Reason, ResetDone, ResetOrder, ResetProgress, Resets, Voucher};

/// An installed machine in memory, in the start that resets it, whose power can be cut.
#[derive(Debug, Default)]
pub struct FakeRenewal(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    order: Option<ResetOrder>,
    /// The partition of the state.
    id: String,
    state: State,
    /// The disks for data, by serial number, and what is on them.
    disks: Vec<(String, String)>,
    /// How many keys were made.
    keys: usize,
    power: Power,
    shown: Vec<String>,
    progress: ResetProgress,
    /// The TPM answers nothing.
    is_mute: bool,
    word: Option<String>,
}

/// What lies in the partition of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// The number of the key by which its content is encrypted. None if nothing opens it.
    key: Option<usize>,
    /// What was in it before is in it still.
    is_old: bool,
    has_files: Option<ResetDone>,
    /// The digest of the order that was given while it was open.
    vouches: Option<String>,
    opens_by_tpm: bool,
    recovery: Option<String>,
}

impl FakeRenewal {
    /// Returns a machine that has a life behind it, and these disks for data.
    pub fn used(id: &str, disks: &[&str]) -> Self {
        let state = State { key: Some(0), is_old: true, opens_by_tpm: true, ..State::default() };
        let disks = disks.iter().map(|it| ((*it).to_owned(), "photos".to_owned())).collect();
        Self(Mutex::new(Inner { id: id.to_owned(), state, disks, ..Inner::default() }))
    }

    /// Has the start do this, as the machine itself orders it.
    pub fn order_it(&self, order: ResetOrder) {
        let mut it = self.lock();
        it.state.vouches = Some(order.digest());
        it.order = Some(order);
    }

    /// Has somebody else put an order beside the loader.
    pub fn forge(&self, order: ResetOrder) {
        self.lock().order = Some(order);
    }

    /// Has somebody else write down how far it came.
    pub fn forge_progress(&self, progress: ResetProgress) {
        self.lock().progress = progress;
    }

    /// Has the TPM open the state no more.
    pub fn lock_out(&self) {
        self.lock().state.opens_by_tpm = false;
    }

    /// Has the TPM answer, or not.
    pub fn mute(&self, is_mute: bool) {
        self.lock().is_mute = is_mute;
    }

    /// Returns the word that was left for the next ordinary start, if that is the next.
    pub fn word(&self) -> Option<String> {
        let it = self.lock();
        it.word.clone().filter(|_| it.order.is_none())
    }

    /// Has the power fail at this moment, counted from now; with none it stays.
    pub fn cut_at(&self, moment: Option<usize>) {
        self.lock().power.cut_at(moment);
    }

    /// Returns true if what the machine knew can still be read.
    pub fn remembers(&self) -> bool {
        let it = self.lock();
        it.state.is_old && it.state.key.is_some()
    }

    /// Returns the recovery key and what was left to tell, once the machine is as new and the next start an ordinary one.
    pub fn is_new(&self) -> Option<(String, ResetDone)> {
        let it = self.lock();
        let state = &it.state;
        let is_whole = it.order.is_none() && !state.is_old && state.key.is_some() && state.opens_by_tpm;
        state.recovery.clone().zip(state.has_files.clone()).filter(|_| is_whole)
    }

    /// Returns what is on a disk for data.
    pub fn on(&self, serial: &str) -> Option<String> {
        self.lock().disks.iter().find(|it| it.0 == serial).map(|it| it.1.clone())
    }

    /// Returns what the screens showed.
    pub fn shown(&self) -> Vec<String> {
        self.lock().shown.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resets for FakeRenewal {
    async fn order(&self) -> Result<Option<ResetOrder>, HostError> {
        Ok(self.lock().order.clone())
    }

    async fn state(&self) -> Result<String, HostError> {
        Ok(self.lock().id.clone())
    }

    async fn progress(&self) -> Result<ResetProgress, HostError> {
        Ok(self.lock().progress.clone())
    }

    async fn note(&self, progress: &ResetProgress) -> Result<(), HostError> {
        self.lock().verb(|_| {}, |it| it.progress = progress.clone())
    }

    async fn ready(&self) -> Result<(), HostError> {
        if self.lock().is_mute { Err(HostError::new(Reason::Failed, "The TPM does not answer")) } else { Ok(()) }
    }

    async fn voucher(&self, order: &ResetOrder) -> Result<Voucher, HostError> {
        let it = self.lock();
        match &it.state {
            // What is new and was not bound yet tells nothing, and neither does what has no keys.
            state if state.key.is_none() || !state.opens_by_tpm && !state.is_old => Ok(Voucher::Nobody),
            state if !state.opens_by_tpm => Err(HostError::new(Reason::Failed, "The TPM does not open it")),
            state if state.vouches == Some(order.digest()) => Ok(Voucher::Machine),
            _ => Ok(Voucher::Stranger),
        }
    }

    async fn leave_word(&self, why: &str) -> Result<(), HostError> {
        self.lock().verb(|_| {}, |it| it.word = Some(why.to_owned()))
    }

    async fn erase(&self, disk: &Erase) -> Result<(), HostError> {
        let serial = disk.identity.serial.as_str();
        if self.on(serial).is_none() {
            return Err(HostError::new(Reason::Refused, "0 disks with its serial number are there"));
        }
        let put = |word: &'static str| {
            move |it: &mut Inner| {
                let of_it = it.disks.iter_mut().filter(|it| it.0 == serial);
                of_it.for_each(|it| word.clone_into(&mut it.1));
            }
        };
        self.lock().verb(put("half of the photos"), put(""))
    }

    async fn destroy(&self) -> Result<(), HostError> {
        self.lock().verb(|it| it.state.key = None, |it| it.state = State::default())
    }

    async fn make(&self, order: &ResetOrder, done: &ResetDone) -> Result<(), HostError> {
        let half = |it: &mut Inner| {
            it.keys += 1;
            it.state = State { key: Some(it.keys), ..State::default() };
        };
        let rest = |it: &mut Inner| {
            it.state.has_files = Some(done.clone());
            it.state.vouches = Some(order.digest());
        };
        self.lock().verb(half, rest)
    }

    async fn bind(&self) -> Result<(), HostError> {
        self.lock().verb(|_| {}, |it| it.state.opens_by_tpm = true)
    }

    async fn recovery(&self) -> Result<Zeroizing<String>, HostError> {
        self.lock().verb(|_| {}, |it| it.state.recovery = it.state.key.map(|key| format!("recovery-{key}")))?;
        Ok(self.lock().state.recovery.clone().unwrap_or_default().into())
    }

    async fn rename(&self) -> Result<(), HostError> {
        self.lock().verb(|_| {}, |it| it.id = format!("after {}", it.id))
    }

    async fn finish(&self) -> Result<(), HostError> {
        self.lock().verb(|_| {}, |it| it.order = None)
    }

    fn show(&self, text: &str) {
        self.lock().shown.push(text.to_owned());
    }
}

impl Powered for Inner {
    fn power(&mut self) -> &mut Power {
        &mut self.power
    }
}
