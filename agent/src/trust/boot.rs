//! What a machine measured as it started: the logs that tell it, and what changed between two starts.
//!
//! A register holds one number, which says that something changed and not what. The firmware and the system write down each
//! thing that they measure; a log is worth something where its digests, one after the other, come to what the TPM holds.

mod change;
mod firmware;
mod grub;
mod image;
mod kept;
mod little;
mod next;
mod part;
mod story;
mod system;
mod why;

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

pub use self::{
    change::Change,
    firmware::NotLog,
    grub::Grub,
    image::Image,
    kept::Kept,
    next::{Next, NextFile, NotNext},
    part::Part,
    story::{Event, Story},
    why::{Cause, Verdict, Why},
};

/// The register of the kernel's own measurements, which tells nothing of a start.
const RUNTIME: u8 = 10;

/// A digest in the bank `sha256`.
pub(super) type Sum = [u8; 32];

/// What registers hold, or would hold.
pub(super) type Values = BTreeMap<u8, Sum>;

/// Measures one more thing into a register.
fn extend(values: &mut Values, pcr: u8, digest: &Sum) {
    let value = values.entry(pcr).or_default();
    *value = Sha256::new().chain_update(*value).chain_update(digest).finalize().into();
}

/// Reads what a register holds from hexadecimal.
fn sum(text: &str) -> Option<Sum> {
    HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
