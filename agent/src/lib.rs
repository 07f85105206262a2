//! The agent: manifests in, a machine kept so.

pub mod api;
pub mod clock;
pub mod controller;
pub mod host;
pub mod manifests;
pub mod reconcile;
pub mod store;
