//! How a record looks on disk: version, checksum, JSON.

use piccolo_schema::Kind;

use super::mirror::Key;

/// The version of the format. A store of any other is set aside.
const VERSION: u8 = 1;
/// Version byte and checksum.
const PREFIX: usize = 5;

/// The key of the header record.
pub(super) const HEADER: &[u8] = b"h";
/// The first byte of an event's key.
pub(super) const EVENT: u8 = b'e';
/// The first byte of an object's key.
pub(super) const OBJECT: u8 = b'o';

/// A record that is not as it was written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a record is damaged, or of another version")]
pub(super) struct BadRecord;

/// Returns the record and its checksum. The checksum covers the key, so that a record under another's key is found.
pub(super) fn encode(key: &[u8], payload: &[u8]) -> (Vec<u8>, u32) {
    let sum = checksum(key, payload);
    let mut record = Vec::with_capacity(PREFIX + payload.len());
    record.push(VERSION);
    record.extend_from_slice(&sum.to_be_bytes());
    record.extend_from_slice(payload);
    (record, sum)
}

/// Returns the payload and its checksum.
pub(super) fn decode<'a>(key: &[u8], record: &'a [u8]) -> Result<(&'a [u8], u32), BadRecord> {
    let (prefix, payload) = record.split_first_chunk::<PREFIX>().ok_or(BadRecord)?;
    let [version, sum @ ..] = *prefix;
    let sum = u32::from_be_bytes(sum);
    if version == VERSION && sum == checksum(key, payload) { Ok((payload, sum)) } else { Err(BadRecord) }
}

pub(super) fn event_key(id: u64) -> [u8; 9] {
    let mut key = [EVENT; 9];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

pub(super) fn event_id(key: &[u8]) -> Result<u64, BadRecord> {
    let digits = key.get(1..).and_then(|id| id.try_into().ok()).ok_or(BadRecord)?;
    Ok(u64::from_be_bytes(digits))
}

pub(super) fn object_key((kind, name): &Key) -> Vec<u8> {
    format!("o{kind}/{name}").into_bytes()
}

pub(super) fn object_id(key: &[u8]) -> Result<Key, BadRecord> {
    let text = key.get(1..).and_then(|text| std::str::from_utf8(text).ok()).ok_or(BadRecord)?;
    let (kind, name) = text.split_once('/').ok_or(BadRecord)?;
    Ok((kind.parse::<Kind>().map_err(|_| BadRecord)?, name.to_owned()))
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[VERSION]);
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}
