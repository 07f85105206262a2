//! Values that are readable on one machine only.
//!
//! This room alone knows how values are encrypted and what a value in plain looks like. It stands beside the others
//! because both ends need it: the command line encrypts, so that a value never crosses the API in plain, and the host
//! decrypts. Everything between the two, manifests, plans, status and journal, only ever sees armour, names and keyed
//! digests.

mod digest;
mod identity;
mod plain;
mod recovery;
mod seal;

pub use self::{
    digest::DigestKey,
    identity::{Identity, IdentityError},
    plain::Plain,
    recovery::RecoveryKey,
    seal::{OpenError, Recipient, SealError, seal},
};
