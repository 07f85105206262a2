//! The real daemon on real parts, for stories and measurements.
//!
//! What is needed comes by environment, set by the scripts of this folder: `DOCKER_HOST` (a unix socket), `REGISTRY`
//! (which has `busybox:1` and `busybox:2`) and `PICCOLOD` (the program; the one of this build when left out).
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these programs start processes, write files and print: it is what they are for"
)]

pub mod attacks;
pub mod browser;
pub mod downtime;
pub mod engine;
pub mod floor;
pub mod guest;
pub mod http;
pub mod latency;
pub mod machine;
pub mod pushes;
pub mod tang;
pub mod tpm;
pub mod traffic;

pub use engine::{Engine, Inspected};
pub use machine::Machine;

use std::time::Duration;

use anyhow::Context;

/// How long anything may take in a story, on a machine that does other things too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns an image of the registry by its tag.
///
/// # Errors
/// When there is no registry.
pub fn image(tag: &str) -> anyhow::Result<String> {
    let registry = std::env::var("REGISTRY").context("REGISTRY is not set: run e2e/test")?;
    Ok(format!("{registry}/busybox:{tag}"))
}

/// Returns a manifest of a container that runs until it is stopped; `more` are further lines of its spec.
///
/// # Errors
/// When there is no registry.
pub fn sleeper(name: &str, more: &str) -> anyhow::Result<String> {
    Ok(container(name, &image("1")?, &format!("command = [\"sleep\", \"1000000\"]\nstopSignal = \"SIGKILL\"\n{more}")))
}

/// Returns a manifest of a container.
pub fn container(name: &str, image: &str, spec: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Container\"\n\n[metadata]\nname = \"{name}\"\n\n[spec]\nimage = \"{image}\"\n{spec}\n"
    )
}
