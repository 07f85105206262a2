//! The Docker engine over its socket.
//!
//! A look costs one call as long as nothing happened: what the list does not tell is inspected once and remembered until
//! an event names the container or the list shows it otherwise. Events are hints; after any break of their stream all
//! that is remembered is dropped.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, Docker as Client,
    models::NetworkConnectRequest,
    query_parameters::{CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RenameContainerOptionsBuilder},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use piccolo_schema::{
    ContainerSpec,
    container::{Exposure, SecretUse},
};
use tokio::sync::{Notify, Semaphore, watch::Receiver};

use super::{
    adopted::Adopted,
    archives::{self, Spool},
    brought::Arrivals,
    cache::Cache,
    create, error, events,
    filter::Gate,
    guard,
    hint::Hint,
    images::{Declared, DeclaredImage},
    ledger::Ledger,
    logs,
    memory::Memory,
    nft::Nft,
    probe::Probes,
    pulls::Pulls,
    pushes::Pushes,
    seen::{self, Images},
    shells::Sessions,
    sources::{self, Sources},
    vault::Vault,
    watch,
};
use crate::{
    console::Excerpt,
    host::{ContainerSeen, Engine, EngineView, Firewall, HostError, Limits, Reason, Rollout, Stamp},
};

/// How long an ordinary call may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a stop may take: the longest grace period that a manifest can ask for, and a little.
const STOP_PATIENCE: Duration = Duration::from_secs(3600 + 60);
/// Inspections side by side.
const INSPECTIONS: usize = 8;

/// The Docker engine.
#[derive(Debug)]
pub struct Docker {
    pub(super) socket: String,
    client: Mutex<Option<Client>>,
    pub(super) vault: Vault,
    pub(super) adopted: Adopted,
    pub(super) arrivals: Arrivals,
    pub(super) ledger: Ledger,
    pub(super) spool: Spool,
    /// What the manifests say of images.
    pub(super) declared: Receiver<Declared>,
    pub(super) cache: Mutex<Cache>,
    pub(super) containers_hint: Arc<Hint>,
    pub(super) images_hint: Notify,
    pub(super) networks_hint: Notify,
    pub(super) probes: Probes,
    pub(super) sessions: Sessions,
    pub(super) pulls: Pulls,
    /// What registries were given.
    pub(super) pushes: Pushes,
    /// What images are built from.
    pub(super) sources: Arc<Sources>,
    /// Where repositories are while an image is built from them.
    pub(super) builds_dir: PathBuf,
    pub(super) volumes_hint: Notify,
    /// One look at directories at a time, so that a disk which does not answer holds no more than one thread.
    pub(super) volumes_look: Arc<Semaphore>,
    pub(super) nft: Nft,
    pub(super) gate: Gate,
    /// Where the API of this machine answers networks.
    pub(super) api_port: OnceLock<u16>,
}

/// An address that is no unix socket.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the address of a unix socket; write it as unix:///var/run/docker.sock")]
pub struct BadAddress(String);

impl Docker {
    /// Speaks to the engine at `unix://…`, which need not be there yet. What is to be known before it starts is kept in
    /// the state directory. Must be called within a runtime: the engine's
    /// events are followed until the last owner is gone.
    ///
    /// # Errors
    /// When the address is no unix socket.
    pub fn open(
        address: &str,
        vault: Vault,
        memory: Memory,
        declared: Receiver<Declared>,
        state_dir: &Path,
    ) -> Result<Arc<Self>, BadAddress> {
        let socket = address.strip_prefix("unix://").filter(|path| path.starts_with('/'));
        let docker = Arc::new(Self {
            socket: socket.ok_or_else(|| BadAddress(address.to_owned()))?.to_owned(),
            client: Mutex::default(),
            vault,
            adopted: memory.adopted,
            arrivals: memory.arrivals,
            ledger: memory.ledger,
            spool: Spool::new(state_dir),
            declared,
            cache: Mutex::default(),
            containers_hint: Arc::default(),
            images_hint: Notify::new(),
            networks_hint: Notify::new(),
            probes: Probes::default(),
            sessions: Sessions::default(),
            pulls: Pulls::default(),
            pushes: Pushes::open(state_dir),
            sources: Arc::default(),
            builds_dir: state_dir.join("builds"),
            volumes_hint: Notify::new(),
            volumes_look: Arc::new(Semaphore::new(1)),
            nft: Nft::of_containers(state_dir),
            gate: Gate::new(state_dir),
            api_port: OnceLock::new(),
        });
        tokio::spawn(events::follow(Arc::downgrade(&docker)));
        tokio::spawn(watch::follow(Arc::downgrade(&docker)));
        tokio::spawn(sources::follow(Arc::downgrade(&docker)));
        tokio::spawn(archives::follow(Arc::downgrade(&docker), docker.declared.clone()));
        Ok(docker)
    }

    /// Returns a connection that speaks a version of the API that the engine knows.
    pub(super) async fn client(&self) -> Result<Client, HostError> {
        if let Some(client) = lock(&self.client).clone() {
            return Ok(client);
        }
        let client = Client::connect_with_unix(&self.socket, PATIENCE.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| error::translate(&error))?;
        let client = client.negotiate_version().await.map_err(|error| error::translate(&error))?;
        *lock(&self.client) = Some(client.clone());
        Ok(client)
    }

    /// Returns the connection that is known, for streams, which must not borrow the engine.
    pub(super) fn known_client(&self) -> Result<Client, HostError> {
        let unreachable = || HostError::new(Reason::EngineUnavailable, "The engine can't be reached at present");
        lock(&self.client).clone().ok_or_else(unreachable)
    }

    /// Forgets everything that may have changed unseen.
    pub(super) fn forget(&self) {
        lock(&self.cache).clear();
        // Another engine may come up at the same socket.
        *lock(&self.client) = None;
    }

    pub(super) async fn list(&self, client: &Client) -> Result<Vec<ContainerSeen>, HostError> {
        lock(&self.cache).age();
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let summaries = client.list_containers(Some(options)).await.map_err(|error| error::translate(&error))?;
        let mut stamps = self.adopted.stamps();
        let looks = summaries.into_iter().map(|summary| {
            let stamp = summary.id.as_ref().and_then(|id| stamps.remove(id));
            self.complete(client, summary, stamp)
        });
        let mut containers: Vec<ContainerSeen> =
            stream::iter(looks).buffer_unordered(INSPECTIONS).try_filter_map(future::ok).try_collect().await?;
        containers.sort_by(|one, other| one.name.cmp(&other.name));
        lock(&self.cache).keep(&containers);
        self.adopted.keep(&containers.iter().map(|it| it.id.as_str()).collect());
        self.probes.follow(&mut containers, &self.containers_hint);
        Ok(containers)
    }

    /// Adds to a line of the list what only an inspection tells. `None` if it is gone meanwhile.
    async fn complete(
        &self,
        client: &Client,
        summary: bollard::models::ContainerSummary,
        adopted: Option<Stamp>,
    ) -> Result<Option<ContainerSeen>, HostError> {
        let Some((listed, status)) = seen::listed(summary, adopted) else { return Ok(None) };
        if listed.stamp.is_none() {
            return Ok(Some(listed));
        }
        let (known, asked) = lock(&self.cache).container(&listed, &status);
        if let Some(known) = known {
            return Ok(Some(ContainerSeen { address: listed.address, ..known }));
        }
        match client.inspect_container(&listed.id, None).await {
            Ok(inspected) => {
                let whole = seen::inspected(listed, &inspected);
                lock(&self.cache).put_container(&whole, status, asked);
                Ok(Some(whole))
            }
            Err(error) => match error::translate(&error) {
                gone if gone.reason == Reason::Gone => Ok(None),
                other => Err(other),
            },
        }
    }

    pub(super) async fn all_images(&self, client: &Client) -> Result<Images, HostError> {
        let (known, asked) = lock(&self.cache).images();
        if let Some(known) = known {
            return Ok(self.arrivals.complete(known));
        }
        let none = None::<bollard::query_parameters::ListImagesOptions>;
        let images = client.list_images(none).await.map_err(|error| error::translate(&error))?;
        let images = Images::new(images);
        lock(&self.cache).put_images(images.clone(), asked);
        Ok(self.arrivals.complete(images))
    }

    async fn network_names(&self, client: &Client) -> Result<Vec<String>, HostError> {
        let (known, asked) = lock(&self.cache).networks();
        if let Some(known) = known {
            return Ok(known);
        }
        let networks = client.list_networks(None).await.map_err(|error| error::translate(&error))?;
        let mut names: Vec<String> = networks.into_iter().filter_map(|network| network.name).collect();
        names.sort();
        lock(&self.cache).put_networks(names.clone(), asked);
        Ok(names)
    }

    async fn volume_names(&self, client: &Client) -> Result<Vec<String>, HostError> {
        let (known, asked) = lock(&self.cache).volumes();
        if let Some(known) = known {
            return Ok(known);
        }
        let none = None::<bollard::query_parameters::ListVolumesOptions>;
        let volumes = client.list_volumes(none).await.map_err(|error| error::translate(&error))?;
        let mut names: Vec<String> = volumes.volumes.unwrap_or_default().into_iter().map(|it| it.name).collect();
        names.sort();
        lock(&self.cache).put_volumes(names.clone(), asked);
        Ok(names)
    }

    /// Joins a new container to its further networks: older engines take one only when it is made.
    async fn connect(&self, client: &Client, name: &str, subject: &str, spec: &ContainerSpec) -> Result<(), HostError> {
        for network in &spec.more_networks {
            let endpoint_config = Some(create::endpoint(subject, spec));
            let request = NetworkConnectRequest { container: name.to_owned(), endpoint_config };
            match client.connect_network(network, request).await.map_err(|error| error::translate(&error)) {
                Err(error) if !error.message.contains("already exists in network") => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns true if the container of this name is just the one that is wanted.
    async fn is_made(&self, client: &Client, name: &str, wanted: &bollard::models::ContainerCreateBody) -> bool {
        let found = client.inspect_container(name, None).await.ok();
        let labels = found.and_then(|found| found.config).and_then(|config| config.labels).unwrap_or_default();
        let wanted = wanted.labels.as_ref();
        let same = |label| labels.get(label) == wanted.and_then(|all| all.get(label));
        let stamps = [super::CONTAINER_LABEL, super::SPEC_LABEL, super::VARIABLES_LABEL, super::ROLLOUT_LABEL];
        labels.contains_key(super::CONTAINER_LABEL) && stamps.into_iter().all(same)
    }
}

impl Engine for Docker {
    async fn containers(&self) -> Result<EngineView, HostError> {
        let client = self.client().await?;
        let mut containers = self.list(&client).await?;
        self.ledger.ran(&containers).await;
        let firewall = if containers.iter().any(waits_for_rules) { self.nft.look().await } else { Firewall::default() };
        let (images, networks) = (self.all_images(&client).await?, self.network_names(&client).await?);
        for container in &mut containers {
            container.image_digest = images.digest(container);
        }
        let made = |(name, it): (&String, &DeclaredImage)| {
            let id = images.id(name).filter(|_| it.is_made())?;
            Some((name.clone(), id.to_owned()))
        };
        let made_images = self.declared.borrow().iter().filter_map(made).collect();
        let (images, volumes) = (images.names(), self.volume_names(&client).await?);
        // What is wrong with the memory of secrets is told by their own kind. Here it is as if there were none: who needs
        // one waits, and the others go on.
        let (secrets, places) = self.vault.given().await.unwrap_or_default();
        let engine_since = self.runs_since(&client, &containers).await;
        let declared = |(name, it): (&String, &DeclaredImage)| (name.clone(), it.manifest.clone());
        let declared_images = self.declared.borrow().iter().map(declared).collect();
        let view = EngineView { containers, engine_since, images, networks, volumes, ..EngineView::default() };
        Ok(EngineView { firewall, secrets, places, declared_images, made_images, pulls: self.pulls.seen(), ..view })
    }

    async fn changed(&self) {
        self.containers_hint.heard().await;
    }

    async fn pull(&self, image: &str) -> Result<(), HostError> {
        let login = self.login_of_repository(image).await?;
        self.fetch(image, login).await
    }

    async fn create(
        &self,
        name: &str,
        subject: &str,
        spec: &ContainerSpec,
        rollout: Option<&Rollout>,
    ) -> Result<(), HostError> {
        let client = self.client().await?;
        guard::check(spec).await?;
        let variables = self.vault.variables(spec).await?;
        let mut body = create::body(subject, spec, rollout, &self.vault, variables)?;
        body.image = body.image.map(|image| self.arrivals.called(image));
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        if let Err(error) = client.create_container(Some(options), body.clone()).await {
            let error = error::translate(&error);
            if error.reason != Reason::NameTaken || !self.is_made(&client, name, &body).await {
                return Err(error);
            }
        }
        self.connect(&client, name, subject, spec).await
    }

    async fn start(&self, id: &str) -> Result<(), HostError> {
        error::done_is_fine(self.client().await?.start_container(id, None).await)
    }

    async fn restart(&self, id: &str) -> Result<(), HostError> {
        self.probes.restarted(id);
        let client = self.client().await?.with_timeout(STOP_PATIENCE);
        error::done_is_fine(client.restart_container(id, None).await)
    }

    async fn stop(&self, id: &str) -> Result<(), HostError> {
        let client = self.client().await?.with_timeout(STOP_PATIENCE);
        error::gone_is_fine(error::done_is_fine(client.stop_container(id, None).await))
    }

    async fn unpause(&self, id: &str) -> Result<(), HostError> {
        match error::done_is_fine(self.client().await?.unpause_container(id).await) {
            Err(error) if error.message.contains("is not paused") => Ok(()),
            other => other,
        }
    }

    async fn rename(&self, id: &str, name: &str) -> Result<(), HostError> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        let result = self.client().await?.rename_container(id, options).await;
        match error::done_is_fine(result) {
            Err(error) if error.message.contains("same name as its current name") => Ok(()),
            other => other,
        }
    }

    async fn update(&self, id: &str, limits: &Limits) -> Result<(), HostError> {
        error::done_is_fine(self.client().await?.update_container(id, create::update(limits)).await)
    }

    async fn place_secrets(&self, subject: &str, uses: &[SecretUse]) -> Result<(), HostError> {
        self.vault.place(subject, uses).await
    }

    async fn clear_secrets(&self, subject: &str, places: &[String]) -> Result<(), HostError> {
        self.vault.clear(subject, places).await
    }

    async fn remove(&self, id: &str) -> Result<(), HostError> {
        error::gone_is_fine(error::done_is_fine(self.client().await?.remove_container(id, None).await))
    }

    fn logs(&self, name: &str, excerpt: &Excerpt) -> impl Stream<Item = Result<Bytes, HostError>> + Send + 'static {
        logs::read(self.known_client(), name.to_owned(), excerpt)
    }
}

/// Returns true if a container may only start once there are rules for its ports.
fn waits_for_rules(seen: &ContainerSeen) -> bool {
    let spec = seen.stamp.as_ref().and_then(|stamp| stamp.spec.as_deref());
    spec.is_some_and(|spec| spec.ports.iter().any(|port| matches!(port.exposed_to(), Exposure::Range(_))))
}

/// Locks even after a panic elsewhere: what is kept here is whole after every single change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
