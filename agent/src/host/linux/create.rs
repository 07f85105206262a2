//! From a spec to what the engine is asked for. Pure.

#[cfg(test)]
mod law;

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, EndpointSettings, HostConfig, NetworkCreateRequest, NetworkingConfig,
    VolumeCreateRequest,
};
use piccolo_schema::{ContainerSpec, NetworkSpec, VolumeSpec, image::Reference};
use serde::Serialize;

use super::{
    BRIDGE_OPTION, CONTAINER_LABEL, NETWORK_LABEL, ROLLOUT_LABEL, SPEC_LABEL, VARIABLES_LABEL, VOLUME_LABEL, options,
    vault::{Variables, Vault},
};
use crate::host::{HostError, Limits, Reason, Rollout, firewall::bridge_of};

/// Networks that every engine has, on which names can't be given.
const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

/// Returns the container to make for a manifest, stamped with both and with the digests of its secret variables.
pub(super) fn body(
    subject: &str,
    spec: &ContainerSpec,
    rollout: Option<&Rollout>,
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
    let mounts = options::mounts(subject, spec, vault);
    let endpoints = HashMap::from([(network.to_owned(), endpoint(subject, spec))]);
    let networking = NetworkingConfig { endpoints_config: Some(endpoints) };
    let mut image = spec.image.clone();
    if let Some(rollout) = rollout {
        labels.insert(ROLLOUT_LABEL.to_owned(), stamp(rollout)?);
        image = by_digest(&image, &rollout.digest)?;
    }
    Ok(ContainerCreateBody {
        image: Some(image),
        cmd: some(&spec.command),
        entrypoint: some(&spec.entrypoint),
        env: some(&env),
        working_dir: spec.working_dir.clone(),
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        labels: Some(labels),
        exposed_ports: some(&spec.ports.iter().map(options::exposed).collect::<Vec<_>>()),
        healthcheck: spec.health_check.as_ref().map(options::health),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_period.map(|period| i64::try_from(period.get().as_secs()).unwrap_or(i64::MAX)),
        networking_config: (!BUILT_IN.contains(&network)).then_some(networking),
        host_config: Some(HostConfig { mounts: some(&mounts), ..options::host(spec, network) }),
        ..ContainerCreateBody::default()
    })
}

/// Returns how a container is found on a network of a manifest.
pub(super) fn endpoint(subject: &str, spec: &ContainerSpec) -> EndpointSettings {
    let names = std::iter::once(subject.to_owned()).chain(spec.aliases.iter().cloned()).collect();
    EndpointSettings { aliases: Some(names), ..EndpointSettings::default() }
}

fn by_digest(image: &str, digest: &str) -> Result<String, HostError> {
    let found = Reference::parse(image).and_then(|image| image.at(digest));
    found.map(|image| image.to_string()).map_err(|why| HostError::new(Reason::Refused, why))
}

/// Returns the change of limits in place.
pub(super) fn update(limits: &Limits) -> ContainerUpdateBody {
    let (memory, memory_swap) = options::memory(limits);
    ContainerUpdateBody {
        memory,
        memory_swap,
        nano_cpus: limits.nano_cpus,
        cpuset_cpus: limits.cpuset.clone(),
        pids_limit: Some(limits.pids.unwrap_or(-1)),
        restart_policy: Some(options::policy(limits.restart)),
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
    let second = spec.ipv6.as_ref().map(|subnet| bollard::models::IpamConfig {
        subnet: Some(subnet.clone()),
        ..bollard::models::IpamConfig::default()
    });
    let ipv6 = spec.ipv6.is_some() || spec.subnet.as_ref().is_some_and(|subnet| subnet.contains(':'));
    let ranges: Vec<_> = range.into_iter().chain(second).collect();
    Ok(NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(spec.internal),
        enable_ipv6: ipv6.then_some(true),
        ipam: some(&ranges)
            .map(|ranges| bollard::models::Ipam { config: Some(ranges), ..bollard::models::Ipam::default() }),
        options: Some(HashMap::from([(BRIDGE_OPTION.to_owned(), bridge_of(name))])),
        labels: Some(HashMap::from([
            (NETWORK_LABEL.to_owned(), name.to_owned()),
            (SPEC_LABEL.to_owned(), stamp(&spec.fixed())?),
        ])),
        ..NetworkCreateRequest::default()
    })
}

/// Returns the volume to make for a manifest, stamped with its name. What else the manifest asks can change later and
/// is seen on the directory itself.
pub(super) fn volume(name: &str, spec: &VolumeSpec) -> VolumeCreateRequest {
    let bind = |path: String| {
        let options = [("type", "none".to_owned()), ("o", "bind".to_owned()), ("device", path)];
        options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver: Some("local".to_owned()),
        driver_opts: spec.plain_path().map(bind),
        labels: Some(HashMap::from([(VOLUME_LABEL.to_owned(), name.to_owned())])),
        ..VolumeCreateRequest::default()
    }
}

fn stamp<T: Serialize>(spec: &T) -> Result<String, HostError> {
    serde_json::to_string(spec)
        .map_err(|error| HostError::new(Reason::Refused, format!("The spec can't be written: {error}")))
}

/// Returns the list unless it is empty, for then the image's own, or the engine's, is meant.
pub(super) fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
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
        serde_json::to_value(body("web", &spec, None, &vault, variables).unwrap_or_else(|_| unreachable!()))
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
            "workingDir": "/app", "hostname": "here", "aliases": ["www"], "groups": ["44"], "dns": ["1.1.1.1"],
            "extraHosts": { "nas": "10.0.0.5", "me": "host-gateway" }, "sysctls": { "net.core.somaxconn": "9" },
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
        assert_eq!(body["NetworkingConfig"]["EndpointsConfig"]["apps"]["Aliases"], json!(["web", "www"]));
        assert_eq!((&body["WorkingDir"], &body["Hostname"]), (&json!("/app"), &json!("here")));
        assert_eq!(host["ExtraHosts"], json!(["me:host-gateway", "nas:10.0.0.5"]));
        assert_eq!((&host["GroupAdd"], &host["Dns"]), (&json!(["44"]), &json!(["1.1.1.1"])));
        assert_eq!(host["Sysctls"]["net.core.somaxconn"], "9");
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
