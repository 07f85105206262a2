//! The agent: manifests in, a machine kept so.

pub mod api;
pub mod cli;
pub mod clock;
pub mod host;
pub mod manifests;
pub mod reconcile;
pub mod store;
