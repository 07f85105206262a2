use std::io;

/// Why an archive can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It can't be read, or what is made of it can't be written.
    #[error("it can't be read or passed on ({0})")]
    Io(#[from] io::Error),
    /// It ends before it is complete.
    #[error("it ends too early; is it still being copied?")]
    Short,
    /// It is no tar, or nothing of an image is in it.
    #[error("it is no archive of an image: {0}")]
    Foreign(String),
    /// Something in it is not what an archive of an image has.
    #[error("it is refused: {0}")]
    Hostile(String),
    /// It has not what is asked for.
    #[error("{0}")]
    Missing(String),
}

impl ArchiveError {
    /// Returns true if whoever took what was made of it takes no more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(super) fn foreign(why: impl Into<String>) -> Self {
        Self::Foreign(why.into())
    }

    pub(super) fn hostile(why: impl Into<String>) -> Self {
        Self::Hostile(why.into())
    }
}
