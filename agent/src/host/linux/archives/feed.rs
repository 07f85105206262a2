//! An image on its way from an archive to the engine, converted as it goes and never held as a whole.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use piccolo_schema::{Progress, quantity::Bytes as Size};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::archive::{ArchiveError, Found, for_engine, size_for_engine};

/// How much is handed over at a time, and how many of these may wait.
const CHUNK: usize = 256 << 10;
const WAITING: usize = 4;

/// Whether a file is still wanted. Reading goes on in a thread that nobody can end otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading(Arc<AtomicBool>);

/// Ends reading when it is dropped.
pub(super) struct Stop(Reading);

/// A file that can't be read any more once nobody wants it.
pub(super) struct Wanted {
    file: BufReader<File>,
    reading: Reading,
}

/// An image of an archive whose parts are what they say they are.
pub(super) struct Checked {
    file: Wanted,
    image: Found,
}

/// How far an image has come on its way.
#[derive(Clone)]
pub(super) struct Way {
    passed: Arc<AtomicU64>,
    total: u64,
    layers: u32,
}

impl Reading {
    pub(super) fn stop_on_drop(&self) -> Stop {
        Stop(self.clone())
    }

    pub(super) fn read(self, file: File) -> Wanted {
        Wanted { file: BufReader::with_capacity(CHUNK, file), reading: self }
    }

    fn check(&self) -> io::Result<()> {
        // Not `Interrupted`: that is tried again.
        if self.0.load(Ordering::Relaxed) { Err(io::Error::other("it is not wanted any more")) } else { Ok(()) }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Read for Wanted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reading.check()?;
        self.file.read(into)
    }
}

impl Seek for Wanted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Checked {
    pub(super) const fn new(file: Wanted, image: Found) -> Self {
        Self { file, image }
    }

    /// Returns the digest of the manifest, if the archive has one.
    pub(super) fn digest(&self) -> Option<String> {
        self.image.digest().map(str::to_owned)
    }

    /// Returns the identifier that an engine gives it.
    pub(super) fn id(&self) -> Option<String> {
        self.image.id().map(str::to_owned)
    }

    /// Returns how far it will have come.
    pub(super) fn way(&self) -> Way {
        let layers = u32::try_from(self.image.layers.len()).unwrap_or(u32::MAX);
        Way { passed: Arc::default(), total: size_for_engine(&self.image), layers }
    }

    /// Begins to hand it over. It ends early when nobody takes it any more.
    pub(super) fn feed(mut self, way: &Way) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Poured) {
        pour(way.passed.clone(), move |out| for_engine(&self.image, &mut self.file, out))
    }
}

/// What becomes of bytes that are poured.
pub(super) type Poured = JoinHandle<Result<(), ArchiveError>>;
/// Where they are poured.
pub(super) type Spout = BufWriter<Outlet>;

/// Begins to write in a thread what others read, and counts what has passed. It ends early when nobody reads any more.
pub(super) fn pour(
    passed: Arc<AtomicU64>,
    write: impl FnOnce(&mut Spout) -> Result<(), ArchiveError> + Send + 'static,
) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Poured) {
    let (to, from) = mpsc::channel(WAITING);
    let work = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(CHUNK, Outlet { to: to.clone(), passed });
        let done = write(&mut out);
        // Without this a half image would look like a whole one.
        if done.is_err() {
            let _ = to.blocking_send(Err(io::Error::other("the archive can't be read")));
        }
        done
    });
    (stream::unfold(from, async |mut from| from.recv().await.map(|part| (part, from))), work)
}

impl Way {
    /// Says how far it has come.
    pub(super) fn progress(&self) -> Progress {
        let done = self.passed.load(Ordering::Relaxed).min(self.total);
        let percent = u8::try_from(done.saturating_mul(100) / self.total.max(1)).unwrap_or(100);
        let total = Some(Size::new(self.total));
        Progress { percent, done: Size::new(done), total, layers: self.layers, ..Progress::default() }
    }
}

/// Where a thread puts what others take.
pub(super) struct Outlet {
    to: mpsc::Sender<io::Result<Bytes>>,
    passed: Arc<AtomicU64>,
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = Bytes::copy_from_slice(bytes);
        self.to.blocking_send(Ok(part)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.passed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
