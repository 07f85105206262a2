//! What it takes to turn a container into what its manifest asks.

use piccolo_schema::{
    ContainerSpec,
    container::{Capabilities, HealthCheck, OnUnhealthy, Port},
    image::Reference,
};

use super::secrets::variables_changed;
use crate::host::{ContainerSeen, Digests, Limits, State};

/// The way from a container to its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// It is as asked.
    None,
    /// These fields are changed in place.
    InPlace(Vec<&'static str>),
    /// A new container takes its place, for this reason.
    Anew(String),
}

/// Measures a container against a spec and its limits. Whether it runs is no part of it.
pub(super) fn gap(seen: &ContainerSeen, desired: &ContainerSpec, limits: &Limits, secrets: &Digests) -> Gap {
    let stamp = seen.stamp.as_ref().and_then(|stamp| Some((stamp, stamp.spec.as_deref()?)));
    let Some((stamp, made_from)) = stamp else {
        return Gap::Anew("its stamp can't be read".to_owned());
    };
    if matches!(seen.state, State::Dead | State::Removing) {
        return Gap::Anew("half removed".to_owned());
    }
    let mut fields = fixed_fields_changed(made_from, desired);
    fields.extend(limits_to_lift(&seen.limits, limits));
    if !fields.is_empty() {
        return Gap::Anew(format!("{} changed", fields.join(", ")));
    }
    let variables = variables_changed(stamp, desired, secrets);
    if !variables.is_empty() {
        let names: Vec<&str> = variables.into_iter().collect();
        return Gap::Anew(format!("secret {} changed", names.join(", ")));
    }
    if !seen.attached {
        return Gap::Anew("detached from its network".to_owned());
    }
    match limits_changed(&seen.limits, limits) {
        fields if fields.is_empty() => Gap::None,
        fields => Gap::InPlace(fields),
    }
}

/// Names the fields that the engine fixes when it makes a container and that differ.
fn fixed_fields_changed(made_from: &ContainerSpec, desired: &ContainerSpec) -> Vec<&'static str> {
    // Taken apart by name, so that a field added to the spec has to be placed here before the crate compiles.
    let ContainerSpec {
        image,
        command,
        entrypoint,
        working_dir,
        env,
        ports,
        labels,
        restart: _,
        mounts,
        secrets,
        tmpfs,
        memory: _,
        swap: _,
        cpus: _,
        cpuset: _,
        pids: _,
        io_weight,
        storage,
        shm_size,
        ulimits,
        devices,
        gpus,
        log,
        health_check,
        user,
        groups,
        capabilities,
        allow_new_privileges,
        privileged,
        host_pid,
        host_ipc,
        grants: _,
        read_only_root,
        depends_on: _,
        network,
        more_networks,
        aliases,
        hostname,
        extra_hosts,
        dns,
        sysctls,
        init,
        stop_signal,
        stop_grace_period,
        update: _,
        running: _,
    } = made_from;
    [
        ("image", same_image(image, &desired.image)),
        ("command", *command == desired.command),
        ("entrypoint", *entrypoint == desired.entrypoint),
        ("workingDir", *working_dir == desired.working_dir),
        ("env", *env == desired.env),
        ("ports", same_ports(ports, &desired.ports)),
        ("labels", *labels == desired.labels),
        ("mounts", same_set(mounts, &desired.mounts)),
        ("secrets", same_set(secrets, &desired.secrets)),
        ("tmpfs", same_set(tmpfs, &desired.tmpfs)),
        ("ioWeight", *io_weight == desired.io_weight),
        ("storage", *storage == desired.storage),
        ("shmSize", *shm_size == desired.shm_size),
        ("ulimits", *ulimits == desired.ulimits),
        ("devices", same_set(devices, &desired.devices)),
        ("gpus", same_set(gpus, &desired.gpus)),
        ("log", *log == desired.log),
        ("healthCheck", same_check(health_check.as_ref(), desired.health_check.as_ref())),
        ("user", *user == desired.user),
        ("groups", same_set(groups, &desired.groups)),
        ("capabilities", same_capabilities(capabilities, &desired.capabilities)),
        ("allowNewPrivileges", *allow_new_privileges == desired.allow_new_privileges),
        ("privileged", *privileged == desired.privileged),
        ("hostPid", *host_pid == desired.host_pid),
        ("hostIpc", *host_ipc == desired.host_ipc),
        ("readOnlyRoot", *read_only_root == desired.read_only_root),
        ("network", network_of(network.as_ref()) == network_of(desired.network.as_ref())),
        ("moreNetworks", same_set(more_networks, &desired.more_networks)),
        ("aliases", same_set(aliases, &desired.aliases)),
        ("hostname", *hostname == desired.hostname),
        ("extraHosts", *extra_hosts == desired.extra_hosts),
        ("dns", *dns == desired.dns),
        ("sysctls", *sysctls == desired.sysctls),
        ("init", *init == desired.init),
        ("stopSignal", *stop_signal == desired.stop_signal),
        ("stopGracePeriod", *stop_grace_period == desired.stop_grace_period),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect()
}

/// Names the limits that are set, should not be, and that the engine can't lift from a container that exists.
fn limits_to_lift(observed: &Limits, desired: &Limits) -> Vec<&'static str> {
    let lifts = [
        ("memory", observed.memory.is_some() && desired.memory.is_none()),
        ("cpus", observed.nano_cpus.is_some() && desired.nano_cpus.is_none()),
        ("cpuset", observed.cpuset.is_some() && desired.cpuset.is_none()),
    ];
    lifts.into_iter().filter_map(|(field, lift)| lift.then_some(field)).collect()
}

fn limits_changed(observed: &Limits, desired: &Limits) -> Vec<&'static str> {
    [
        ("memory", observed.memory == desired.memory),
        ("swap", observed.swap == desired.swap),
        ("cpus", observed.nano_cpus == desired.nano_cpus),
        ("cpuset", observed.cpuset == desired.cpuset),
        ("pids", observed.pids == desired.pids),
        ("restart", observed.restart == desired.restart),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect()
}

/// Returns the name by which the engine lists an image. Two ways to write one name mean the same image.
pub(super) fn listed_as(image: &str) -> String {
    Reference::parse(image).map_or_else(|_| image.to_owned(), |reference| reference.to_string())
}

pub(super) fn same_image(one: &str, other: &str) -> bool {
    one == other || listed_as(one) == listed_as(other)
}

/// Returns true if both hold the same things; the order in which a person lists them means nothing to the engine.
fn same_set<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.len() == other.len() && one.iter().all(|it| other.contains(it)) && other.iter().all(|it| one.contains(it))
}

/// Compares what ports mean: `lan` is what an exposure that is left out stands for.
fn same_ports(one: &[Port], other: &[Port]) -> bool {
    let meaning = |ports: &[Port]| -> Vec<_> {
        ports.iter().map(|it| (it.container_port, it.host_port, it.protocol, it.bound_to(), it.exposed_to())).collect()
    };
    same_set(&meaning(one), &meaning(other))
}

fn same_capabilities(one: &Capabilities, other: &Capabilities) -> bool {
    same_set(&one.add, &other.add) && same_set(&one.drop, &other.drop)
}

/// Returns true if the container is asked the same in the same way. What follows from the answer is no part of it.
fn same_check(one: Option<&HealthCheck>, other: Option<&HealthCheck>) -> bool {
    let question = |check: &HealthCheck| HealthCheck { on_unhealthy: OnUnhealthy::default(), ..check.clone() };
    one.map(question) == other.map(question)
}

fn network_of(network: Option<&String>) -> &str {
    network.map_or("bridge", String::as_str)
}
