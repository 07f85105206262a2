use piccolo_schema::container::Grant;
use serde_json::{Map, Value as Json};

/// Returns the grants without which a container of this spec would be refused.
pub(crate) fn grants_needed(spec: &Map<String, Json>) -> Vec<Grant> {
    let on = |field: &str| spec.get(field).and_then(Json::as_bool) == Some(true);
    let host = spec.get("network").and_then(Json::as_str) == Some("host");
    let switches = [
        (on("privileged"), Grant::Privileged),
        (host, Grant::HostNetwork),
        (on("hostPid"), Grant::HostPid),
        (on("hostIpc"), Grant::HostIpc),
    ];
    let list = |value: Option<&Json>| value.and_then(Json::as_array).cloned().unwrap_or_default();
    let mut all: Vec<_> = switches.into_iter().filter_map(|(on, grant)| on.then_some(grant)).collect();
    for mount in list(spec.get("mounts")) {
        let read_only = mount["readOnly"].as_bool() == Some(true);
        all.extend(mount["hostPath"].as_str().and_then(|path| Grant::for_path(path, read_only)));
    }
    for name in list(spec.get("capabilities").and_then(|it| it.get("add"))) {
        all.extend(name.as_str().and_then(Grant::for_capability));
    }
    all.sort_unstable();
    all.dedup();
    all
}
