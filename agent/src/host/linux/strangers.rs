//! What the engine tells of containers that are not ours.

use std::collections::{BTreeMap, BTreeSet};

use bollard::{Docker as Client, models::ContainerSummaryStateEnum, query_parameters::ListContainersOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use serde::Serialize;
use serde_json::Value as Json;

use super::{
    CONTAINER_LABEL,
    docker::{Docker, lock},
    error, seen,
};
use crate::{
    capture::{Found, Machine},
    host::{HostError, Reason, Stamp, Strangers},
};

/// Inspections side by side.
const INSPECTIONS: usize = 8;

impl Strangers for Docker {
    async fn strangers(&self, name: Option<&str>) -> Result<Found, HostError> {
        let client = self.client().await?;
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let all = client.list_containers(Some(options)).await.map_err(|error| error::translate(&error))?;
        let wanted = all.into_iter().filter(|it| match name {
            Some(name) => seen::name(it).is_some_and(|its| its == name),
            None => it.state == Some(ContainerSummaryStateEnum::RUNNING),
        });
        let adopted = self.adopted.stamps();
        let foreign = wanted.filter(|it| {
            let labelled = it.labels.as_ref().is_some_and(|all| all.contains_key(CONTAINER_LABEL));
            !labelled && !it.id.as_ref().is_some_and(|id| adopted.contains_key(id))
        });
        let looks = foreign.filter_map(|it| it.id).map(|id| {
            let client = client.clone();
            async move { client.inspect_container(&id, None).await }
        });
        let containers = inspected(looks.collect()).await?;
        let images: BTreeSet<String> =
            containers.iter().filter_map(|it| it["Image"].as_str()).map(str::to_owned).collect();
        let looks = images.into_iter().map(|id| {
            let client = client.clone();
            async move { client.inspect_image(&id).await }
        });
        let images = inspected(looks.collect()).await?;
        let (networks, volumes) = (self.all_networks(&client).await?, self.all_volumes(&client).await?);
        Ok(Found { containers, images: by_id(images), networks, volumes, machine: machine(&client).await? })
    }

    async fn adopt(&self, id: &str, stamp: Stamp) -> Result<(), HostError> {
        self.adopted.put(id, stamp).await?;
        lock(&self.cache).forget_container(id);
        self.containers_hint.now();
        self.networks_hint.notify_one();
        Ok(())
    }
}

impl Docker {
    async fn all_networks(&self, client: &Client) -> Result<Vec<Json>, HostError> {
        let all = client.list_networks(None).await.map_err(|error| error::translate(&error))?;
        all.iter().map(json).collect()
    }

    async fn all_volumes(&self, client: &Client) -> Result<Vec<Json>, HostError> {
        let none = None::<bollard::query_parameters::ListVolumesOptions>;
        let all = client.list_volumes(none).await.map_err(|error| error::translate(&error))?;
        all.volumes.unwrap_or_default().iter().map(json).collect()
    }
}

/// Answers several inspections side by side; what is gone meanwhile is left out.
async fn inspected<T: Serialize>(
    looks: Vec<impl Future<Output = Result<T, bollard::errors::Error>> + Send>,
) -> Result<Vec<Json>, HostError> {
    let looks = looks.into_iter().map(|look| async {
        match look.await.map_err(|error| error::translate(&error)) {
            Ok(found) => json(&found).map(Some),
            Err(gone) if matches!(gone.reason, Reason::Gone | Reason::ImageMissing) => Ok(None),
            Err(other) => Err(other),
        }
    });
    stream::iter(looks).buffer_unordered(INSPECTIONS).try_filter_map(future::ok).try_collect().await
}

fn by_id(images: Vec<Json>) -> BTreeMap<String, Json> {
    images.into_iter().filter_map(|image| Some((image["Id"].as_str()?.to_owned(), image))).collect()
}

async fn machine(client: &Client) -> Result<Machine, HostError> {
    let info = json(&client.info().await.map_err(|error| error::translate(&error))?)?;
    let cgroups = if info["CgroupVersion"] == "2" { "private" } else { "host" };
    Ok(Machine { name: info["Name"].as_str().unwrap_or_default().to_owned(), cgroups: cgroups.to_owned() })
}

fn json<T: Serialize>(found: &T) -> Result<Json, HostError> {
    serde_json::to_value(found)
        .map_err(|error| HostError::new(Reason::Failed, format!("The engine's answer can't be read: {error}")))
}
