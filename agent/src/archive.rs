//! Archives of images: a tar that holds an OCI image layout, or what `docker save` writes.
//!
//! An archive comes from anywhere, so nothing of it is believed: names lead nowhere outside, there are bounds to how much
//! of anything there is, and what has a digest is counted up before it is used. Nothing is unpacked: a file is looked
//! through once for where its parts lie, and parts are copied from there.

mod error;
mod layout;
mod model;
mod oci;
mod parts;
mod passage;
mod write;

pub use self::{
    error::ArchiveError,
    layout::{Blob, Found, Layout},
    oci::Export,
    passage::{Arrived, Outgoing},
    write::{for_engine, size_for_engine},
};
