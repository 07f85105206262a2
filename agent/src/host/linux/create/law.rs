//! The law of captures: a container made for a spec, inspected and read again, has the same spec.

use piccolo_schema::{Container, Declared, parse};
use proptest::{option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    capture::{Captured, Found, Machine, container},
    foreign::Draft,
    host::linux::vault::Variables,
};

const ID: &str = "4f6bd5a2c1e04f6bd5a2c1e04f6bd5a2c1e04f6bd5a2c1e04f6bd5a2c1e01234";

/// A field of a spec that may be there, in the form in which it comes back.
type Field = BoxedStrategy<Option<(String, Value)>>;

fn field(key: &'static str, value: impl Strategy<Value = Value> + 'static) -> Field {
    option::weighted(0.3, value.prop_map(move |value| (key.to_owned(), value))).boxed()
}

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    select(values).prop_map(Value::from)
}

fn some_of(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::sample::subsequence(values, 1..=values.len()).prop_map(|all| json!(all))
}

fn text() -> impl Strategy<Value = String> {
    "[^\0]{1,8}"
}

fn texts() -> impl Strategy<Value = Value> {
    proptest::collection::vec(text(), 1..4).prop_map(|all| json!(all))
}

fn map(names: &'static str) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(names, text(), 1..4).prop_map(|all| json!(all))
}

fn number(range: std::ops::Range<u32>) -> impl Strategy<Value = Value> {
    range.prop_map(Value::from)
}

fn size(range: std::ops::Range<u32>) -> impl Strategy<Value = Value> {
    range.prop_map(|mega| format!("{mega}Mi").into())
}

fn yes() -> impl Strategy<Value = Value> {
    Just(json!(true))
}

fn fields() -> Vec<Field> {
    vec![
        field("command", texts()),
        field("entrypoint", texts()),
        field("workingDir", one_of(&["/app"])),
        field("env", map("[A-Z_]{1,6}")),
        field("labels", map("[a-z.]{1,8}")),
        field("memory", size(6..9000)),
        field("swap", size(1..9000)),
        field("cpus", (1..400_u32).prop_map(|cpus| json!(f64::from(cpus) / 100.0))),
        field("cpuset", one_of(&["0", "0-3,5"])),
        field("pids", number(1..4000)),
        field("ioWeight", number(10..1000)),
        field("storage", size(1..9000)),
        field("shmSize", size(65..9000)),
        field("stopSignal", one_of(&["SIGINT", "SIGRTMIN+3"])),
        field("stopGracePeriod", (1..59_u32).prop_map(|seconds| format!("{seconds}s").into())),
        field("user", one_of(&["1000", "app:app"])),
        field("groups", some_of(&["44", "video"])),
        field("hostname", one_of(&["here", "a.b"])),
        field("init", yes()),
        field("readOnlyRoot", yes()),
        field("privileged", yes()),
        field("allowNewPrivileges", yes()),
        field("hostPid", yes()),
        field("hostIpc", yes()),
        field("dns", some_of(&["1.1.1.1", "fd00::1"])),
        field("extraHosts", Just(json!({ "nas": "192.168.1.5", "me": "host-gateway" }))),
        field("sysctls", Just(json!({ "kernel.msgmax": "9000" }))),
        field("gpus", prop_oneof![Just(json!(["all"])), Just(json!(["0", "GPU-1"]))]),
        field("network", one_of(&["apps", "Shop_default", "host", "none"])),
        field("moreNetworks", some_of(&["lan", "wan"])),
        field("aliases", some_of(&["db", "www"])),
        field("ports", ports()),
        field("mounts", mounts()),
        field("tmpfs", Just(json!([{ "path": "/run" }, { "path": "/tmp", "size": "64Mi" }]))),
        field(
            "devices",
            Just(json!([{ "hostPath": "/dev/dri", "readOnly": true }, { "hostPath": "/dev/a", "path": "/dev/b" }])),
        ),
        field("ulimits", Just(json!({ "core": { "soft": -1 }, "nofile": { "soft": 10, "hard": 20 } }))),
        field("capabilities", capabilities()),
        field("healthCheck", health()),
        field("log", logs()),
    ]
}

fn ports() -> impl Strategy<Value = Value> {
    let port = (1..4_u16, select(&["tcp", "udp"]), option::of(select(&["127.0.0.1", "::1"])));
    proptest::collection::btree_map(1..60_u16, port, 1..4).prop_map(|all| {
        let written = |(host, (inner, protocol, ip)): (u16, (u16, &str, Option<&str>))| {
            let mut port = json!({ "hostPort": host, "containerPort": inner, "protocol": protocol });
            if let Some(ip) = ip {
                port["hostIp"] = ip.into();
            }
            port
        };
        all.into_iter().map(written).collect()
    })
}

fn mounts() -> impl Strategy<Value = Value> {
    let all = vec![
        json!({ "path": "/config", "hostPath": "/srv/config", "readOnly": true }),
        json!({ "path": "/data", "volume": "data" }),
        json!({ "path": "/old", "volume": ID }),
        json!({ "path": "/var/run/docker.sock", "hostPath": "/var/run/docker.sock" }),
    ];
    proptest::sample::subsequence(all, 1..=4).prop_map(Value::from)
}

fn capabilities() -> impl Strategy<Value = Value> {
    (some_of(&["NET_ADMIN", "NET_RAW", "SYS_ADMIN"]), some_of(&["ALL", "CHOWN"]), 0..3_u8).prop_map(
        |(add, drop, which)| match which {
            0 => json!({ "add": add }),
            1 => json!({ "drop": drop }),
            _ => json!({ "add": add, "drop": drop }),
        },
    )
}

fn health() -> impl Strategy<Value = Value> {
    let times = option::of(select(&["5s", "1m30s", "250ms"]));
    (texts(), times.clone(), times, option::of(1..9_u16)).prop_map(|(command, interval, timeout, retries)| {
        let all = json!({ "command": command, "onUnhealthy": "none", "interval": interval, "timeout": timeout, "retries": retries });
        all.as_object().into_iter().flatten().filter(|(_, it)| !it.is_null()).map(|(key, it)| (key.clone(), it.clone())).collect()
    })
}

fn logs() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({ "driver": "local" })),
        Just(json!({ "maxSize": "1Mi" })),
        Just(json!({ "driver": "journald", "options": { "tag": "web" } })),
        Just(json!({ "driver": "none" })),
        Just(json!({ "maxFiles": 9, "options": { "compress": "true" } })),
    ]
}

fn spec() -> impl Strategy<Value = Map<String, Value>> {
    (fields(), select(&["no", "onFailure", "always"])).prop_map(|(fields, restart)| {
        let mut spec: Map<String, Value> = fields.into_iter().flatten().collect();
        let drop = |spec: &mut Map<String, Value>, keys: &[&str]| keys.iter().for_each(|key| drop(spec.remove(*key)));
        match spec.get("network").and_then(Value::as_str) {
            None => drop(&mut spec, &["moreNetworks", "aliases"]),
            Some("host" | "none") => drop(&mut spec, &["moreNetworks", "aliases", "ports"]),
            Some(_) => {}
        }
        if !spec.contains_key("memory") {
            drop(&mut spec, &["swap"]);
        }
        if spec.contains_key("privileged") {
            // It has all rights anyway.
            drop(&mut spec, &["allowNewPrivileges"]);
        }
        let mut draft = Draft::default();
        draft.spec = spec;
        draft.put("image", "shop/app:1");
        draft.put("restart", restart);
        draft.grant("it");
        draft.spec
    })
}

fn image() -> Value {
    json!({ "Id": "sha256:1", "RepoTags": ["shop/app:1"], "Config": {
        "Cmd": ["the image's own"], "Entrypoint": ["/its/program"], "Env": ["PATH=/bin"], "User": "image",
        "WorkingDir": "/its", "Labels": { "org.maker": "image" }, "StopSignal": "SIGQUIT",
    } })
}

/// What an engine makes of a request: the image fills in what is left open, and the engine the rest.
fn inspection(spec: &ContainerSpec) -> Value {
    let vault = Vault::new("/run/secrets".into(), Err("not used".to_owned()));
    let variables = Variables { lines: Vec::new(), digests: Default::default() };
    let made = body("web", spec, None, &vault, variables).unwrap_or_else(|error| unreachable!("{error}"));
    let mut config = serde_json::to_value(made).unwrap_or_default();
    let mut host = config["HostConfig"].take();
    let aliases = config["NetworkingConfig"].take()["EndpointsConfig"].take();
    let image = image()["Config"].take();
    let own_program = !config["Entrypoint"].is_null();
    for key in ["Cmd", "Entrypoint", "WorkingDir", "User", "StopSignal"] {
        if config[key].is_null() && !(key == "Cmd" && own_program) {
            config[key] = image[key].clone();
        }
    }
    let mut env = image["Env"].clone();
    env.as_array_mut().into_iter().for_each(|env| env.extend(config["Env"].as_array().into_iter().flatten().cloned()));
    config["Env"] = env;
    config["Labels"]["org.maker"] = "image".into();
    if config["Hostname"].is_null() {
        config["Hostname"] = if host["NetworkMode"] == "host" { "pi" } else { &ID[..12] }.into();
    }
    for (key, value) in
        [("ShmSize", json!(64 << 20)), ("IpcMode", json!("private")), ("CgroupnsMode", json!("private"))]
    {
        if host[key].is_null() {
            host[key] = value;
        }
    }
    let mount = |it: &Value| {
        let kind = if it["Type"] == "bind" { "Source" } else { "Name" };
        json!({ "Type": it["Type"], kind: it["Source"], "Destination": it["Target"], "RW": it["ReadOnly"] != true, "Mode": "" })
    };
    let mounts: Vec<Value> = host["Mounts"].as_array().into_iter().flatten().map(mount).collect();
    let mode = host["NetworkMode"].as_str().unwrap_or_default().to_owned();
    let mut networks = json!({ &mode: { "Aliases": aliases[&mode]["Aliases"], "IPAMConfig": {} } });
    for network in &spec.more_networks {
        networks[network] = json!({ "Aliases": endpoint("web", spec).aliases });
    }
    json!({
        "Id": ID, "Name": "/web", "Image": "sha256:1", "Config": config, "HostConfig": host, "Mounts": mounts,
        "NetworkSettings": { "Networks": networks, "Ports": {} },
    })
}

fn captured(spec: &ContainerSpec) -> Captured {
    let machine = Machine { name: "pi".to_owned(), cgroups: "private".to_owned() };
    let found = Found { images: [("sha256:1".to_owned(), image())].into(), machine, ..Found::default() };
    container(&inspection(spec), &found)
}

/// The order of lists means nothing to the engine, and it does not keep it.
fn sorted(spec: &ContainerSpec) -> Value {
    let mut spec = serde_json::to_value(spec).unwrap_or_default();
    for key in ["ports", "mounts", "tmpfs", "grants"] {
        if let Some(all) = spec[key].as_array_mut() {
            all.sort_by_key(Value::to_string);
        }
    }
    for key in ["add", "drop"] {
        if let Some(all) = spec["capabilities"][key].as_array_mut() {
            all.sort_by_key(Value::to_string);
        }
    }
    spec
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_container_of_ours_is_captured_as_its_manifest(spec in spec()) {
        let spec: ContainerSpec = serde_json::from_value(spec.into()).unwrap_or_else(|error| unreachable!("{error}"));
        let captured = captured(&spec);
        prop_assert_eq!(captured.losses().collect::<Vec<_>>(), Vec::<String>::new());
        let text = captured.manifest.map(|it| it.text).unwrap_or_default();
        let manifest = parse::parse(&text).unwrap_or_else(|it| unreachable!("{text}\n{:?}", it.diagnostics));
        let read = Container::of(&manifest).unwrap_or_else(|| unreachable!());
        prop_assert_eq!(sorted(&read.spec), sorted(&spec), "{}", text);
    }
}
