//! What comes from elsewhere becomes manifests, and a report says what became of each part of it. Pure.
//!
//! Whoever reads compose files or the engine's containers puts a [`Draft`] together and says on the way what is kept,
//! changed or lost; here a draft becomes a manifest as a person would write it.

mod draft;
mod grants;
mod names;
mod report;
mod secrets;
mod sizes;
mod write;

pub use self::{
    draft::Draft,
    report::{Outcome, Report, Row},
    write::{Written, manifest},
};
pub(crate) use self::{
    grants::grants_needed,
    names::{name_within, valid_name},
    secrets::is_secret,
    sizes::engine_bytes,
    write::volume_manifest,
};
