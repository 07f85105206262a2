//! The agent: manifests in, a machine kept so.

pub mod host;
pub mod reconcile;
