//! Out and in again: a compose file that is made of manifests becomes the same manifests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test says what is wrong by panicking, and hands over what it wrote in place"
)]

use std::collections::BTreeMap;

use piccolo_agent::compose::{self, Imported, Source};
use piccolo_schema::{Manifest, parse};
use proptest::{collection::btree_map, collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

fn import(text: &str) -> Imported {
    let source = Source {
        text,
        directory: "/srv/shop",
        name: Some(String::new()),
        variables: BTreeMap::new(),
        profiles: Vec::new(),
        read: &|_| None,
    };
    compose::import(&source)
        .unwrap_or_else(|all| panic!("{text}\n{}", all.iter().map(|it| it.render("it")).collect::<String>()))
}

fn manifest(kind: &str, name: &str, spec: Value) -> Manifest {
    let whole =
        json!({ "apiVersion": "piccolo.os/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
    parse::parse_value(&whole).unwrap_or_else(|it| panic!("{whole:#}\n{:#?}", it.diagnostics))
}

/// Any text that can stand in a manifest, with what YAML and compose make much of.
fn text() -> impl Strategy<Value = String> {
    let traps = [
        "", "~", "null", "no", "1.10", "0x1f", "$A", "${A:-b}", "$$", "a: b", "- a", "# a", " a ", "\"", "'", "\\n",
        "*a", "!t", "é\n b\n", "{a}", "%",
    ];
    prop_oneof![
        select(traps.to_vec()).prop_map(str::to_owned),
        "[^\0\r\u{85}\u{2028}\u{2029}\u{feff}\\p{C}]{0,16}",
        "[a-z \n]{0,12}"
    ]
}

fn fields() -> impl Strategy<Value = Map<String, Value>> {
    let some = |field: &'static str, value: BoxedStrategy<Value>| option::of(value.prop_map(move |it| (field, it)));
    let texts = || vec(text(), 1..4).prop_map(|it| json!(it)).boxed();
    let size = || select(vec!["6Mi", "64Mi", "1Gi", "10000001", "7340033Ki"]).prop_map(|it| json!(it)).boxed();
    let on = || Just(json!(true)).boxed();
    let process = (
        some("command", texts()),
        some("entrypoint", vec("[a-z/$]{1,8}", 1..3).prop_map(|it| json!(it)).boxed()),
        some("workingDir", "/[a-z]{0,8}".prop_map(|it| json!(it)).boxed()),
        some("env", btree_map("[A-Za-z_.]{1,8}", text(), 1..4).prop_map(|it| json!(it)).boxed()),
        some("labels", btree_map("[a-z.]{1,8}", text(), 1..3).prop_map(|it| json!(it)).boxed()),
        some("restart", select(vec!["no", "onFailure", "always"]).prop_map(|it| json!(it)).boxed()),
        some("user", Just(json!("1000:1000")).boxed()),
        some("groups", Just(json!(["44", "video"])).boxed()),
        some("init", on()),
        some("readOnlyRoot", on()),
        some("running", Just(json!(false)).boxed()),
        some("stopGracePeriod", (0_u32..4_000).prop_map(|it| json!(format!("{}ms", it * 500))).boxed()),
    );
    let places = (
        some("ports", Just(json!([{ "hostPort": 53, "containerPort": 53, "protocol": "udp" },
            { "hostPort": 80, "containerPort": 8080, "hostIp": "127.0.0.1" }, { "hostPort": 81, "containerPort": 81, "hostIp": "::1" }])).boxed()),
        some("mounts", Just(json!([{ "path": "/a", "hostPath": "/srv/a:b", "readOnly": true },
            { "path": "/b", "volume": "data_1" }, { "path": "/c", "hostPath": "/srv/$x y", "readOnly": true }])).boxed()),
        some("tmpfs", Just(json!([{ "path": "/t", "size": "64Mi" }, { "path": "/u" }])).boxed()),
        some("devices", Just(json!([{ "hostPath": "/dev/serial/by-path/pci-0:1", "path": "/dev/tty0" }, { "hostPath": "/dev/sda", "readOnly": true }])).boxed()),
        some("extraHosts", Just(json!({ "nas": "10.0.0.1", "six": "fd00::1", "me": "host-gateway" })).boxed()),
        some("dns", Just(json!(["9.9.9.9", "fd00::53"])).boxed()),
        some("sysctls", Just(json!({ "net.core.somaxconn": "1024" })).boxed()),
        some("hostname", Just(json!("here")).boxed()),
        some("grants", Just(json!(["docker-socket", "system-capabilities"])).boxed()),
    );
    let limits = (
        some("memory", size()),
        some("cpus", (1_u32..400).prop_map(|it| json!(f64::from(it) / 100.0)).boxed()),
        some("cpuset", Just(json!("0-3,7")).boxed()),
        some("pids", (1_i64..1000).prop_map(|it| json!(it)).boxed()),
        some("ioWeight", (10_u16..1000).prop_map(|it| json!(it)).boxed()),
        some("storage", size()),
        some("shmSize", size()),
        some("ulimits", Just(json!({ "nofile": { "soft": 10, "hard": 20 }, "core": { "soft": -1 } })).boxed()),
        some("gpus", select(vec![json!(["all"]), json!(["0", "GPU-1f"])]).boxed()),
        some("log", select(vec![json!({ "driver": "journald" }), json!({ "driver": "json-file", "maxSize": "5Mi", "maxFiles": 2, "options": { "tag": "x" } })]).boxed()),
        some("healthCheck", texts().prop_map(|rest| json!({ "command": ["check", rest[0]], "interval": "1m5s", "retries": 4, "startPeriod": "500ms" })).boxed()),
        some("capabilities", Just(json!({ "add": ["NET_ADMIN", "SYS_ADMIN"], "drop": ["ALL"] })).boxed()),
    );
    (process, places, limits, any::<bool>()).prop_map(|(a, b, c, privileges)| {
        let all = [
            vec![a.0, a.1, a.2, a.3, a.4, a.5, a.6, a.7, a.8, a.9, a.10, a.11],
            vec![b.0, b.1, b.2, b.3, b.4, b.5, b.6, b.7],
            vec![c.0, c.1, c.2, c.3, c.4, c.5, c.6, c.7, c.8, c.9, c.10],
        ];
        let mut fields: Map<_, _> = all.into_iter().flatten().flatten().map(|(key, it)| (key.to_owned(), it)).collect();
        // A grant is said by what needs it, and by nothing else.
        if let Some(((grants, names), (capabilities, which))) = b.8.zip(c.11) {
            fields.insert(grants.to_owned(), json!([names[1]]));
            fields.insert(capabilities.to_owned(), which);
        }
        if privileges {
            if fields.contains_key("memory") {
                fields.insert("swap".to_owned(), json!("96Mi"));
            }
            fields.insert("allowNewPrivileges".to_owned(), json!(true));
        }
        fields
    })
}

fn shop() -> impl Strategy<Value = Vec<Manifest>> {
    let network = select(vec![
        json!({}),
        json!({ "internal": true }),
        json!({ "subnet": "172.30.0.0/24", "gateway": "172.30.0.1" }),
    ]);
    (fields(), fields(), network, 0..4_u8).prop_map(|(mut web, mut db, network, on)| {
        web.insert("image".to_owned(), json!("nginx:1.27"));
        db.insert(
            "image".to_owned(),
            json!("registry.lan:5000/db@sha256:905c4ee67b8e0aa955331960d2aa745781e6bd89afc44a8584bfd13bc890f0ae"),
        );
        web.insert("dependsOn".to_owned(), json!([{ "container": "db", "condition": "healthy" }]));
        if on > 0 {
            web.insert("network".to_owned(), json!("front"));
            web.insert("aliases".to_owned(), json!(["www", "W_1"]));
        }
        if on > 1 {
            web.insert("moreNetworks".to_owned(), json!(["back"]));
            db.insert("network".to_owned(), json!("back"));
        }
        if on > 2 {
            db.insert("network".to_owned(), json!("none"));
            db.remove("ports");
        }
        let mut all = vec![manifest("Container", "web", web.into()), manifest("Container", "db", db.into())];
        all.extend((on > 0).then(|| manifest("Network", "front", network)));
        all.extend((on > 1).then(|| manifest("Network", "back", json!({}))));
        all
    })
}

fn sorted(mut all: Vec<Manifest>) -> Vec<Manifest> {
    all.retain(|it| matches!(it, Manifest::Container(_) | Manifest::Network(_)));
    all.sort_by(|a, b| (a.kind(), a.name()).cmp(&(b.kind(), b.name())));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_both_can_say_survives_the_way_out_and_in(manifests in shop()) {
        let text = compose::export(&manifests).unwrap();
        let imported = import(&text);
        prop_assert!(!imported.report.is_lossy(), "{text}\n{:#?}", imported.report);
        let back = imported.manifests.iter().map(|it| parse::parse(&it.text).unwrap()).collect();
        prop_assert_eq!(sorted(back), sorted(manifests), "{}", text);
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC*|[ -~\n\t]*|(services:\n  [a-z]{1,3}:\n    (image|ports|volumes|env_file): ?[ -~]{0,20}\n)") {
        let source = Source { text: &text, directory: "/srv/x", name: None, variables: BTreeMap::new(), profiles: Vec::new(), read: &|_| None };
        match compose::import(&source) {
            Ok(imported) => prop_assert!(imported.manifests.iter().all(|it| parse::parse(&it.text).is_ok())),
            Err(mistakes) => prop_assert!(!mistakes.is_empty()),
        }
    }
}

#[test]
fn what_compose_cannot_say_is_a_comment() {
    let all = [
        manifest(
            "Container",
            "web",
            json!({
                "image": "nginx", "healthCheck": { "http": { "port": 80 } }, "restart": "always",
                "dependsOn": [{ "container": "gone" }], "grants": ["host-network"], "network": "host",
            }),
        ),
        manifest("Network", "apps", json!({ "subnet": "172.30.0.0/24" })),
    ];
    let wanted = "\
# container web: `grants` can't be said here
# container web: `healthCheck` restarts it when it is unhealthy; compose would not
# container web: `healthCheck` asks from outside of the container, which can't be said here
# container web: `dependsOn gone` is not in this file
services:
  web:
    container_name: web
    image: nginx
    restart: unless-stopped
    network_mode: host
    security_opt:
    - no-new-privileges:true
networks:
  apps:
    name: apps
    ipam:
      config:
      - subnet: 172.30.0.0/24
";
    assert_eq!(compose::export(&all).unwrap(), wanted);
}
