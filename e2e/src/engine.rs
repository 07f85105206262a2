//! The engine, as somebody else who uses it sees it.

use std::collections::HashMap;

use anyhow::Context;
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
};

/// Somebody else's hands on the engine.
#[derive(Clone, Debug)]
pub struct Engine(pub Docker);

/// What tells one run of a container from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The identifier.
    pub id: String,
    /// When it was started.
    pub started: String,
    /// The image, as it was asked for.
    pub image: String,
    /// The engine's word, `running`.
    pub state: String,
    /// The limit in bytes.
    pub memory: i64,
}

impl Engine {
    /// Speaks to the engine of `DOCKER_HOST`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn connect() -> anyhow::Result<Self> {
        let host = std::env::var("DOCKER_HOST").context("DOCKER_HOST is not set: run e2e/test")?;
        let docker = Docker::connect_with_unix(&host, 120, API_DEFAULT_VERSION)?.negotiate_version().await?;
        Ok(Self(docker))
    }

    /// Inspects a container; none if there is none.
    pub async fn inspect(&self, name: &str) -> Option<Inspected> {
        let seen = self.0.inspect_container(name, None).await.ok()?;
        let state = seen.state?;
        Some(Inspected {
            id: seen.id?,
            started: state.started_at?,
            image: seen.config?.image?,
            state: state.status?.to_string(),
            memory: seen.host_config?.memory.unwrap_or_default(),
        })
    }

    /// Returns the names of all containers that carry our stamp, sorted.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn ours(&self) -> anyhow::Result<Vec<String>> {
        let filters = HashMap::from([("label", vec!["piccolo.os/container"])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let all = self.0.list_containers(Some(options)).await?;
        let mut names: Vec<String> =
            all.into_iter().flat_map(|it| it.names.unwrap_or_default()).map(|name| name[1..].to_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// Makes a container that is not ours.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn make_foreign(&self, name: &str, image: &str) -> anyhow::Result<()> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let body = ContainerCreateBody { image: Some(image.to_owned()), ..ContainerCreateBody::default() };
        self.0.create_container(Some(options), body).await?;
        Ok(())
    }

    /// Removes a container by force.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn remove(&self, name: &str) -> anyhow::Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        Ok(self.0.remove_container(name, Some(options)).await?)
    }

    /// Removes everything that carries our stamp.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn clear(&self) -> anyhow::Result<()> {
        for name in self.ours().await? {
            self.remove(&name).await?;
        }
        let filters = HashMap::from([("label", vec!["piccolo.os/network"])]);
        let options = bollard::query_parameters::ListNetworksOptionsBuilder::new().filters(&filters).build();
        for network in self.0.list_networks(Some(options)).await? {
            self.0.remove_network(&network.id.unwrap_or_default()).await?;
        }
        let filters = HashMap::from([("label", vec!["piccolo.os/volume"])]);
        let options = bollard::query_parameters::ListVolumesOptionsBuilder::new().filters(&filters).build();
        for volume in self.0.list_volumes(Some(options)).await?.volumes.unwrap_or_default() {
            let none = None::<bollard::query_parameters::RemoveVolumeOptions>;
            self.0.remove_volume(&volume.name, none).await?;
        }
        Ok(())
    }
}
