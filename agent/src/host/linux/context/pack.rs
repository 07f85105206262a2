//! What an image is built from as the engine is given it: a tar, in small pieces. Blocks.

use std::{
    io::{self, Read, Write},
    path::Path,
};

use bytes::Bytes;
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc::Sender;

/// How large a piece is.
const PIECE: usize = 64 << 10;

/// What is said of a file beside its name.
#[derive(Debug)]
pub(in crate::host::linux) struct Rights {
    /// The permissions.
    pub(in crate::host::linux) mode: u32,
    /// When it was changed, in seconds.
    pub(in crate::host::linux) modified: u64,
}

/// Writes a tar into a queue.
pub(in crate::host::linux) struct Packer(Builder<Pieces>);

/// Cuts what is written into pieces, and waits while nobody takes them.
struct Pieces {
    queue: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Packer {
    /// Begins a tar.
    pub(in crate::host::linux) fn new(queue: Sender<io::Result<Bytes>>) -> Self {
        Self(Builder::new(Pieces { queue, piece: Vec::with_capacity(PIECE) }))
    }

    /// Adds a directory.
    pub(in crate::host::linux) fn directory(&mut self, path: &Path, rights: &Rights) -> io::Result<()> {
        self.0.append_data(&mut header(EntryType::Directory, rights, 0), path, io::empty())
    }

    /// Adds a file of exactly this size.
    pub(in crate::host::linux) fn file(
        &mut self,
        path: &Path,
        rights: &Rights,
        size: u64,
        content: impl Read,
    ) -> io::Result<()> {
        let mut exact = Exact { content, left: size };
        match self.0.append_data(&mut header(EntryType::Regular, rights, size), path, &mut exact) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(changed(path)),
            done => done,
        }
    }

    /// Adds a symbolic link.
    pub(in crate::host::linux) fn link(&mut self, path: &Path, rights: &Rights, to: &Path) -> io::Result<()> {
        self.0.append_link(&mut header(EntryType::Symlink, rights, 0), path, to)
    }

    /// Ends the tar.
    pub(in crate::host::linux) fn finish(self) -> io::Result<()> {
        self.0.into_inner()?.flush()
    }
}

/// Says that a file is not what it was a moment ago.
pub(in crate::host::linux) fn changed(path: &Path) -> io::Error {
    io::Error::other(format!("`{}` was changed while it was read; it is tried again", path.display()))
}

/// A reader of so many bytes, neither more nor less: the tar has promised them.
struct Exact<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let length = self.content.read(&mut buffer[..most])?;
        if length == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length as u64;
        Ok(length)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.queue.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Everything belongs to root in an image, as engines' own programs have it.
fn header(kind: EntryType, rights: &Rights, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(rights.mode);
    header.set_mtime(rights.modified);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}
