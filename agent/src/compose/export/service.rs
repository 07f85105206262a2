//! A Container as a service.

use std::collections::BTreeSet;

use piccolo_schema::{
    ContainerSpec,
    container::{DependencyCondition, Device, HealthCheck, Log, Mount, OnUnhealthy, Port, Protocol, Restart, Tmpfs},
    quantity::Bytes,
};
use serde_json::{Map, Value as Json, json};

use super::fields;

/// Fields that have the same sense in a compose file, by both names.
const SAME: &[(&str, &str)] = &[
    ("image", "image"),
    ("command", "command"),
    ("entrypoint", "entrypoint"),
    ("workingDir", "working_dir"),
    ("env", "environment"),
    ("labels", "labels"),
    ("user", "user"),
    ("groups", "group_add"),
    ("cpus", "cpus"),
    ("cpuset", "cpuset"),
    ("pids", "pids_limit"),
    ("privileged", "privileged"),
    ("readOnlyRoot", "read_only"),
    ("hostname", "hostname"),
    ("dns", "dns"),
    ("sysctls", "sysctls"),
    ("init", "init"),
    ("stopSignal", "stop_signal"),
    ("stopGracePeriod", "stop_grace_period"),
];
/// Fields that are written below, each in its own way.
const WRITTEN: &[&str] = &[
    "aliases",
    "allowNewPrivileges",
    "capabilities",
    "dependsOn",
    "devices",
    "extraHosts",
    "gpus",
    "healthCheck",
    "hostIpc",
    "hostPid",
    "ioWeight",
    "log",
    "memory",
    "moreNetworks",
    "mounts",
    "network",
    "ports",
    "restart",
    "running",
    "shmSize",
    "storage",
    "swap",
    "tmpfs",
    "ulimits",
];

/// Returns the service, and says what it can't say. `all` are the names of all services.
pub(super) fn write(name: &str, spec: &ContainerSpec, all: &BTreeSet<&str>, comments: &mut Vec<String>) -> Json {
    let mut given = fields(spec);
    let mut service = Map::new();
    service.insert("container_name".to_owned(), name.into());
    for (field, key) in SAME {
        if let Some(value) = given.shift_remove(*field) {
            service.insert((*key).to_owned(), value);
        }
    }
    let mut say = |what: &str, why: &str| comments.push(format!("container {name}: `{what}` {why}"));
    for field in given.keys().filter(|field| !WRITTEN.contains(&field.as_str())) {
        say(field, "can't be said here");
    }
    running(&mut service, spec);
    network(&mut service, spec);
    places(&mut service, spec);
    limits(&mut service, spec);
    rights(&mut service, spec);
    if let Some(check) = &spec.health_check {
        health(&mut service, check, &mut say);
    }
    depends_on(&mut service, spec, all, &mut say);
    service.into()
}

fn put(service: &mut Map<String, Json>, key: &str, value: impl Into<Json>) {
    let value = value.into();
    let nothing = value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
    if !nothing {
        service.insert(key.to_owned(), value);
    }
}

fn running(service: &mut Map<String, Json>, spec: &ContainerSpec) {
    let restart = match spec.restart {
        Restart::No => "no",
        Restart::OnFailure => "on-failure",
        Restart::Always => "unless-stopped",
    };
    put(service, "restart", restart);
    if !spec.running {
        put(service, "scale", 0);
    }
}

fn network(service: &mut Map<String, Json>, spec: &ContainerSpec) {
    let details = if spec.aliases.is_empty() { json!({}) } else { json!({ "aliases": spec.aliases }) };
    let joined: Map<_, _> = spec.joins().map(|network| (network.to_owned(), details.clone())).collect();
    if joined.is_empty() {
        put(service, "network_mode", spec.network.as_deref().unwrap_or("bridge"));
    }
    put(service, "networks", joined);
    put(service, "ports", spec.ports.iter().map(port).collect::<Vec<_>>());
    let hosts = spec.extra_hosts.iter().map(|(name, address)| format!("{name}={address}"));
    put(service, "extra_hosts", hosts.collect::<Vec<_>>());
}

fn port(port: &Port) -> String {
    let ip = match port.host_ip {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:"),
        Some(ip) => format!("{ip}:"),
        None => String::new(),
    };
    let protocol = if port.protocol == Protocol::Udp { "/udp" } else { "" };
    format!("{ip}{}:{}{protocol}", port.host_port, port.container_port)
}

fn places(service: &mut Map<String, Json>, spec: &ContainerSpec) {
    put(service, "volumes", spec.mounts.iter().map(mount).collect::<Vec<_>>());
    put(service, "tmpfs", spec.tmpfs.iter().map(tmpfs).collect::<Vec<_>>());
    put(service, "devices", spec.devices.iter().map(device).collect::<Vec<_>>());
}

fn mount(mount: &Mount) -> Json {
    let (kind, source) = match (&mount.host_path, &mount.volume) {
        (Some(path), _) => ("bind", path.as_str()),
        (None, volume) => ("volume", volume.as_deref().unwrap_or_default()),
    };
    // A colon in a path would part it.
    if source.contains(':') || mount.path.contains(':') {
        return json!({ "type": kind, "source": source, "target": mount.path, "read_only": mount.read_only });
    }
    format!("{source}:{}{}", mount.path, if mount.read_only { ":ro" } else { "" }).into()
}

fn tmpfs(tmpfs: &Tmpfs) -> String {
    tmpfs.size.map_or_else(|| tmpfs.path.clone(), |size| format!("{}:size={}", tmpfs.path, amount(size)))
}

fn device(device: &Device) -> Json {
    let target = device.path.as_ref().unwrap_or(&device.host_path);
    let rights = if device.read_only { "r" } else { "rw" };
    if device.host_path.contains(':') || target.contains(':') {
        return json!({ "source": device.host_path, "target": target, "permissions": rights });
    }
    format!("{}:{target}:{rights}", device.host_path).into()
}

fn limits(service: &mut Map<String, Json>, spec: &ContainerSpec) {
    if let Some(memory) = spec.memory {
        put(service, "mem_limit", amount(memory));
        // Compose counts both together; without this it would give as much swap again.
        let both = memory.get().saturating_add(spec.swap.map_or(0, Bytes::get));
        put(service, "memswap_limit", amount(Bytes::new(both)));
    }
    if let Some(weight) = spec.io_weight {
        put(service, "blkio_config", json!({ "weight": weight }));
    }
    if let Some(size) = spec.storage {
        put(service, "storage_opt", json!({ "size": amount(size) }));
    }
    if let Some(size) = spec.shm_size {
        put(service, "shm_size", amount(size));
    }
    let ulimits = spec.ulimits.iter().map(|(name, limit)| match limit.hard {
        Some(hard) => (name.clone(), json!({ "soft": limit.soft, "hard": hard })),
        None => (name.clone(), limit.soft.into()),
    });
    put(service, "ulimits", ulimits.collect::<Map<_, _>>());
    if !spec.gpus.is_empty() {
        let all = spec.gpus.iter().any(|it| it == "all");
        let which = if all { ("count", "all".into()) } else { ("device_ids", Json::from(spec.gpus.clone())) };
        let wanted = json!({ "capabilities": ["gpu"], which.0: which.1 });
        put(service, "deploy", json!({ "resources": { "reservations": { "devices": [wanted] } } }));
    }
    if let Some(log) = &spec.log {
        put(service, "logging", logging(log));
    }
}

fn logging(log: &Log) -> Json {
    let mut options: Map<String, Json> =
        log.options.iter().map(|(key, value)| (key.clone(), Json::from(value.clone()))).collect();
    if let Some(size) = log.max_size {
        options.insert("max-size".to_owned(), amount(size).into());
    }
    if let Some(files) = log.max_files {
        options.insert("max-file".to_owned(), files.to_string().into());
    }
    let mut all = Map::new();
    put(&mut all, "driver", log.driver.as_str());
    put(&mut all, "options", options);
    all.into()
}

fn rights(service: &mut Map<String, Json>, spec: &ContainerSpec) {
    put(service, "cap_add", spec.capabilities.add.clone());
    put(service, "cap_drop", spec.capabilities.drop.clone());
    // What is the rule here has to be said there.
    put(service, "security_opt", vec![format!("no-new-privileges:{}", !spec.allow_new_privileges)]);
    for (shared, key) in [(spec.host_pid, "pid"), (spec.host_ipc, "ipc")] {
        if shared {
            put(service, key, "host");
        }
    }
}

fn health(service: &mut Map<String, Json>, check: &HealthCheck, say: &mut impl FnMut(&str, &str)) {
    if check.on_unhealthy == OnUnhealthy::Restart {
        say("healthCheck", "restarts it when it is unhealthy; compose would not");
    }
    if check.command.is_empty() {
        return say("healthCheck", "asks from outside of the container, which can't be said here");
    }
    let test: Vec<_> = std::iter::once("CMD".to_owned()).chain(check.command.iter().cloned()).collect();
    let mut all = Map::from_iter([("test".to_owned(), Json::from(test))]);
    let times = [("interval", check.interval), ("timeout", check.timeout), ("start_period", check.start_period)];
    for (key, time) in times {
        if let Some(time) = time {
            put(&mut all, key, time.to_string());
        }
    }
    if let Some(retries) = check.retries {
        put(&mut all, "retries", retries);
    }
    put(service, "healthcheck", all);
}

fn depends_on(
    service: &mut Map<String, Json>,
    spec: &ContainerSpec,
    all: &BTreeSet<&str>,
    say: &mut impl FnMut(&str, &str),
) {
    let mut needs = Map::new();
    for need in &spec.depends_on {
        if !all.contains(need.container.as_str()) {
            say(&format!("dependsOn {}", need.container), "is not in this file");
            continue;
        }
        let condition = match need.condition {
            DependencyCondition::Started => "service_started",
            DependencyCondition::Healthy => "service_healthy",
            DependencyCondition::Completed => "service_completed_successfully",
        };
        needs.insert(need.container.clone(), json!({ "condition": condition }));
    }
    put(service, "depends_on", needs);
}

/// Returns an amount of memory as compose writes it.
fn amount(size: Bytes) -> String {
    let size = size.get();
    let units = [(1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")];
    match units.iter().find(|(unit, _)| size > 0 && size.is_multiple_of(*unit)) {
        Some((unit, word)) => format!("{}{word}", size / unit),
        None => format!("{size}b"),
    }
}
