//! The log of the firmware, the boot loader and the beginning of the kernel, in the form that the TCG calls crypto agile.

use super::{Sum, little::Little};

/// The largest log. That of a machine is some ten or hundred thousand bytes.
pub(crate) const LARGEST: usize = 1 << 20;
/// The most things that are measured.
const MOST: usize = 8192;
/// The most digests of each.
const MOST_DIGESTS: u64 = 16;
/// How the first record says in which form the others are.
const SIGNATURE: &[u8] = b"Spec ID Event03\0";
/// How one says from which value the first register began.
const LOCALITY: &[u8] = b"StartupLocality\0";
const SHA1: u64 = 20;
const SHA256: u64 = 0x000b;
/// Registers that a log speaks of.
const REGISTERS: u64 = 24;
/// A record that says something and measures nothing.
pub(super) const NO_ACTION: u32 = 3;

/// Why bytes are no such log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLog {
    /// It is larger than any.
    #[error("the log is larger than any that is looked at")]
    Large,
    /// It is in another form, or empty.
    #[error("the log is in a form that can't be read (the old one of TPM 1.2, or none)")]
    Form,
    /// The bank is not there.
    #[error("the log has no digests of the bank sha256; turn that bank on in the firmware")]
    Bank,
    /// A record is damaged.
    #[error("the log is damaged: record {0} is cut short, or says what can't be")]
    Record(usize),
}

/// One thing that was measured, as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) pcr: u8,
    pub(super) kind: u32,
    pub(super) digest: Sum,
    pub(super) data: &'a [u8],
}

/// Reads a log.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Record<'_>>, NotLog> {
    if bytes.len() > LARGEST {
        return Err(NotLog::Large);
    }
    let mut left = Little(bytes);
    let sizes = head(&mut left).ok_or(NotLog::Form)?;
    if !sizes.contains(&(SHA256, 32)) {
        return Err(NotLog::Bank);
    }
    let mut all = Vec::new();
    // Some firmware fills its log up.
    while !left.0.iter().all(|byte| *byte == 0) && !left.0.iter().all(|byte| *byte == 0xff) {
        let number = all.len() + 1;
        let record = record(&mut left, &sizes).filter(|_| number <= MOST);
        all.push(record.ok_or(NotLog::Record(number))?);
    }
    Ok(all)
}

/// Returns from which value the first register began, if this record says so.
pub(super) fn begins(record: &Record<'_>) -> Option<Sum> {
    let locality = record.data.strip_prefix(LOCALITY).filter(|_| record.kind == NO_ACTION && record.pcr == 0)?;
    let mut value = [0; 32];
    value[31] = *locality.first()?;
    Some(value)
}

/// Reads the first record, and returns the size of each digest by the number of its algorithm.
fn head(left: &mut Little<'_>) -> Option<Vec<(u64, u64)>> {
    let (_pcr, kind, _digest) = (left.number::<4>()?, left.number::<4>()?, left.bytes(SHA1)?);
    let length = left.number::<4>()?;
    let mut said = Little(left.bytes(length)?.strip_prefix(SIGNATURE)?);
    let (_class, _version, _size) = (said.number::<4>()?, said.number::<3>()?, said.number::<1>()?);
    let many = said.number::<4>()?;
    if kind != u64::from(NO_ACTION) || many > MOST_DIGESTS {
        return None;
    }
    (0..many).map(|_| Some((said.number::<2>()?, said.number::<2>()?))).collect()
}

fn record<'a>(left: &mut Little<'a>, sizes: &[(u64, u64)]) -> Option<Record<'a>> {
    let (pcr, kind) = (left.number::<4>().filter(|it| *it < REGISTERS)?, left.number::<4>()?);
    let many = left.number::<4>().filter(|it| *it <= MOST_DIGESTS)?;
    let mut digest = None;
    for _ in 0..many {
        let algorithm = left.number::<2>()?;
        let (_, size) = sizes.iter().find(|it| it.0 == algorithm)?;
        let bytes = left.bytes(*size)?;
        if algorithm == SHA256 {
            digest = bytes.try_into().ok();
        }
    }
    let length = left.number::<4>()?;
    let data = left.bytes(length)?;
    Some(Record { pcr: u8::try_from(pcr).ok()?, kind: u32::try_from(kind).ok()?, digest: digest?, data })
}
