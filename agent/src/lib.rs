//! The agent: manifests in, a machine kept so.
//!
//! `docs/rooms.md` is the map of these rooms, `tests/rooms.rs` keeps it.

pub mod api;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod compose;
pub mod controller;
pub mod daemon;
pub mod foreign;
pub mod history;
pub mod host;
pub mod manifests;
pub mod reconcile;
pub mod secrets;
pub mod store;
