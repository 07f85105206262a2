//! From a spec to what the engine is asked for. Pure.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, EndpointSettings, HealthConfig, HostConfig, Mount, MountType,
    NetworkCreateRequest, NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use piccolo_schema::{
    ContainerSpec, NetworkSpec,
    container::{self, Protocol, Restart},
    duration::Duration,
};
use serde::Serialize;

use super::{
    CONTAINER_LABEL, NETWORK_LABEL, SPEC_LABEL, VARIABLES_LABEL,
    vault::{Variables, Vault},
};
use crate::host::{HostError, Limits, Reason};

/// Networks that every engine has, on which names can't be given.
const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

/// Returns the container to make for a manifest, stamped with both and with the digests of its secret variables.
pub(super) fn body(
    subject: &str,
    spec: &ContainerSpec,
    vault: &Vault,
    variables: Variables,
) -> Result<ContainerCreateBody, HostError> {
    let network = spec.network.as_deref().unwrap_or("bridge");
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    labels.insert(CONTAINER_LABEL.to_owned(), subject.to_owned());
    labels.insert(SPEC_LABEL.to_owned(), stamp(spec)?);
    if !variables.digests.is_empty() {
        labels.insert(VARIABLES_LABEL.to_owned(), stamp(&variables.digests)?);
    }
    let env: Vec<String> =
        spec.env.iter().map(|(key, value)| format!("{key}={value}")).chain(variables.lines).collect();
    let mounts: Vec<Mount> = spec.mounts.iter().map(mount).chain(secrets(subject, spec, vault)).collect();
    let endpoint = EndpointSettings { aliases: Some(vec![subject.to_owned()]), ..EndpointSettings::default() };
    let networking = NetworkingConfig { endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])) };
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: some(&spec.command),
        entrypoint: some(&spec.entrypoint),
        env: some(&env),
        user: spec.user.clone(),
        labels: Some(labels),
        exposed_ports: some(&spec.ports.iter().map(exposed).collect::<Vec<_>>()),
        healthcheck: spec.health_check.as_ref().map(health),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_period.map(|period| i64::try_from(period.get().as_secs()).unwrap_or(i64::MAX)),
        networking_config: (!BUILT_IN.contains(&network)).then_some(networking),
        host_config: Some(HostConfig { mounts: some(&mounts), ..host(spec, network) }),
        ..ContainerCreateBody::default()
    })
}

/// Returns the change of limits in place.
pub(super) fn update(limits: &Limits) -> ContainerUpdateBody {
    let memory = limits.memory.and_then(|bytes| i64::try_from(bytes).ok());
    ContainerUpdateBody {
        memory,
        // Memory and swap together; the engine refuses a memory limit above it.
        memory_swap: memory,
        nano_cpus: limits.nano_cpus,
        pids_limit: Some(limits.pids.unwrap_or(-1)),
        restart_policy: Some(policy(limits.restart)),
        ..ContainerUpdateBody::default()
    }
}

/// Returns the bridge network to make for a manifest, stamped with both.
pub(super) fn network(name: &str, spec: &NetworkSpec) -> Result<NetworkCreateRequest, HostError> {
    let range = spec.subnet.as_ref().map(|subnet| bollard::models::IpamConfig {
        subnet: Some(subnet.clone()),
        gateway: spec.gateway.map(|gateway| gateway.to_string()),
        ..bollard::models::IpamConfig::default()
    });
    let ipv6 = spec.subnet.as_ref().is_some_and(|subnet| subnet.contains(':'));
    Ok(NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(spec.internal),
        enable_ipv6: ipv6.then_some(true),
        ipam: range
            .map(|range| bollard::models::Ipam { config: Some(vec![range]), ..bollard::models::Ipam::default() }),
        labels: Some(HashMap::from([
            (NETWORK_LABEL.to_owned(), name.to_owned()),
            (SPEC_LABEL.to_owned(), stamp(spec)?),
        ])),
        ..NetworkCreateRequest::default()
    })
}

fn host(spec: &ContainerSpec, network: &str) -> HostConfig {
    let memory = spec.memory.and_then(|memory| i64::try_from(memory.get()).ok());
    HostConfig {
        memory,
        // No swap beyond the limit, so that a limit means what it says.
        memory_swap: memory,
        nano_cpus: Limits::of(spec).nano_cpus,
        pids_limit: spec.pids,
        init: spec.init.then_some(true),
        restart_policy: Some(policy(spec.restart)),
        network_mode: Some(network.to_owned()),
        port_bindings: (!spec.ports.is_empty()).then(|| bindings(&spec.ports)),
        tmpfs: (!spec.tmpfs.is_empty()).then(|| spec.tmpfs.iter().map(tmpfs).collect()),
        readonly_rootfs: spec.read_only_root.then_some(true),
        cap_add: some(&spec.capabilities.add),
        cap_drop: some(&spec.capabilities.drop),
        ..HostConfig::default()
    }
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

/// The files of secrets lie in memory and are only to be read.
fn secrets(subject: &str, spec: &ContainerSpec, vault: &Vault) -> Vec<Mount> {
    let mount = |it: &container::SecretUse| {
        Some(Mount {
            target: it.path.clone(),
            source: Some(vault.source(subject, it)?.display().to_string()),
            typ: Some(MountType::BIND),
            read_only: Some(true),
            ..Mount::default()
        })
    };
    spec.secrets.iter().filter_map(mount).collect()
}

fn tmpfs(tmpfs: &container::Tmpfs) -> (String, String) {
    let size = tmpfs.size.map(|size| format!("size={}", size.get())).unwrap_or_default();
    (tmpfs.path.clone(), size)
}

fn exposed(port: &container::Port) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.container_port)
}

/// One port of a container may be published at several places.
fn bindings(ports: &[container::Port]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut all: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let binding =
            PortBinding { host_ip: port.host_ip.map(|ip| ip.to_string()), host_port: Some(port.host_port.to_string()) };
        all.entry(exposed(port)).or_default().get_or_insert_default().push(binding);
    }
    all
}

fn health(check: &container::HealthCheck) -> HealthConfig {
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

const fn policy(restart: Restart) -> RestartPolicy {
    let name = match restart {
        Restart::No => RestartPolicyNameEnum::NO,
        Restart::OnFailure => RestartPolicyNameEnum::ON_FAILURE,
        // Not `always`: an engine that starts would start what was stopped on purpose.
        Restart::Always => RestartPolicyNameEnum::UNLESS_STOPPED,
    };
    RestartPolicy { name: Some(name), maximum_retry_count: None }
}

fn stamp<T: Serialize>(spec: &T) -> Result<String, HostError> {
    serde_json::to_string(spec)
        .map_err(|error| HostError::new(Reason::Refused, format!("The spec can't be written: {error}")))
}

fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made(spec: Value) -> Value {
        let spec: ContainerSpec = serde_json::from_value(spec).unwrap_or_else(|error| unreachable!("{error}"));
        let vault = Vault::new("/run/secrets".into(), Ok(crate::secrets::Identity::generate()));
        let variables = Variables {
            lines: vec!["PASSWORD=hunter2".to_owned()],
            digests: [("PASSWORD".to_owned(), "1f".to_owned())].into(),
        };
        serde_json::to_value(body("web", &spec, &vault, variables).unwrap_or_else(|_| unreachable!()))
            .unwrap_or_default()
    }

    #[test]
    fn an_image_alone_leaves_the_rest_to_the_image() {
        let body = made(json!({ "image": "nginx" }));
        assert_eq!(body["Cmd"], Value::Null);
        assert_eq!(body["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
        assert_eq!(body["HostConfig"]["NetworkMode"], "bridge");
        assert_eq!(body["NetworkingConfig"], Value::Null);
    }

    #[test]
    fn the_stamp_holds_the_spec() {
        let body = made(json!({ "image": "nginx", "memory": "64Mi" }));
        let spec: ContainerSpec = serde_json::from_str(body["Labels"][SPEC_LABEL].as_str().unwrap_or_default())
            .unwrap_or_else(|_| unreachable!());
        assert_eq!(spec.memory.map(piccolo_schema::quantity::Bytes::get), Some(64 << 20));
        assert_eq!(body["Labels"][CONTAINER_LABEL], "web");
    }

    #[test]
    fn every_field_arrives() {
        let body = made(json!({
            "image": "nginx", "command": ["-f"], "entrypoint": ["httpd"], "env": { "A": "1" }, "user": "1000",
            "ports": [
                { "containerPort": 80, "hostPort": 8080, "hostIp": "127.0.0.1" },
                { "containerPort": 80, "hostPort": 8081 },
                { "containerPort": 53, "hostPort": 53, "protocol": "udp" },
            ],
            "restart": "onFailure", "memory": "64Mi", "cpus": 0.5, "pids": 10, "readOnlyRoot": true, "init": true,
            "mounts": [{ "path": "/a", "hostPath": "/srv", "readOnly": true }, { "path": "/b", "volume": "data" }],
            "tmpfs": [{ "path": "/tmp", "size": "1Mi" }], "network": "apps", "stopSignal": "SIGKILL",
            "stopGracePeriod": "30s", "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] },
            "healthCheck": { "command": ["true"], "interval": "2s", "retries": 2 },
        }));
        let host = &body["HostConfig"];
        assert_eq!(body["Healthcheck"]["Test"], json!(["CMD", "true"]));
        assert_eq!(body["Healthcheck"]["Interval"], 2_000_000_000_i64);
        assert_eq!((&body["StopTimeout"], &body["StopSignal"]), (&json!(30), &json!("SIGKILL")));
        assert_eq!(host["PortBindings"]["80/tcp"].as_array().map(Vec::len), Some(2));
        assert_eq!(host["PortBindings"]["53/udp"][0]["HostPort"], "53");
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(64 << 20), &json!(64 << 20)));
        assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&json!(500_000_000), &json!(10)));
        assert_eq!(host["Mounts"][0]["Type"], "bind");
        assert_eq!(host["Mounts"][1]["Source"], "data");
        assert_eq!(host["Tmpfs"]["/tmp"], "size=1048576");
        assert_eq!((&host["CapAdd"], &host["CapDrop"]), (&json!(["NET_ADMIN"]), &json!(["ALL"])));
        assert_eq!(body["NetworkingConfig"]["EndpointsConfig"]["apps"]["Aliases"], json!(["web"]));
    }

    #[test]
    fn secrets_are_mounted_from_memory_and_stay_out_of_labels() {
        let secrets = json!([
            { "secret": "db", "path": "/run/db" },
            { "secret": "db", "key": "password", "path": "/etc/password", "mode": "0400", "uid": 70 },
            { "secret": "db", "key": "password", "env": "PASSWORD" },
        ]);
        let body = made(json!({ "image": "nginx", "secrets": secrets }));
        let mounts = &body["HostConfig"]["Mounts"];
        assert_eq!(mounts[0]["Source"], "/run/secrets/containers/web/db-0444-0-0");
        assert_eq!(mounts[1]["Source"], "/run/secrets/containers/web/db.password-0400-70-0/password");
        assert_eq!((&mounts[1]["ReadOnly"], mounts.as_array().map(Vec::len)), (&json!(true), Some(2)));
        assert_eq!(body["Env"], json!(["PASSWORD=hunter2"]));
        assert_eq!(body["Labels"][VARIABLES_LABEL], r#"{"PASSWORD":"1f"}"#);
        assert!(!body["Labels"].to_string().contains("hunter2"));
    }
}
