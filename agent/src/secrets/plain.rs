use std::{
    fmt,
    io::{self, Read},
};

use zeroize::Zeroizing;

/// The most bytes of one value.
pub(crate) const LARGEST: usize = 256 << 10;

/// A value in plain. It can't be printed, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain(Zeroizing<Vec<u8>>);

impl Plain {
    /// Takes a value over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a value to its end. `about` is the size to expect; a larger value is read whole all the same.
    ///
    /// # Errors
    /// When it can't be read, or is too large to be a secret.
    pub fn read(reader: impl Read, about: usize) -> io::Result<Self> {
        // A vector that grows leaves copies of what it held behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(about.min(LARGEST) + 1));
        let read = reader.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
        if read > LARGEST {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a secret has at most 256 KiB"));
        }
        Ok(Self(bytes))
    }

    /// Returns the value itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(…)")
    }
}
