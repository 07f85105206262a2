use std::{io, path::PathBuf};

use super::{NotLog, NotNext, Pcrs};
use crate::{host::HostError, secrets::SealError};

/// Why keys were not sealed, unsealed or opened. Says nothing of what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The chip did not do it.
    #[error("{0}")]
    Chip(#[from] HostError),
    /// A file can't be read.
    #[error("can't read {path} ({cause})", path = .0.display(), cause = .1)]
    Read(PathBuf, io::Error),
    /// A file can't be written.
    #[error("can't write {path} ({cause})", path = .0.display(), cause = .1)]
    Write(PathBuf, io::Error),
    /// A file holds something else.
    #[error("{} is damaged; put the right file back, or open the sealed keys with the recovery key", .0.display())]
    Damaged(PathBuf),
    /// What was sealed came back as something else.
    #[error("the TPM gave something else back than it was given; nothing was changed")]
    Unproved,
    /// There is no lock for what is sealed.
    #[error("{} is not there, without which no sealed key opens; put it back, or use the recovery key", .0.display())]
    NoLock(PathBuf),
    /// Both forms are there, and they differ.
    #[error(
        "{} and {} are different keys; the first is the one that is used: move the other one away, then try again",
        .0.display(),
        .1.display()
    )]
    Different(PathBuf, PathBuf),
    /// Nobody could open the keys once the chip can't.
    #[error("name a recovery key: a TPM that is cleared or replaced opens nothing any more")]
    NoRecovery,
    /// The bytes can't be encrypted.
    #[error("{0}")]
    Seal(#[from] SealError),
    /// Nothing is sealed that could be bound anew.
    #[error("the keys of this machine lie in files, so nothing is bound to a start: see `piccolo trust seal`")]
    NotBound,
    /// The key does not open what is sealed.
    #[error("this recovery key opens no key of this machine; it is the one that `piccolo trust seal` showed")]
    NotRecovery,
    /// Nobody can tell what the next start will measure.
    #[error("what the next start measures into registers {0} can't be worked out before; bind the keys to others")]
    Unforeseen(Pcrs),
    /// What starts next can't be told.
    #[error("{0}")]
    Next(#[from] NotNext),
    /// The log of this start can't be used.
    #[error("{0}")]
    Log(#[from] NotLog),
    /// The log of this start says something else than the chip.
    #[error(
        "the log of this start does not add up to what the TPM holds (registers {0}), so no other start follows from it"
    )]
    Untrue(Pcrs),
    /// There is no key yet.
    #[error("there is no key of this machine yet")]
    NoKeys,
}
