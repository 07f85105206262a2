//! One file: bytes, then text, then manifest.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use piccolo_schema::{Manifest, parse};
use sha2::{Digest, Sha256};

use super::{
    snapshot::{Problem, reason},
    walk::{Found, Stamp},
};

/// The most bytes in a file.
pub(super) const MAX_SIZE: u64 = 1024 * 1024;

/// How long a file must have been left alone before it is read: who writes in place has then most likely finished.
const QUIET: Duration = Duration::from_millis(25);
/// How long one look waits in all for files that are being written.
const PATIENCE: Duration = Duration::from_millis(250);

/// How much longer one look waits for files that are being written. What is still written then is read as it is, and
/// again when its writer is done.
pub(super) struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(PATIENCE)
    }
}

impl Patience {
    /// Waits, as far as patience goes, until the file has been left alone for a moment. Returns how it stands then.
    /// Blocks.
    pub(super) fn wait(&mut self, found: &Found) -> Stamp {
        let mut stamp = found.stamp;
        while let Some(rest) = QUIET.checked_sub(stamp.age()).filter(|rest| !rest.is_zero() && *rest <= self.0) {
            thread::sleep(rest);
            self.0 -= rest;
            match fs::metadata(&found.real) {
                Ok(metadata) => stamp = Stamp::of(&metadata),
                Err(_) => break,
            }
        }
        stamp
    }
}

/// A file that was understood.
#[derive(Clone, Debug)]
pub(super) struct Good {
    pub(super) manifest: Arc<Manifest>,
    pub(super) text: Arc<str>,
    pub(super) etag: String,
}

/// Reads a file and understands it.
pub(super) fn read(found: &Found) -> Result<Good, Problem> {
    if found.stamp.size > MAX_SIZE {
        let message = format!("the file has {} bytes; a manifest has {MAX_SIZE} at most", found.stamp.size);
        return Err(Problem::new(&found.path, reason::TOO_LARGE, message));
    }
    let bytes = bytes(found).map_err(|error| {
        Problem::new(&found.path, reason::MANIFEST_UNREADABLE, format!("the file can't be read: {error}"))
    })?;
    understand(&found.path, bytes)
}

/// Returns the fingerprint of these bytes.
pub fn etag(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(found: &Found) -> io::Result<Vec<u8>> {
    let file = File::open(&found.real)?;
    let now = Stamp::of(&file.metadata()?);
    if now.place() != found.stamp.place() {
        return Err(io::Error::other("it was replaced while it was read"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn understand(path: &Path, bytes: Vec<u8>) -> Result<Good, Problem> {
    let etag = etag(&bytes);
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::new(path, reason::NOT_UTF8, format!("byte {} is not UTF-8; save the file as UTF-8", at + 1))
    })?;
    match parse::parse(&text) {
        Ok(manifest) => Ok(Good { manifest: Arc::new(manifest), text: text.into(), etag }),
        Err(rejected) => {
            let mistakes = rejected.diagnostics.len();
            let first = rejected.diagnostics.first();
            let first = first.map_or(String::new(), |it| format!(", the first in line {}: {}", it.line, it.reason));
            let message = format!("the file has {mistakes} mistake(s){first}");
            let mut problem = Problem::new(path, reason::MANIFEST_INVALID, message);
            problem.kind = rejected.kind;
            problem.name = rejected.name;
            problem.diagnostics = rejected.diagnostics;
            Err(problem)
        }
    }
}
