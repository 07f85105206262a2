//! The daemon put together: rooms are opened, wired and closed here. Decides nothing.

mod banner;
mod digests;
mod disks;
mod door;
mod ground;
mod installs;
mod kinds;
mod nets;
mod notify;
mod resets;
mod seams;
mod sockets;
mod steps;
mod trials;
mod trust;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use piccolo_schema::{Mode, duration};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    door::Door,
    kinds::{Controllers, Ground, Kept},
};
use crate::{
    api,
    audit::{self, Audit},
    controller::{Bells, Lanes, Registrar, Shared, farewell},
    history::{Digests, History, Hooks, Recorder},
    host::{
        Shells as _,
        linux::{Declared, Docker, Footing, Memory, Updater, Vault, goes_down},
    },
    manifests::{Change, Manifests},
    reconcile::container::Containers,
    secrets::Identity,
    store::{self, Event},
};

pub use self::{disks::answer_for_disks, installs::installer, nets::restore, resets::reset_now};

/// How long containers may take to stop when the machine goes down.
const FAREWELL: Duration = Duration::from_secs(300);
/// What the rest of the daemon's end takes at most, the steps under way included.
const MARGIN: Duration = Duration::from_secs(40);
/// How many changes of manifests may wait to be recorded.
const WAITING_CHANGES: usize = 64;

/// Where the daemon finds and keeps things.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "piccolod", version, about = "Keeps this machine as its manifests ask")]
pub struct Options {
    /// The directory of the manifests.
    #[arg(long, env = "PICCOLO_CONFIG_DIR", default_value = "/etc/piccolo")]
    pub config_dir: PathBuf,
    /// The directory of what the daemon remembers, and of snapshots of volumes. The `store` in it can be deleted without
    /// harm. Without `updates` images that failed are tried again, without `adopted` those containers are not ours.
    #[arg(long, env = "PICCOLO_STATE_DIR", default_value = "/var/lib/piccolo")]
    pub state_dir: PathBuf,
    /// The file of the key by which this machine reads its secrets, made at the first start; `identity.age` in the
    /// directory of the state when left out. Whoever has it can read them, and without it nobody can.
    #[arg(long, env = "PICCOLO_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// The way to the TPM, as its libraries write it: `device:/dev/tpmrm0`, which is the one that is used when left out and
    /// there. With `none` there is none.
    #[arg(long, env = "PICCOLO_TCTI")]
    pub tcti: Option<String>,
    /// The log of what the firmware measured as this machine started.
    #[arg(long, env = "PICCOLO_EVENT_LOG", default_value = "/sys/kernel/security/tpm0/binary_bios_measurements")]
    pub event_log: PathBuf,
    /// The log of what the system measured after that, which systemd keeps from version 256 on.
    #[arg(long, env = "PICCOLO_SYSTEM_LOG", default_value = "/run/log/systemd/tpm2-measure.log")]
    pub system_log: PathBuf,
    /// The directory of decrypted secrets. It must lie in memory (tmpfs).
    #[arg(long, env = "PICCOLO_SECRETS_DIR", default_value = "/run/piccolo/secrets")]
    pub secrets_dir: PathBuf,
    /// The socket of the API, for programs on this machine.
    #[arg(long, env = "PICCOLO_SOCKET", default_value = "/run/piccolo/api.sock")]
    pub socket: PathBuf,
    /// The address of the API for other machines, which speaks TLS alone and asks everybody for a token.
    #[arg(long, env = "PICCOLO_LISTEN", default_value = "[::]:8080")]
    pub listen: SocketAddr,
    /// Another name by which other machines reach this one, once for each. Its host name, that with `.local` and its
    /// addresses are known.
    #[arg(long = "name", env = "PICCOLO_NAMES", value_delimiter = ',')]
    pub names: Vec<String>,
    /// The address of a proxy that stands before this machine, once for each: what it says of who asks is believed
    /// (`X-Forwarded-For`). Of all others nothing is read.
    #[arg(long = "proxy", env = "PICCOLO_PROXIES", value_delimiter = ',')]
    pub proxies: Vec<IpAddr>,
    /// The file by which a machine without a screen is claimed, read once at the start: `piccolo token seed` writes one. The
    /// credential `piccolo.seed` of systemd comes before it. A machine that is claimed takes none.
    #[arg(long, env = "PICCOLO_SEED", default_value = "/run/piccolo/seed.toml")]
    pub seed: PathBuf,
    /// The file in which the screens of this machine find what they say of the way in: address, fingerprint, and the code
    /// by which a machine is claimed that is nobody's.
    #[arg(long, env = "PICCOLO_ISSUE", default_value = "/run/issue.d/50-piccolo.issue")]
    pub issue: PathBuf,
    /// The socket of the container engine.
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub docker: String,
    /// How often registries are asked for other images, where a manifest wants it.
    #[arg(long, env = "PICCOLO_UPDATE_INTERVAL", default_value = "15m")]
    pub update_interval: duration::Duration,
    /// Whether what is planned is done. With `observe` nothing on this machine is changed, whatever its manifests say:
    /// plans and conditions tell what would be done.
    #[arg(long, env = "PICCOLO_MODE", default_value = "enforce", value_parser = PossibleValuesParser::new(Mode::WORDS).try_map(|word| word.parse::<Mode>()))]
    pub mode: Mode,
}

impl Options {
    /// Returns the file of the key by which this machine reads its secrets.
    fn identity_path(&self) -> PathBuf {
        self.identity.clone().unwrap_or_else(|| self.state_dir.join("identity.age"))
    }
}

/// Runs the daemon until `shutdown`, then lets every room end in order.
///
/// # Errors
/// When a directory, a socket or the store can't be opened. Trouble with the engine or with manifests is no error: it is
/// reported, and tried again.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (writer, reader) = store::open(&options.state_dir.join("store"))
        .await
        .with_context(|| format!("can't open the store in {}", options.state_dir.display()))?;
    let writer = Arc::new(writer);
    writer.event(Event::new("Started", format!("piccolod {} started", env!("CARGO_PKG_VERSION"))));
    let keeper = trust::keeper(&options, &writer);
    let identity = identity(&options, &writer, keeper.open().await);
    let recipient = identity.as_ref().ok().map(|identity| identity.recipient().to_string().into());
    let vault = Vault::new(options.secrets_dir.clone(), identity);
    let (name, named) = watch::channel(BTreeSet::new());
    let memory = Memory::open(&options.state_dir, named)
        .with_context(|| format!("can't read what is kept beside the engine in {}", options.state_dir.display()))?;
    let (declare, declared) = watch::channel(Declared::default());
    let docker = Docker::open(&options.docker, vault.clone(), memory, declared, &options.state_dir)?;
    let door = Door::open(&options, &writer, keeper.authority().await).await?;
    // The port at which networks reach the API.
    let port = door.plate.listen.filter(|it| !it.ip().is_loopback()).map(|it| it.port());
    shield(&docker, port, &writer).await;
    keeper.tell();
    let keeper = Arc::new(keeper);
    let socket = sockets::unix(&options.socket)?;
    let (tell_digests, told_digests) = watch::channel(Digests::default());
    let (history, recorder, changes) = history(&options, &writer, told_digests)?;
    let (audit, auditor) = audit(&options, &writer);
    let mut tasks = JoinSet::new();
    tasks.spawn(auditor.run(shutdown.clone()));
    if let Some(entry) = door.planted {
        audit.record(entry).await;
    }
    tasks.spawn(steps::tell(reader.clone(), audit.clone(), shutdown.clone()));
    tasks.spawn(digests::tell(reader.clone(), tell_digests, shutdown.clone()));
    tasks.spawn(recorder.run(shutdown.clone()));
    tasks.spawn(ground::tell(writer.clone(), port.is_some(), shutdown.clone()));
    let manifests = Manifests::open_recorded(options.config_dir.clone(), changes).await;
    tasks.spawn(trials::tell(manifests.trials(), writer.clone(), shutdown.clone()));
    let (place, places, placed) = seams::Place::new(manifests.subscribe());
    tasks.spawn(place.run(shutdown.clone()));
    let (registrar, registered) = Registrar::new(writer.clone(), placed);
    tasks.spawn(registrar.run(shutdown.clone()));
    let shared = Shared {
        store: writer.clone(),
        registered,
        lanes: Arc::new(Lanes::default()),
        bells: Arc::new(Bells::default()),
        mode: options.mode,
        shutdown: shutdown.clone(),
    };
    tasks.spawn(seams::name(manifests.subscribe(), name, shutdown.clone()));
    tasks.spawn(seams::declare(manifests.subscribe(), declare, shutdown.clone()));
    let (mut controllers, manifested) = (Controllers::default(), manifests.clone());
    let kept = controllers.keep(
        &mut tasks,
        &shared,
        Ground { options: &options, manifests: manifested, vault, docker: &docker, keys: &keeper, port, places },
    )?;
    let Kept { links, drives, installer, footing, sources, updates } = kept;
    let containers = Containers(docker.clone(), updates.clone(), footing);

    let state = api::State {
        manifests,
        history,
        store: reader,
        preview: Arc::new(seams::Previews(controllers.previews)),
        logs: Arc::new(seams::EngineLogs(docker.clone())),
        shells: Arc::new(seams::EngineShells(docker.clone())),
        nets: Arc::new(nets::MachineNets(links.clone())),
        gauges: Arc::new(seams::EngineGauges::new(docker.clone())),
        strangers: Arc::new(seams::MachineStrangers(docker.clone(), links.clone())),
        archives: docker.clone(),
        prunes: docker.clone(),
        resetter: resets::Door::open(drives.clone(), writer.clone(), options.mode, &options.state_dir),
        disks: Arc::new(disks::Door::new(drives, writer.clone(), Arc::<trust::Keys>::clone(&keeper), options.mode)),
        installer,
        recipient,
        updates,
        sources,
        version: env!("CARGO_PKG_VERSION"),
        access: door.access,
        plate: door.plate.clone(),
        audit,
        mode: options.mode,
        trust: Arc::<trust::Keys>::clone(&keeper),
    };
    tasks.spawn(door.keeper.run(shutdown.clone()));
    tasks.spawn(Arc::<trust::Keys>::clone(&keeper).watch_state(shutdown.clone()));
    // It asks the TPM, which may take long, and nobody waits for it.
    drop(tokio::spawn(async move { keeper.remember().await }));
    tasks.spawn(notify::watchdog(controllers.pulses, shutdown.clone()));
    info!(socket = %options.socket.display(), listen = ?door.plate.listen, "answering");
    notify::ready();
    // No room ends by itself before the shutdown, but the watchdog where nobody watches; one that does is a defect, and
    // a daemon that is half dead would be worse than one that is started anew.
    let served = api::serve(api::router(state), Some(socket), door.gate, shutdown.clone());
    let defect = tokio::select! {
        () = served => None,
        ended = first_defect(&mut tasks, &shutdown) => ended,
    };
    shutdown.cancel();
    end(&mut tasks, &docker, &containers, &shared).await;
    writer.close().await;
    // A file that is left behind would be taken for a daemon that does not answer.
    drop(std::fs::remove_file(&options.socket));
    defect.map_or(Ok(()), |error| Err(error).context("a part of the daemon ended"))
}

/// Keeps containers from the port of the API, if networks reach it at one, and says whether they are.
async fn shield(docker: &Docker, port: Option<u16>, store: &store::Writer) {
    let Some(port) = port else { return };
    let problem = docker.keep_from(port).await;
    let told = problem.map(|it| format!("containers reach the port of the API, where they need a token: {it}"));
    store.health("firewall", true, told.unwrap_or_else(|| "containers are kept from the API".to_owned()));
}

/// Lets every room end, and containers too where the machine goes down.
async fn end(
    tasks: &mut JoinSet<()>,
    docker: &Docker,
    containers: &Containers<Docker, Updater, Footing>,
    shared: &Shared,
) {
    notify::stopping();
    docker.end_programs().await;
    let goes_down = goes_down().await;
    if goes_down {
        notify::takes(FAREWELL + MARGIN);
    }
    while tasks.join_next().await.is_some() {}
    if goes_down {
        let message = "The machine goes down; containers are stopped, dependants first";
        shared.store.event(Event::new("GoingDown", message));
        farewell(containers, shared, FAREWELL).await;
    }
    shared.store.event(Event::new("Stopped", "piccolod stopped"));
}

/// Opens the history of the manifests, and the queue in which their changes wait for it.
fn history(
    options: &Options,
    store: &Arc<store::Writer>,
    digests: watch::Receiver<Digests>,
) -> anyhow::Result<(History, Recorder, mpsc::Sender<Change>)> {
    let (changes, queue) = mpsc::channel(WAITING_CHANGES);
    let store = store.clone();
    let report = move |well, message| store.health("history", well, message);
    // A hook runs in another directory.
    let directory = std::path::absolute(options.state_dir.join("config.git"))?;
    let program = std::env::current_exe().context("can't tell where this program is")?;
    let hooks = Hooks { program, socket: std::path::absolute(&options.socket)? };
    let (history, recorder) =
        History::open(directory, options.config_dir.clone(), hooks, queue, digests, Box::new(report));
    Ok((history, recorder, changes))
}

/// Opens the audit.
fn audit(options: &Options, store: &Arc<store::Writer>) -> (Audit, audit::Recorder) {
    let store = store.clone();
    let report = move |well, message| store.health("audit", well, message);
    Audit::open(options.state_dir.join(audit::DIRECTORY), Box::new(report))
}

/// Reads the key of this machine, or makes it. A key that can't be used is no reason not to keep the machine: secrets
/// say so, and all else goes on.
fn identity(
    options: &Options,
    store: &store::Writer,
    sealed: Result<Option<Identity>, String>,
) -> Result<Identity, String> {
    let kept =
        || Identity::read_or_make(&options.identity_path()).map_err(|error| format!("{:#}", anyhow::Error::new(error)));
    // Where it is sealed and does not open, none is made in its place.
    let identity = sealed.and_then(|sealed| sealed.map_or_else(kept, Ok));
    if let Err(why) = &identity {
        store.event(Event::new("KeyUnusable", why.clone()).warning());
        store.health("key", false, why.clone());
    }
    identity
}

/// Waits for a task that ends badly before the shutdown.
async fn first_defect(tasks: &mut JoinSet<()>, shutdown: &CancellationToken) -> Option<JoinError> {
    while let Some(ended) = tasks.join_next().await {
        if let (Err(error), false) = (ended, shutdown.is_cancelled()) {
            return Some(error);
        }
    }
    shutdown.cancelled().await;
    None
}
