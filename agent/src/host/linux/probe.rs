//! Health checks over the network, which the engine does not make.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::Empty;
use hyper::{Request, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use piccolo_schema::container::{HealthCheck, HttpCheck};
use tokio::{net::TcpStream, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{docker::lock, hint::Hint, pulse::Pulse};
use crate::host::{ContainerSeen, Health, State};

/// How long a container has to be healthy until earlier restarts are forgotten.
const RECOVERED: Duration = Duration::from_secs(600);

/// The checks under way, and the restarts that unhealthy containers had, by identifier.
#[derive(Debug, Default)]
pub(super) struct Probes {
    probes: Mutex<HashMap<String, Probe>>,
    flaps: Mutex<HashMap<String, Flap>>,
}

/// A container that is asked again and again. Dropped, it is asked no more.
#[derive(Debug)]
struct Probe {
    check: HealthCheck,
    address: SocketAddr,
    pulse: Arc<Mutex<Pulse>>,
    _task: AbortOnDropHandle<()>,
}

/// The restarts of a container that was unhealthy.
#[derive(Debug, Default)]
struct Flap {
    restarts: u32,
    healthy_since: Option<Instant>,
}

impl Probes {
    /// Asks those that run and want to be asked, and nobody else, and adds to each what is known of its health. A change
    /// of health is told as a hint.
    pub(super) fn follow(&self, containers: &mut [ContainerSeen], hint: &Arc<Hint>) {
        let mut probes = lock(&self.probes);
        let mut asked = HashSet::new();
        for container in containers.iter_mut() {
            let Some((check, address)) = question(container) else { continue };
            let known = probes.get(&container.id).is_some_and(|it| it.check == check && it.address == address);
            if !known {
                probes.insert(container.id.clone(), Probe::start(check, address, Arc::clone(hint)));
            }
            container.health = probes.get(&container.id).map(|probe| lock(&probe.pulse).health());
            asked.insert(container.id.clone());
        }
        probes.retain(|id, _| asked.contains(id));
        drop(probes);
        self.count(containers);
    }

    /// Notes that a container was started: what was known of its health is past.
    pub(super) fn started(&self, id: &str) {
        lock(&self.probes).remove(id);
    }

    /// Notes that a container is restarted because it is unhealthy.
    pub(super) fn restarted(&self, id: &str) {
        self.started(id);
        lock(&self.flaps).entry(id.to_owned()).or_default().restarts += 1;
    }

    /// Adds to each container how often it was restarted, and forgets that once it has been well for long.
    fn count(&self, containers: &mut [ContainerSeen]) {
        let mut flaps = lock(&self.flaps);
        flaps.retain(|id, _| containers.iter().any(|container| container.id == *id));
        for container in containers {
            let Some(flap) = flaps.get_mut(&container.id) else { continue };
            if container.health == Some(Health::Healthy) {
                let since = *flap.healthy_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= RECOVERED {
                    flaps.remove(&container.id);
                    continue;
                }
            } else {
                flap.healthy_since = None;
            }
            container.restarts = flap.restarts;
        }
    }
}

impl Probe {
    fn start(check: HealthCheck, address: SocketAddr, hint: Arc<Hint>) -> Self {
        let pulse = Arc::new(Mutex::new(Pulse::new(&check, Instant::now())));
        let (asked, heard) = (check.clone(), Arc::clone(&pulse));
        let task = tokio::spawn(async move {
            loop {
                let passed = tokio::time::timeout(Pulse::timeout(&asked), passes(&asked, address)).await;
                if lock(&heard).heard(passed.unwrap_or(false), Instant::now()) {
                    hint.now();
                }
                let rest = lock(&heard).rest();
                tokio::time::sleep(rest).await;
            }
        });
        Self { check, address, pulse, _task: AbortOnDropHandle::new(task) }
    }
}

/// Returns what a container is to be asked, and where, if it runs and is to be asked from outside.
fn question(container: &ContainerSeen) -> Option<(HealthCheck, SocketAddr)> {
    let check = container.stamp.as_ref()?.spec.as_ref()?.health_check.clone()?;
    let port = check.http.as_ref().map(|it| it.port).or(check.tcp.as_ref().map(|it| it.port))?;
    let address = container.address.filter(|_| container.state == State::Running)?;
    Some((check, SocketAddr::new(address, port)))
}

/// Asks once. False for whatever is no good answer.
async fn passes(check: &HealthCheck, address: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return false };
    match &check.http {
        None => true,
        Some(page) => answers(page, address, stream).await.unwrap_or(false),
    }
}

async fn answers(page: &HttpCheck, address: SocketAddr, stream: TcpStream) -> hyper::Result<bool> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends with the question: it is driven here and nowhere else.
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(&page.path).header(HOST, address.to_string()).body(Empty::<&[u8]>::new());
    let Ok(request) = request else { return Ok(false) };
    let status = sender.send_request(request).await?.status().as_u16();
    drop(connection);
    Ok((200..400).contains(&status))
}
