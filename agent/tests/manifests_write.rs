//! Writing manifests: what is asked is written, and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test plays the person at the files")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use piccolo_agent::manifests::{Expect, Manifests, WriteError};
use piccolo_schema::{Kind, Manifest};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

fn manifest(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "piccolo.os/v1alpha1", "kind": "Container", "metadata": { "name": name }, "spec": spec })
}

fn etag(manifests: &Manifests, name: &str) -> String {
    manifests.snapshot().declared[&(Kind::Container, name.to_owned())].etag.clone()
}

fn spec(manifests: &Manifests, name: &str) -> Value {
    let snapshot = manifests.snapshot();
    match &*snapshot.declared[&(Kind::Container, name.to_owned())].manifest {
        Manifest::Container(it) => serde_json::to_value(&it.spec).unwrap(),
        _ => Value::Null,
    }
}

fn hidden(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

const WEB: &str = r#"# The house's web server.
apiVersion = "piccolo.os/v1alpha1" # the first version
kind = "Container"

[metadata]
name = "web"

[spec] # what it is
stopGracePeriod = "60s" # a minute
image = "a:1"   # pinned

command = [
    "serve", # the verb
    "--all",
]

# The ports.
[[spec.ports]]
containerPort = 80 # plain
hostPort = 8080

[[spec.ports]]
containerPort = 443
hostPort = 8443 # encrypted

[spec.env]
# Where it is.
TZ = 'Europe/Berlin'
"#;

async fn open_web() -> (TempDir, Manifests) {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("web.toml"), WEB).unwrap();
    let manifests = Manifests::open(root.path().to_owned()).await;
    (root, manifests)
}

#[tokio::test]
async fn only_what_differs_is_rewritten() {
    let (root, manifests) = open_web().await;
    let file = root.path().join("web.toml");
    let now = |edits: &[(&str, &str)]| {
        let expected = edits.iter().fold(WEB.to_owned(), |text, (old, new)| text.replace(old, new));
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    };
    let mut wanted = spec(&manifests, "web");
    assert!(!manifests.put(&manifest("web", &wanted), None).await.unwrap().created);
    now(&[]);

    wanted["image"] = json!("a:2");
    wanted["ports"][1]["hostPort"] = json!(9443);
    wanted["command"] = json!(["serve", "--all", "--loud"]);
    wanted["env"]["LANG"] = json!("C");
    let written = manifests.put(&manifest("web", &wanted), None).await.unwrap();
    let edits = [
        ("\"a:1\"", "\"a:2\""),
        ("8443", "9443"),
        ("    \"--all\",\n", "    \"--all\",\n    \"--loud\",\n"),
        ("Berlin'\n", "Berlin'\nLANG = \"C\"\n"),
    ];
    now(&edits);
    assert_eq!(etag(&manifests, "web"), written.etag);
    assert_eq!(spec(&manifests, "web"), wanted);
    assert_eq!(hidden(root.path()), [""; 0]);
}

#[tokio::test]
async fn lists_grow_and_shrink_without_losing_the_rest() {
    let (root, manifests) = open_web().await;
    let mut wanted = spec(&manifests, "web");
    wanted["ports"].as_array_mut().unwrap().push(json!({ "containerPort": 53, "hostPort": 53, "protocol": "udp" }));
    manifests.put(&manifest("web", &wanted), None).await.unwrap();
    let text = fs::read_to_string(root.path().join("web.toml")).unwrap();
    assert!(text.contains("containerPort = 80 # plain") && text.contains("hostPort = 8443 # encrypted"), "{text}");
    assert_eq!(spec(&manifests, "web"), wanted);
    wanted["ports"].as_array_mut().unwrap().remove(0);
    wanted["command"].as_array_mut().unwrap().remove(0);
    manifests.put(&manifest("web", &wanted), None).await.unwrap();
    let text = fs::read_to_string(root.path().join("web.toml")).unwrap();
    assert!(!text.contains("8080") && text.contains("hostPort = 8443 # encrypted"), "{text}");
    assert_eq!(spec(&manifests, "web"), wanted);
}

#[tokio::test]
async fn a_new_manifest_gets_a_file_and_loses_it_again() {
    let (root, manifests) = open_web().await;
    let written = manifests.put(&manifest("db", &json!({ "image": "d:1" })), Expect::Absent).await.unwrap();
    assert!(written.created);
    let file = root.path().join("containers/db.toml");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(etag(&manifests, "db"), written.etag);
    manifests.delete(Kind::Container, "db", Some(written.etag.as_str())).await.unwrap();
    assert!(!file.exists());
    let snapshot = manifests.snapshot();
    let gone = (Kind::Container, "db".to_owned());
    assert!(!snapshot.declared.contains_key(&gone) && snapshot.consented.contains(&gone));
    let again = manifests.delete(Kind::Container, "db", None).await;
    assert!(matches!(again, Err(WriteError::NotFound { .. })));
    manifests.put(&manifest("db", &json!({ "image": "d:1" })), None).await.unwrap();
    assert!(manifests.snapshot().consented.is_empty(), "declared again, the confirmation is spent");
}

#[tokio::test]
async fn a_text_is_kept_verbatim_and_must_be_what_it_says() {
    let (root, manifests) = open_web().await;
    let text = WEB.replace("a:1", "a:7").replace("# The house's", "# Our");
    manifests.put_text(Kind::Container, "web", &text, None).await.unwrap();
    assert_eq!(fs::read_to_string(root.path().join("web.toml")).unwrap(), text);
    let other = manifests.put_text(Kind::Container, "db", &text, None).await;
    assert!(matches!(other, Err(WriteError::Misdirected { .. })));
    let nonsense = manifests.put_text(Kind::Container, "web", "nonsense", None).await;
    assert!(matches!(nonsense, Err(WriteError::Invalid(_))));
}

#[tokio::test]
async fn what_was_changed_on_disk_is_not_overwritten() {
    let (root, manifests) = open_web().await;
    let read = etag(&manifests, "web");
    fs::write(root.path().join("web.toml"), WEB.replace("a:1", "a:9")).unwrap();
    let wanted = manifest("web", &json!({ "image": "a:2" }));
    let Err(WriteError::Conflict { current: Some(current) }) = manifests.put(&wanted, Some(read.as_str())).await else {
        panic!("a conflict was expected");
    };
    assert_ne!(current, read);
    let gone = manifests.delete(Kind::Container, "web", Some(read.as_str())).await;
    assert!(matches!(gone, Err(WriteError::Conflict { .. })));
    let made = manifests.put(&wanted, Expect::Absent).await;
    assert!(matches!(made, Err(WriteError::Conflict { .. })));
    let unknown = manifests.put(&manifest("no", &json!({ "image": "a:2" })), Some("*")).await;
    assert!(matches!(unknown, Err(WriteError::Conflict { current: None })));
    manifests.put(&wanted, Some(format!("\"{current}\"").as_str())).await.unwrap();
}

#[tokio::test]
async fn files_that_are_not_understood_are_not_touched() {
    let (root, manifests) = open_web().await;
    let wanted = manifest("web", &json!({ "image": "a:2" }));
    fs::write(root.path().join("web.toml"), "half").unwrap();
    assert!(matches!(manifests.put(&wanted, None).await, Err(WriteError::Broken { .. })));
    assert!(matches!(manifests.delete(Kind::Container, "web", None).await, Err(WriteError::Broken { .. })));
    fs::write(root.path().join("web.toml"), WEB).unwrap();
    fs::write(root.path().join("again.toml"), WEB).unwrap();
    assert!(matches!(manifests.put(&wanted, None).await, Err(WriteError::Duplicate { .. })));

    fs::create_dir(root.path().join("containers")).unwrap();
    let other = root.path().join("containers/db.toml");
    fs::write(&other, WEB.replace("\"web\"", "\"other\"")).unwrap();
    let occupied = manifests.put(&manifest("db", &json!({ "image": "d:1" })), None).await;
    assert!(matches!(occupied, Err(WriteError::Occupied { .. })));
    let outside = TempDir::new().unwrap();
    fs::remove_dir_all(root.path().join("containers")).unwrap();
    symlink(outside.path(), root.path().join("containers")).unwrap();
    let outside = manifests.put(&manifest("db", &json!({ "image": "d:1" })), None).await;
    assert!(matches!(outside, Err(WriteError::OutsideTree { .. })));
}

#[tokio::test]
async fn rights_stay_and_links_stay_links() {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join(".data")).unwrap();
    let real = root.path().join(".data/web.toml");
    fs::write(&real, WEB).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o604)).unwrap();
    symlink(".data/web.toml", root.path().join("web.toml")).unwrap();
    let manifests = Manifests::open(root.path().to_owned()).await;
    manifests.put(&manifest("web", &json!({ "image": "a:2" })), None).await.unwrap();
    assert!(fs::symlink_metadata(root.path().join("web.toml")).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o604);
    assert!(fs::read_to_string(&real).unwrap().contains("a:2"));
}

#[tokio::test]
async fn a_dropped_write_leaves_the_old_or_the_new() {
    let (root, manifests) = open_web().await;
    let file = root.path().join("web.toml");
    // A write that was begun goes on without us, so each of them may come to an end later.
    let mut whole = vec![WEB.to_owned()];
    for n in 0..100 {
        whole.push(WEB.replace("a:1", &format!("b:{n}")));
        let write = manifests.put_text(Kind::Container, "web", whole.last().unwrap(), None);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(n * 20), write).await;
        assert!(whole.contains(&fs::read_to_string(&file).unwrap()));
    }
    manifests.put_text(Kind::Container, "web", WEB, None).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), WEB);
    assert_eq!(hidden(root.path()), [""; 0]);
}

#[tokio::test]
async fn writes_at_once_are_all_kept() {
    let (_root, manifests) = open_web().await;
    let writes = (0..20).map(|n| {
        let manifests = manifests.clone();
        tokio::spawn(async move { manifests.put(&manifest(&format!("c{n}"), &json!({ "image": "a:1" })), None).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    assert_eq!(manifests.snapshot().declared.len(), 21);
}

#[tokio::test]
async fn what_a_killed_agent_left_is_tidied_up() {
    let (root, manifests) = open_web().await;
    drop(manifests);
    fs::write(root.path().join(".piccolo-write-1-web.toml"), "half").unwrap();
    Manifests::open(root.path().to_owned()).await;
    assert_eq!(hidden(root.path()), [""; 0]);
}

/// Scalar fields, by key, with a value in two spellings: as TOML and as JSON.
fn scalars() -> impl Strategy<Value = BTreeMap<&'static str, u8>> {
    let keys = ["image", "user", "stopSignal", "network", "memory", "stopGracePeriod", "pids", "init", "readOnlyRoot"];
    proptest::collection::btree_map(proptest::sample::select(keys.to_vec()), 0..4u8, 0..9)
}

fn scalar(key: &str, n: u8) -> (String, Value) {
    let spelt = |toml: &str, json: Value| (toml.to_owned(), json);
    match key {
        "pids" => spelt(&format!("1_00{n}"), json!(1000 + i64::from(n))),
        "init" | "readOnlyRoot" => spelt("true", json!(true)),
        "memory" => spelt(&format!("'{}Ki'", 1024 * (u32::from(n) + 8)), json!(format!("{}Mi", n + 8))),
        "stopGracePeriod" => spelt(&format!("\"{}s\"", 60 * (u32::from(n) + 1)), json!(format!("{}m", n + 1))),
        "stopSignal" => spelt(&format!("\"SIGRTMIN+{n}\""), json!(format!("SIGRTMIN+{n}"))),
        _ => spelt(&format!("'''x{n}'''"), json!(format!("x{n}"))),
    }
}

type Fields = (BTreeMap<&'static str, u8>, Vec<String>, BTreeMap<String, String>, Vec<(u16, u16)>);

fn fields() -> impl Strategy<Value = Fields> {
    let words = proptest::collection::vec("[a-z]{1,4}", 0..5);
    let env = proptest::collection::btree_map("[A-C]{1,2}", "[a-z \"#\n]{0,4}", 0..4);
    let ports = proptest::collection::btree_map(1..9u16, 1..9u16, 0..4);
    (scalars(), words, env, ports).prop_map(|(mut scalars, words, env, ports)| {
        // No two containers' ports lead from the same port of the machine.
        let ports = ports.into_iter().map(|(host, container)| (container, host)).collect();
        scalars.entry("image").or_insert(0);
        (scalars, words, env, ports)
    })
}

fn as_json((scalars, words, env, ports): &Fields) -> Value {
    let mut spec = json!({ "command": words, "env": env });
    spec["ports"] = ports.iter().map(|(c, h)| json!({ "containerPort": c, "hostPort": h })).collect();
    for (key, n) in scalars {
        spec[key] = scalar(key, *n).1;
    }
    spec
}

/// Writes the fields as no program would, a comment of its own on every line.
fn as_text((scalars, words, env, ports): &Fields) -> String {
    let mut text = "#:schema x\n kind=\"Container\" # k\napiVersion = 'piccolo.os/v1alpha1'\n\n[metadata]\nname = \"xx\"\n\n[ spec ] # s\n".to_owned();
    for (key, n) in scalars {
        text += &format!("  {key}   =  {} # about {key}\n\n", scalar(key, *n).0);
    }
    text += &format!("command = {} # about command\n", json!(words));
    for (n, (container, host)) in ports.iter().enumerate() {
        text += &format!("[[spec.ports]] # port {n}\ncontainerPort={container} # c {n}\nhostPort  = {host} # h {n}\n");
    }
    text += "[spec.env] # env\n";
    for (key, value) in env {
        text += &format!("{key}={} # about {key}\n", json!(value));
    }
    text
}

/// Returns the lines that must stay as they are.
fn untouched(old: &Fields, new: &Fields) -> Vec<String> {
    let mut lines = vec!["#:schema x".to_owned(), " kind=\"Container\" # k".to_owned(), "[ spec ] # s".to_owned()];
    for (key, n) in old.0.iter().filter(|(key, n)| new.0.get(*key).is_some_and(|m| scalar(key, *m) == scalar(key, **n)))
    {
        lines.push(format!("  {key}   =  {} # about {key}", scalar(key, *n).0));
    }
    if old.1 == new.1 {
        lines.push(format!("command = {} # about command", json!(old.1)));
    }
    if old.3.len() == new.3.len() {
        for (n, (old, new)) in old.3.iter().zip(&new.3).enumerate() {
            lines.extend((old.0 == new.0).then(|| format!("containerPort={} # c {n}", old.0)));
            lines.extend((old.1 == new.1).then(|| format!("hostPort  = {} # h {n}", old.1)));
        }
    }
    lines.extend((!new.2.is_empty() && !old.2.is_empty()).then(|| "[spec.env] # env".to_owned()));
    for (key, value) in old.2.iter().filter(|(key, value)| new.2.get(*key) == Some(value)) {
        lines.push(format!("{key}={} # about {key}", json!(value)));
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_edit_writes_what_is_asked_and_leaves_the_rest(old in fields(), new in fields()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let root = TempDir::new().unwrap();
            let file = root.path().join("x.toml");
            fs::write(&file, as_text(&old)).unwrap();
            let manifests = Manifests::open(root.path().to_owned()).await;
            assert!(manifests.snapshot().problems.is_empty(), "{:#?}\n{}", manifests.snapshot().problems, as_text(&old));
            manifests.put(&manifest("xx", &as_json(&new)), None).await.unwrap();
            let text = fs::read_to_string(&file).unwrap();
            let asked: piccolo_schema::ContainerSpec = serde_json::from_value(as_json(&new)).unwrap();
            assert_eq!(spec(&manifests, "xx"), serde_json::to_value(asked).unwrap(), "{text}");
            let mut rest = text.lines();
            for line in untouched(&old, &new) {
                assert!(rest.any(|it| it == line), "`{line}` is missing or out of order\n{}\n---\n{text}", as_text(&old));
            }
        });
    }
}
