//! What a container may use of the machine, in the engine's words. Pure.

use std::collections::HashMap;

use bollard::models::{
    DeviceMapping, DeviceRequest, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use piccolo_schema::{
    ContainerSpec,
    container::{self, Capabilities, Exposure, HealthCheck, Log, Protocol, Restart, WITHHELD},
    duration::Duration,
};

use super::{create::some, vault::Vault};
use crate::host::Limits;

/// The size of a file of a container's output, in bytes.
const LOG_SIZE: u64 = 10 << 20;
/// How many of these files there are.
const LOG_FILES: u16 = 3;

/// Returns what a container may use of the machine.
pub(super) fn host(spec: &ContainerSpec, network: &str) -> HostConfig {
    let limits = Limits::of(spec);
    let (memory, memory_swap) = memory(&limits);
    HostConfig {
        memory,
        memory_swap,
        nano_cpus: limits.nano_cpus,
        cpuset_cpus: limits.cpuset,
        pids_limit: limits.pids,
        blkio_weight: spec.io_weight,
        storage_opt: spec.storage.map(|size| HashMap::from([("size".to_owned(), size.get().to_string())])),
        shm_size: spec.shm_size.map(|size| bytes(size.get())),
        ulimits: some(&spec.ulimits.iter().map(ulimit).collect::<Vec<_>>()),
        devices: some(&spec.devices.iter().map(device).collect::<Vec<_>>()),
        device_requests: (!spec.gpus.is_empty()).then(|| vec![gpus(&spec.gpus)]),
        log_config: Some(log(spec.log.as_ref())),
        init: spec.init.then_some(true),
        restart_policy: Some(policy(limits.restart)),
        network_mode: Some(network.to_owned()),
        port_bindings: (!spec.ports.is_empty()).then(|| bindings(&spec.ports)),
        tmpfs: (!spec.tmpfs.is_empty()).then(|| spec.tmpfs.iter().map(tmpfs).collect()),
        readonly_rootfs: spec.read_only_root.then_some(true),
        privileged: spec.privileged.then_some(true),
        pid_mode: spec.host_pid.then(|| "host".to_owned()),
        ipc_mode: spec.host_ipc.then(|| "host".to_owned()),
        security_opt: (!spec.allow_new_privileges && !spec.privileged).then(|| vec!["no-new-privileges".to_owned()]),
        group_add: some(&spec.groups),
        dns: some(&spec.dns.iter().map(ToString::to_string).collect::<Vec<_>>()),
        extra_hosts: some(&spec.extra_hosts.iter().map(|(name, at)| format!("{name}:{at}")).collect::<Vec<_>>()),
        sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
        cap_add: some(&spec.capabilities.add),
        cap_drop: some(&dropped(&spec.capabilities)),
        ..HostConfig::default()
    }
}

/// Returns memory, and memory and swap together, as the engine counts them. No swap unless it is asked for, so that a
/// limit means what it says.
pub(super) fn memory(limits: &Limits) -> (Option<i64>, Option<i64>) {
    let both = limits.memory.map(|memory| bytes(memory.saturating_add(limits.swap.unwrap_or(0))));
    (limits.memory.map(bytes), both)
}

fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns what is taken from the engine's default set: what the manifest takes, and what it does not ask to keep.
fn dropped(capabilities: &Capabilities) -> Vec<String> {
    let Capabilities { add, drop } = capabilities;
    let has = |list: &[String], name: &str| list.iter().any(|it| it == name || it == "ALL");
    let by_default = WITHHELD.iter().filter(|name| !has(add, name) && !has(drop, name)).map(|name| (*name).to_owned());
    drop.iter().cloned().chain(by_default).collect()
}

fn ulimit((name, limit): (&String, &container::Ulimit)) -> ResourcesUlimits {
    let hard = limit.hard.unwrap_or(limit.soft);
    ResourcesUlimits { name: Some(name.clone()), soft: Some(limit.soft), hard: Some(hard) }
}

fn device(device: &container::Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.host_path.clone()),
        path_in_container: Some(device.path.as_ref().unwrap_or(&device.host_path).clone()),
        cgroup_permissions: Some(if device.read_only { "r" } else { "rw" }.to_owned()),
    }
}

fn gpus(wanted: &[String]) -> DeviceRequest {
    let all = wanted.iter().any(|it| it == "all");
    DeviceRequest {
        count: all.then_some(-1),
        device_ids: (!all).then(|| wanted.to_vec()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

fn log(log: Option<&Log>) -> HostConfigLogConfig {
    let asked = log.cloned().unwrap_or_default();
    let mut options: HashMap<String, String> = asked.options.into_iter().collect();
    if asked.driver.keeps_files() {
        options.insert(
            "max-size".to_owned(),
            asked.max_size.map_or(LOG_SIZE, piccolo_schema::quantity::Bytes::get).to_string(),
        );
        options.insert("max-file".to_owned(), asked.max_files.unwrap_or(LOG_FILES).to_string());
    }
    HostConfigLogConfig { typ: Some(asked.driver.as_str().to_owned()), config: Some(options) }
}

/// Returns all that is mounted. The files of secrets lie in memory and are only to be read.
pub(super) fn mounts(subject: &str, spec: &ContainerSpec, vault: &Vault) -> Vec<Mount> {
    let secret = |it: &container::SecretUse| {
        Some(Mount {
            target: it.path.clone(),
            source: Some(vault.source(subject, it)?.display().to_string()),
            typ: Some(MountType::BIND),
            read_only: Some(true),
            ..Mount::default()
        })
    };
    spec.mounts.iter().map(mount).chain(spec.secrets.iter().filter_map(secret)).collect()
}

fn mount(mount: &container::Mount) -> Mount {
    let typ = if mount.host_path.is_some() { MountType::BIND } else { MountType::VOLUME };
    Mount {
        target: Some(mount.path.clone()),
        source: mount.host_path.clone().or_else(|| mount.volume.clone()),
        typ: Some(typ),
        read_only: Some(mount.read_only),
        ..Mount::default()
    }
}

fn tmpfs(tmpfs: &container::Tmpfs) -> (String, String) {
    let size = tmpfs.size.map(|size| format!("size={}", size.get())).unwrap_or_default();
    (tmpfs.path.clone(), size)
}

/// Returns a port as the engine writes it, `80/tcp`.
pub(super) fn exposed(port: &container::Port) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.container_port)
}

/// One port of a container may be published at several places.
fn bindings(ports: &[container::Port]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut all: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports.iter().filter(|port| port.exposed_to() != Exposure::None) {
        let binding = PortBinding {
            host_ip: port.bound_to().map(|ip| ip.to_string()),
            host_port: Some(port.host_port.to_string()),
        };
        all.entry(exposed(port)).or_default().get_or_insert_default().push(binding);
    }
    all
}

/// Returns the check that the engine makes. One over the network is made by the daemon, in place of the image's own.
pub(super) fn health(check: &HealthCheck) -> HealthConfig {
    if check.command.is_empty() {
        return HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
    }
    HealthConfig {
        test: Some(std::iter::once("CMD".to_owned()).chain(check.command.iter().cloned()).collect()),
        interval: check.interval.map(nanos),
        timeout: check.timeout.map(nanos),
        start_period: check.start_period.map(nanos),
        retries: check.retries.map(i64::from),
        ..HealthConfig::default()
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.get().as_nanos()).unwrap_or(i64::MAX)
}

/// Returns the engine's restart policy.
pub(super) const fn policy(restart: Restart) -> RestartPolicy {
    let name = match restart {
        Restart::No => RestartPolicyNameEnum::NO,
        Restart::OnFailure => RestartPolicyNameEnum::ON_FAILURE,
        // Not `always`: an engine that starts would start what was stopped on purpose.
        Restart::Always => RestartPolicyNameEnum::UNLESS_STOPPED,
    };
    RestartPolicy { name: Some(name), maximum_retry_count: None }
}
