//! What is on a disk: signatures as `wipefs` lists them, what its ends are like, and our marks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use serde::{Deserialize, Serialize};

use super::{
    LOOK, blocking, encrypt, halves, parted,
    parted::Parted,
    program,
    tree::{self, Node},
};
use crate::host::{Ends, Half, HostError, LUKS, LuksSeen, Marker, Reason, STATE, Signature};

/// How much of each end is looked at.
const END: u64 = 16 << 20;
/// How much of the beginning is weighed for chance.
const SAMPLE: usize = 64 << 10;
/// How a mark begins.
const MARK: &[u8] = b"piccolo-making:";
/// The size of a mark.
pub(super) const BLOCK: usize = 4096;
/// The length of what a mark says.
const WORD: usize = 32;

/// What is on a disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Content {
    pub(super) signatures: Vec<Signature>,
    pub(super) partitions: BTreeMap<String, Vec<Signature>>,
    pub(super) ends: Ends,
    pub(super) marker: Option<Marker>,
    /// What of it is encrypted, as its headers say.
    pub(super) luks: Vec<LuksSeen>,
    pub(super) half: Option<Half>,
    /// Its table of partitions.
    pub(super) table: Option<Parted>,
    /// What its partitions are joined with.
    pub(super) fellows: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    signatures: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    offset: String,
    #[serde(rename = "type")]
    kind: String,
    uuid: Option<String>,
    label: Option<String>,
}

/// Looks at a disk. The ends of one in use are left alone.
pub(super) async fn look(name: &str, partitions: &[&Node], size: u64, in_use: bool) -> Result<Content, HostError> {
    let fellows = tree::fellows(partitions);
    let mut content = Content { signatures: signatures(name).await?, fellows, ..Content::default() };
    // One of which it can't be told whether it is a half is not taken for one that stands for itself.
    content.half = halves::half_of(name, &content.signatures).await?;
    if content.signatures.iter().any(|it| it.kind == "gpt") {
        content.table = parted::read(name).await;
    }
    for part in partitions {
        content.partitions.insert(part.name.clone(), signatures(&part.name).await?);
    }
    let mut joined = BTreeMap::new();
    for part in partitions.iter().filter(|it| content.is_state(&it.name)) {
        // The header of a state that lies on two disks is in what the two are together.
        for device in part.joined() {
            joined.insert(device.clone(), signatures(&device).await?);
        }
    }
    let of_disk = (name.to_owned(), content.signatures.clone());
    for (device, signatures) in std::iter::once(of_disk).chain(content.partitions.clone()).chain(joined) {
        let header = signatures.iter().find(|it| it.kind == LUKS).and_then(|it| it.uuid.clone());
        if let Some(uuid) = header {
            content.luks.extend(encrypt::look(&device, &uuid).await);
        }
    }
    if !in_use {
        let path = format!("/dev/{name}");
        let ends = blocking(move || read_ends(&path, size).map_err(|error| unreadable(&path, &error)));
        (content.ends, content.marker) = tokio::time::timeout(LOOK, ends)
            .await
            .unwrap_or_else(|_| Err(HostError::new(Reason::TimedOut, format!("/dev/{name} does not answer"))))?;
    }
    Ok(content)
}

impl Content {
    /// Returns true if this partition bears the name of a state of ours.
    fn is_state(&self, device: &str) -> bool {
        self.table.as_ref().and_then(|it| it.parts.get(device)).is_some_and(|it| it.name == STATE)
    }
}

/// Lists the signatures on a device.
pub(super) async fn signatures(name: &str) -> Result<Vec<Signature>, HostError> {
    let text = program::run("wipefs", ["--json", "--no-act", &format!("/dev/{name}")], LOOK).await?;
    parse(&text).map_err(|why| HostError::new(Reason::Failed, why))
}

fn parse(text: &str) -> Result<Vec<Signature>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |what: &str| format!("`wipefs` can't be understood ({what})");
    let listed: Listed = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let one = |it: Found| {
        let digits = it.offset.strip_prefix("0x").ok_or_else(|| wrong("an offset"))?;
        let offset = u64::from_str_radix(digits, 16).map_err(|_| wrong("an offset"))?;
        let told = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Signature { offset, kind: it.kind, uuid: told(it.uuid), label: told(it.label) })
    };
    let mut all = listed.signatures.into_iter().map(one).collect::<Result<Vec<_>, String>>()?;
    all.sort();
    Ok(all)
}

fn read_ends(path: &str, size: u64) -> std::io::Result<(Ends, Option<Marker>)> {
    let mut device = File::open(path)?;
    let mut head = vec![0; usize::try_from(END.min(size)).unwrap_or_default()];
    device.read_exact(&mut head)?;
    let mut tail = vec![0; head.len()];
    device.seek(SeekFrom::Start(size.saturating_sub(END)))?;
    device.read_exact(&mut tail)?;
    let first = read_mark(&head).map(|nonce| Marker { nonce, first: true });
    let mut marker = first;
    for at in later_marks(size) {
        if marker.is_some() {
            break;
        }
        let mut block = vec![0; BLOCK];
        device.seek(SeekFrom::Start(at))?;
        device.read_exact(&mut block)?;
        marker = read_mark(&block).map(|nonce| Marker { nonce, first: false });
    }
    let blank = is_zero(&head) && is_zero(&tail);
    let ends = if blank {
        Ends::Zero
    } else if looks_random(head.get(..SAMPLE).unwrap_or(&head)) {
        Ends::Random
    } else {
        Ends::Data
    };
    Ok((ends, marker))
}

/// Returns whether there is nothing but zeros. What begins with one and is the same one byte further on is all zeros: two slices are
/// compared many bytes at a time, also in a build that is not optimised, and an end of a disk has millions.
fn is_zero(bytes: &[u8]) -> bool {
    match (bytes.split_first(), bytes.split_last()) {
        (Some((first, behind)), Some((_, before))) => *first == 0 && behind == before,
        _ => true,
    }
}

/// Returns where marks lie beside the first: far from what a new file system writes at once.
pub(super) fn later_marks(size: u64) -> Vec<u64> {
    let third = size / 3 / BLOCK as u64 * BLOCK as u64;
    if third <= END { Vec::new() } else { vec![third, third * 2] }
}

/// Writes our mark at a place.
pub(super) fn write_mark(device: &mut File, at: u64, nonce: &str) -> std::io::Result<()> {
    let mut block = [MARK, nonce.as_bytes()].concat();
    block.resize(BLOCK, 0);
    device.seek(SeekFrom::Start(at))?;
    device.write_all(&block)
}

/// Puts zeros in the place of our mark, if it is still there. What lies right behind it may be the new file system's.
pub(super) fn clear_mark(device: &mut File, at: u64) -> std::io::Result<()> {
    let mut mark = [0; MARK.len() + WORD];
    device.seek(SeekFrom::Start(at))?;
    device.read_exact(&mut mark)?;
    if read_mark(&mark).is_none() {
        return Ok(());
    }
    device.seek(SeekFrom::Start(at))?;
    device.write_all(&[0; MARK.len() + WORD])
}

fn read_mark(block: &[u8]) -> Option<String> {
    let word = block.strip_prefix(MARK)?.get(..WORD)?;
    let word = std::str::from_utf8(word).ok()?;
    word.bytes().all(|it| it.is_ascii_hexdigit()).then(|| word.to_owned())
}

/// Weighs how evenly bytes are spread, as those of encrypted data are.
fn looks_random(bytes: &[u8]) -> bool {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let whole = bytes.len() as f64;
    let share = |count: &u32| f64::from(*count) / whole;
    let bits: f64 = counts.iter().filter(|it| **it > 0).map(|it| -share(it) * share(it).log2()).sum();
    bytes.len() >= SAMPLE && bits > 7.95
}

fn unreadable(path: &str, error: &std::io::Error) -> HostError {
    HostError::new(Reason::Failed, format!("`{path}` can't be read ({error}); look at its cable"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = r#"{"signatures": [
        {"device":"sda","offset":"0x438","type":"ext4","uuid":"d807e2ee","label":"photos"},
        {"device":"sda","offset":"0x200","type":"gpt","uuid":null,"label":null}]}"#;

    #[test]
    fn signatures_are_read_by_offset() {
        let found = parse(TEXT).unwrap();
        assert_eq!(found[0], Signature { offset: 512, kind: "gpt".into(), uuid: None, label: None });
        assert_eq!((found[1].offset, found[1].label.as_deref()), (1080, Some("photos")));
        assert_eq!(parse(" \n"), Ok(Vec::new()));
    }

    #[test]
    fn one_byte_anywhere_is_not_nothing() {
        assert!(is_zero(&[]) && is_zero(&[0]) && is_zero(&[0; 100]) && !is_zero(&[1]) && !is_zero(&[7; 100]));
        for at in 0..100 {
            let mut bytes = [0; 100];
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
        }
    }

    #[test]
    fn chance_is_told_from_text() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        let random: Vec<u8> = (0..SAMPLE).map(|_| next()).collect();
        assert!(looks_random(&random) && !looks_random(&vec![b'a'; SAMPLE]) && !looks_random(&random[..100]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..TEXT.len(), what in "\\PC{0,8}", block in proptest::collection::vec(any::<u8>(), 0..100)) {
            drop(parse(&format!("{}{what}{}", &TEXT[..at], &TEXT[at..])));
            drop(read_mark(&[MARK, &block].concat()));
        }
    }
}
