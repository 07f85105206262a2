//! What this machine's keys rest on, and how others can tell what it started.
//!
//! A machine with a TPM can keep its keys so that they open on it alone, and can prove to others what it measured as it
//! started. The chip itself is behind a trait of the host.

mod boot;
mod disks;
mod error;
mod keeper;
mod lock;
mod makers;
mod plan;
mod quote;
mod standing;
mod state;
mod words;

pub use self::makers::Vouched;
pub use self::{
    boot::{Cause, Change, Event, Grub, Image, Kept, Next, NextFile, NotLog, NotNext, Part, Story, Verdict, Why},
    disks::{DiskKey, DiskRebinding, DiskRecovery, DiskWish},
    error::TrustError,
    keeper::{Keeper, Rebinding, Wish},
    quote::{Doubt, Proof, verify},
    standing::{Form, KeyFile, KeyStanding, Level, Standing},
    state::{StateNote, StateStanding},
};
pub use crate::host::{
    Meant, Measured, Moved, Pcrs, Quote, Rebound, Undone, Versions,
    tpm::{LARGEST_NONCE, TpmSeen},
};
