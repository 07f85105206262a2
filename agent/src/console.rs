//! What a person wants of a running container. Pure; the API and the machine both speak of it.

pub mod channel;
mod line;
mod program;

use jiff::Timestamp;
use serde::Serialize;

pub use self::{
    line::dated,
    program::{Input, Output, Program},
};

/// Which part of what a container wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// Goes on with what it writes from now on.
    pub follow: bool,
    /// The number of last lines to begin with, all when none.
    pub tail: Option<u32>,
    /// Nothing older, to the second.
    pub since: Option<Timestamp>,
    /// Nothing newer, to the second.
    pub until: Option<Timestamp>,
    /// Puts its time before each line. What the engine gives is one line, or a part of a long one, at a time.
    pub timestamps: bool,
}

/// What a container has used since it started, and what it holds now. Who asks twice sees how fast it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// When it was counted.
    pub at: Timestamp,
    /// Nanoseconds of processors, of all cores together.
    pub processor_nanoseconds: u64,
    /// Bytes of memory that it holds, without what the kernel gives back at will.
    pub memory_bytes: u64,
    /// The most bytes of memory that it may hold; those of the machine when it has no limit.
    pub memory_limit_bytes: u64,
    /// Bytes that came in over its networks.
    pub received_bytes: u64,
    /// Bytes that went out over its networks.
    pub sent_bytes: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub written_bytes: u64,
    /// Processes and threads.
    pub tasks: u64,
}
