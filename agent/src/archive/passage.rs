//! Archives that come and go while they are read.

use std::io;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// An archive on its way out.
pub struct Outgoing {
    /// How many bytes it will have.
    pub size: u64,
    /// The digest of the manifest in it.
    pub digest: String,
    /// The bytes.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// An image that came in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrived {
    /// What it is called here.
    pub name: String,
    /// The engine's identifier.
    pub image_id: String,
    /// The digest of its manifest, if the archive has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}
