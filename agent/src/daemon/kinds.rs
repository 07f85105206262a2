//! The kinds: what keeps each, and what others hold of it.

use std::sync::Arc;

use anyhow::Context;
use tokio::{sync::watch, task::JoinSet};

use super::{Options, installs, nets, seams, trust};
use crate::{
    controller::{Controller, KindPreview, Pulse, Shared},
    host::{
        GroundPlaces,
        linux::{Docker, Drives, Followed, Footing, Networkd, Own, Updater, Vault},
    },
    manifests::Manifests,
    reconcile::{
        Reconciler, container::Containers, disk::Disks, firewall::Firewalls, host::Hosts, image::Images,
        install::Installations, link::Links, network::Networks, secret::Secrets, source::Sources, volume::Volumes,
    },
    sources::Puller,
};

/// The controllers' ends that others hold.
#[derive(Default)]
pub(super) struct Controllers {
    pub(super) previews: Vec<Arc<dyn KindPreview>>,
    pub(super) pulses: Vec<Pulse>,
}

/// What the kinds stand on.
pub(super) struct Ground<'a> {
    pub(super) options: &'a Options,
    pub(super) manifests: Manifests,
    pub(super) vault: Vault,
    pub(super) docker: &'a Arc<Docker>,
    pub(super) keys: &'a trust::Keys,
    /// The port at which networks reach the API, if they do.
    pub(super) port: Option<u16>,
    pub(super) places: watch::Receiver<GroundPlaces>,
}

/// What others need of the machine as well.
pub(super) struct Kept {
    pub(super) links: Arc<Networkd>,
    pub(super) drives: Arc<Drives>,
    pub(super) installer: Arc<installs::Door>,
    pub(super) footing: Arc<Footing>,
    pub(super) sources: Arc<Puller>,
    pub(super) updates: Arc<Updater>,
}

impl Controllers {
    /// Has every kind kept until the shutdown.
    pub(super) fn keep(
        &mut self,
        tasks: &mut JoinSet<()>,
        shared: &Shared,
        ground: Ground<'_>,
    ) -> anyhow::Result<Kept> {
        let Ground { options, manifests, vault, docker, keys, port, places } = ground;
        let (state, shutdown) = (&options.state_dir, &shared.shutdown);
        self.spawn(tasks, Secrets(Arc::new(vault.clone())), shared);
        let links = Arc::new(Networkd::open(vault.clone(), state));
        self.spawn(tasks, Links(links.clone()), shared);
        self.spawn(tasks, Hosts(Arc::new(Own::open(state, port))), shared);
        let logins = Arc::new(seams::VaultLogins(vault.clone()));
        let sources = Puller::open(state.join("sources"), manifests.clone(), logins)
            .with_context(|| format!("can't read what came from repositories in {}", state.display()))?;
        tasks.spawn(sources.clone().run(shutdown.clone()));
        tasks.spawn(sources.clone().prove(Arc::new(nets::MachineTrials(links.clone())), shutdown.clone()));
        self.spawn(tasks, Sources(sources.clone()), shared);
        self.spawn(tasks, Images(docker.clone()), shared);
        self.spawn(tasks, Firewalls(docker.clone()), shared);
        self.spawn(tasks, Networks(docker.clone()), shared);
        let drives = Drives::open_with(state, keys.keyring(vault));
        keys.look_after(&drives);
        self.spawn(tasks, Disks(drives.clone()), shared);
        let installer = Arc::new(installs::Door::open(manifests.subscribe(), shared.store.clone()));
        self.spawn(tasks, Installations(installer.clone()), shared);
        let footing = Arc::new(Footing::open(state, places));
        self.spawn(tasks, Volumes(docker.clone(), footing.clone()), shared);
        let (follow, followed) = watch::channel(Followed::default());
        tasks.spawn(seams::follow(manifests.subscribe(), follow, shutdown.clone()));
        let updates = Updater::open(docker.clone(), state, followed)
            .with_context(|| format!("can't read what is known of updates in {}", state.display()))?;
        tasks.spawn(updates.clone().run(options.update_interval.get(), shutdown.clone()));
        self.spawn(tasks, Containers(docker.clone(), updates.clone(), footing.clone()), shared);
        Ok(Kept { links, drives, installer, footing, sources, updates })
    }

    fn spawn<R: Reconciler>(&mut self, tasks: &mut JoinSet<()>, reconciler: R, shared: &Shared) {
        let (controller, pulse) = Controller::new(Arc::new(reconciler), shared.clone());
        self.previews.push(Arc::new(controller.preview()));
        self.pulses.push(pulse);
        tasks.spawn(controller.run());
    }
}
