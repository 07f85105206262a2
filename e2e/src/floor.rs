//! The floor: the same calls to the engine, at once and in the best order, with nothing around them.

use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use piccolo_agent::host::{Engine, HostError, linux::Docker};
use piccolo_schema::{ContainerSpec, Manifest, parse::parse};

/// Numbers of requests side by side, of which the better one counts.
pub const SIDE_BY_SIDE: [usize; 2] = [4, 8];

/// A program that does only what must be done.
#[derive(Clone, Debug)]
pub struct Floor(pub Arc<Docker>);

impl Floor {
    /// Makes and starts all of these, so many side by side.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn converge(&self, wanted: &[(String, ContainerSpec)], hands: usize) -> Result<(), HostError> {
        let starts = wanted.iter().map(|(name, spec)| self.make(name, spec));
        stream::iter(starts).buffer_unordered(hands).try_collect().await
    }

    /// Makes and starts one.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn make(&self, name: &str, spec: &ContainerSpec) -> Result<(), HostError> {
        self.0.create(name, name, spec, None).await?;
        self.0.start(name).await
    }

    /// Replaces one without a gap in its definition.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn replace(&self, name: &str, spec: &ContainerSpec) -> Result<(), HostError> {
        let next = format!("{name}.next");
        self.0.create(&next, name, spec, None).await?;
        self.0.stop(name).await?;
        self.0.remove(name).await?;
        self.0.rename(&next, name).await?;
        self.0.start(name).await
    }
}

/// Returns the spec of a manifest's text.
///
/// # Errors
/// When it is no manifest of a container.
pub fn spec(text: &str) -> anyhow::Result<ContainerSpec> {
    let manifest = parse(text).ok().context("the manifest of a bench is broken")?;
    match manifest {
        Manifest::Container(container) => Ok(container.spec),
        _ => anyhow::bail!("not a container"),
    }
}
