//! Whether two devices hold the same.

use std::{
    fs::File,
    io::{self, Read},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::host::{HostError, Reason};

/// How much is compared at a time.
const CHUNK: usize = 1 << 20;

/// What is compared: so many bytes from the beginnings of two devices.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) size: u64,
}

/// Compares pieces, and counts the bytes that are done.
pub(super) fn compare(pieces: &[Piece], done: &AtomicU64) -> Result<(), HostError> {
    let (mut one, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
    for piece in pieces {
        let trouble = |path: &str, error: &io::Error| {
            HostError::new(Reason::Failed, format!("`{path}` can't be read ({error}); look at its cable"))
        };
        let mut from = File::open(&piece.from).map_err(|error| trouble(&piece.from, &error))?;
        let mut to = File::open(&piece.to).map_err(|error| trouble(&piece.to, &error))?;
        let mut at = 0;
        while at < piece.size {
            let length = usize::try_from(piece.size - at).unwrap_or(CHUNK).min(CHUNK);
            from.read_exact(&mut one[..length]).map_err(|error| trouble(&piece.from, &error))?;
            to.read_exact(&mut other[..length]).map_err(|error| trouble(&piece.to, &error))?;
            if one[..length] != other[..length] {
                let message = format!("`{}` does not read back as it was written, from byte {at} on", piece.to);
                return Err(HostError::new(Reason::Failed, message));
            }
            at += length as u64;
            done.fetch_add(length as u64, Ordering::Relaxed);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes files as it likes")]
    fn one_byte_that_differs_is_found_and_no_byte_behind_the_end_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut bytes = vec![7; CHUNK * 2 + 5];
        fs::write(path("from"), &bytes).unwrap();
        bytes.push(9);
        fs::write(path("to"), &bytes).unwrap();
        let piece = || Piece { from: path("from"), to: path("to"), size: CHUNK as u64 * 2 + 5 };
        let done = AtomicU64::new(0);
        assert_eq!(compare(&[piece()], &done), Ok(()));
        assert_eq!(done.into_inner(), piece().size);
        bytes[CHUNK * 2] = 8;
        fs::write(path("to"), &bytes).unwrap();
        let error = compare(&[piece()], &AtomicU64::new(0)).unwrap_err();
        assert!(error.message.contains(&format!("from byte {} on", CHUNK * 2)), "{error}");
        fs::write(path("to"), "short").unwrap();
        assert!(compare(&[piece()], &AtomicU64::new(0)).unwrap_err().message.contains("can't be read"));
    }
}
