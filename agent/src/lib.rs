//! The agent: manifests in, a machine kept so.
//!
//! `docs/rooms.md` is the map of these rooms, `tests/rooms.rs` keeps it.

pub mod access;
pub mod api;
pub mod archive;
pub mod audit;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod compose;
pub mod console;
pub mod controller;
pub mod daemon;
mod file;
pub mod foreign;
pub mod git;
pub mod history;
pub mod host;
pub mod install;
#[cfg(test)]
mod malformed;
pub mod manifests;
pub mod reconcile;
pub mod reset;
pub mod secrets;
pub mod sources;
pub mod store;
pub mod trust;
mod words;
