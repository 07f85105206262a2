use serde::{Deserialize, Serialize};

/// A verb that did not do what it says.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
#[error("{message}")]
pub struct HostError {
    /// The cause in PascalCase, which becomes the reason of the condition.
    pub reason: Reason,
    /// One sentence that says what happened and what to do. Holds no secret.
    pub message: String,
}

/// Why a verb failed, as far as people and programs act on it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The engine can't be reached.
    EngineUnavailable,
    /// The registry has no such image, or there is no way to it.
    ImageMissing,
    /// Another program holds the port.
    PortTaken,
    /// No space is left.
    DiskFull,
    /// The daemon, or the engine, may not do this.
    PermissionDenied,
    /// The directory or file to be mounted does not exist.
    MountSourceMissing,
    /// Something that is not ours has the name.
    NameTaken,
    /// A value of a secret can't be decrypted here.
    Undecryptable,
    /// It is gone since it was seen; the next look will tell.
    Gone,
    /// It is in use.
    InUse,
    /// The builder did not come to its end.
    BuildFailed,
    /// A registry did not take an image.
    PushFailed,
    /// What an image is built from can't be read.
    SourceUnavailable,
    /// The engine refused what the manifest asks.
    Refused,
    /// It took too long.
    TimedOut,
    /// Anything else.
    Failed,
}

impl HostError {
    /// Returns an error of this cause.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Reason {
    /// Returns the word in PascalCase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EngineUnavailable => "EngineUnavailable",
            Self::ImageMissing => "ImageMissing",
            Self::PortTaken => "PortTaken",
            Self::DiskFull => "DiskFull",
            Self::PermissionDenied => "PermissionDenied",
            Self::MountSourceMissing => "MountSourceMissing",
            Self::NameTaken => "NameTaken",
            Self::Undecryptable => "Undecryptable",
            Self::Gone => "Gone",
            Self::InUse => "InUse",
            Self::BuildFailed => "BuildFailed",
            Self::PushFailed => "PushFailed",
            Self::SourceUnavailable => "SourceUnavailable",
            Self::Refused => "Refused",
            Self::TimedOut => "TimedOut",
            Self::Failed => "Failed",
        }
    }
}
