//! The API as Kubernetes clients see it: discovery, and kubectl itself where there is one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

#[path = "support/skip.rs"]
mod skip;
#[path = "api/support.rs"]
mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use piccolo_schema::Role;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use skip::skipped;
use support::House;

#[tokio::test]
async fn clients_find_the_kinds() {
    let house = House::open().await;
    for path in [
        "/version",
        "/api",
        "/api/v1",
        "/api/v1/events",
        "/apis",
        "/apis/piccolo.os",
        "/apis/piccolo.os/v1alpha1",
        "/openapi.json",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/apis/piccolo.os/v1alpha1",
    ] {
        assert_eq!(house.get(path).await.status, 200, "{path}");
    }
    let resources = house.get("/apis/piccolo.os/v1alpha1").await.json();
    let names: Vec<_> = resources["resources"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(
        names,
        [
            "secrets",
            "secrets/status",
            "configsources",
            "configsources/status",
            "hosts",
            "hosts/status",
            "firewalls",
            "firewalls/status",
            "links",
            "links/status",
            "images",
            "images/status",
            "networks",
            "networks/status",
            "disks",
            "disks/status",
            "installs",
            "installs/status",
            "volumes",
            "volumes/status",
            "containers",
            "containers/status"
        ]
        .map(|it| json!(it))
    );
    let document = house.get("/openapi/v3/apis/piccolo.os/v1alpha1").await.json();
    let model = &document["components"]["schemas"]["Container"];
    assert_eq!(model["x-kubernetes-group-version-kind"][0]["kind"], "Container");
    let review = json!({ "spec": {} }).to_string();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(house.send("POST", path, &[], review).await.json()["status"]["allowed"], true);
}

#[tokio::test]
async fn programs_are_told_what_to_say_where_something_is_erased() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();
    for (path, needed) in [
        ("/disks/tickets", json!(["disk", "serial"])),
        ("/install", json!(["select"])),
        ("/disks/state/replace", json!(["select"])),
        ("/install/tickets", json!(["disk", "serial"])),
        ("/reset", json!(["ticket"])),
        ("/reset/tickets", json!(["machine", "data"])),
    ] {
        let post = &document["paths"][path]["post"];
        let schema = &post["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!((&schema["required"], &post["x-piccolo-role"]), (&needed, &json!("admin")), "{path}");
    }
    let data = &document["paths"]["/reset/tickets"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
        ["data"]["oneOf"];
    assert_eq!(data[0]["enum"], json!(["keep"]));
    assert_eq!(data[1]["properties"]["erase"]["items"]["required"], json!(["disk", "serial"]));
}

struct Kubectl {
    house: House,
    access: [String; 3],
    _stop: tokio_util::sync::DropGuard,
}

impl Kubectl {
    async fn open() -> Option<Self> {
        if !is_here().await {
            skipped("there is no kubectl of 1.27 or later on the PATH");
            return None;
        }
        let house = House::open().await;
        let (address, stop) = house.serve();
        let authority = house.dir.path().join("ca.pem");
        fs::write(&authority, house.plate.pem.as_bytes()).unwrap();
        let access = [
            format!("--server=https://{address}"),
            format!("--certificate-authority={}", authority.display()),
            format!("--token={}", house.token(Role::Operator)),
        ];
        Some(Self { house, access, _stop: stop })
    }

    fn command(&self, args: &[&str]) -> Command {
        let home = self.house.dir.path();
        let mut command = Command::new("kubectl");
        command.args(&self.access).arg("--cache-dir").arg(home.join("cache")).args(args);
        command.env("HOME", home).env("KUBECONFIG", "/dev/null").env_remove("http_proxy").env("NO_PROXY", "*");
        command
    }

    async fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().await.unwrap()
    }

    async fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "kubectl {args:?}: {out}{err}");
        out
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.house.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Older ones read descriptions of the kinds in another form, so that they explain and compare nothing.
async fn is_here() -> bool {
    let asked = Command::new("kubectl").args(["version", "--client", "--output=json"]).output().await;
    let told: serde_json::Value = asked.ok().and_then(|it| serde_json::from_slice(&it.stdout).ok()).unwrap_or_default();
    told["clientVersion"]["minor"]
        .as_str()
        .and_then(|it| it.trim_end_matches('+').parse().ok())
        .is_some_and(|minor: u32| minor >= 27)
}

const YAML: &str = "\
apiVersion: piccolo.os/v1alpha1
kind: Container
metadata: { name: web, labels: { tier: front } }
spec: { image: 'nginx:1.27' }
";

#[tokio::test]
async fn kubectl_does_what_it_does_elsewhere() {
    let Some(kubectl) = Kubectl::open().await else { return };
    let file = kubectl.file("web.yaml", YAML);
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert_eq!(kubectl.ok(&["apply", "-f", &file]).await, "container.piccolo.os/web created\n");
    assert_eq!(kubectl.ok(&["apply", "-f", &file]).await, "container.piccolo.os/web unchanged\n");
    let table = words(kubectl.ok(&["get", "containers", "-o", "wide"]).await);
    assert!(
        table.starts_with("NAME READY STATE IMAGE UPDATE REASON AGE web True running nginx:1.27 Running"),
        "{table}"
    );
    assert!(words(kubectl.ok(&["get", "ct", "web"]).await).starts_with("NAME READY STATE IMAGE AGE web True"));
    assert_eq!(kubectl.ok(&["get", "all", "-l", "tier=front", "-o", "name"]).await, "container.piccolo.os/web\n");
    kubectl.ok(&["patch", "ct", "web", "--type=merge", "-p", r#"{"spec":{"memory":"64Mi"}}"#]).await;
    kubectl.ok(&["label", "ct", "web", "a=b"]).await;
    let newer = kubectl.file("web.yaml", &YAML.replace("1.27", "1.28"));
    let diff = kubectl.run(&["diff", "-f", &newer]).await;
    assert!(String::from_utf8_lossy(&diff.stdout).contains("+  image: nginx:1.28"), "{diff:?}");
    assert_eq!(
        kubectl.ok(&["apply", "--server-side", "--force-conflicts", "-f", &newer]).await,
        "container.piccolo.os/web serverside-applied\n"
    );
    assert_eq!(kubectl.ok(&["get", "ct", "web", "-o", "jsonpath={.spec.image}"]).await, "nginx:1.28");
    kubectl.ok(&["wait", "--for=condition=Ready", "ct/web", "--timeout=10s"]).await;
    assert!(kubectl.ok(&["explain", "container.spec.ports"]).await.contains("containerPort"));
    let described = kubectl.ok(&["describe", "ct", "web"]).await;
    assert!(described.contains("ManifestAccepted"), "{described}");
    assert_eq!(kubectl.ok(&["auth", "can-i", "create", "containers"]).await, "yes\n");
    kubectl.ok(&["delete", "ct", "web", "--dry-run=server"]).await;
    assert!(kubectl.house.file("containers/web.toml").exists(), "a dry run removes nothing");
    assert_eq!(kubectl.ok(&["delete", "ct", "web", "--timeout=10s"]).await, "container.piccolo.os \"web\" deleted\n");
    assert!(!kubectl.house.file("containers/web.toml").exists());
}

#[tokio::test]
async fn kubectl_prints_every_mistake() {
    let Some(kubectl) = Kubectl::open().await else { return };
    let file = kubectl.file("web.yaml", &YAML.replace("image:", "imagee: 1, memory:"));
    let output = kubectl.run(&["create", "-f", &file, "--validate=false"]).await;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for word in ["spec.imagee", "PIC0002", "spec.memory", "image"] {
        assert!(words.contains(word), "{words}");
    }
    let missing = kubectl.run(&["get", "ct", "nobody"]).await;
    let words = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(words.contains("containers.piccolo.os \"nobody\" not found"), "{words}");
}

#[tokio::test]
async fn kubectl_prints_conflicts_with_other_manifests() {
    let Some(kubectl) = Kubectl::open().await else { return };
    let port = YAML.replace("1.27'", "1.27', ports: [{ hostPort: 80, containerPort: 80 }]");
    kubectl.ok(&["apply", "-f", &kubectl.file("web.yaml", &port)]).await;
    let second = kubectl.run(&["apply", "-f", &kubectl.file("db.yaml", &port.replace("name: web", "name: db"))]).await;
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success(), "{words}");
    assert!(words.starts_with("Warning: PIC0043: ") && words.contains("containers/db.toml:"), "{words}");
}

#[tokio::test]
async fn kubectl_edits_what_the_file_of_piccolo_leads_to() {
    let Some(kubectl) = Kubectl::open().await else { return };
    let dir = kubectl.house.dir.path();
    let config = dir.join("kubeconfig");
    let token = dir.join("token");
    fs::write(&token, kubectl.house.token(Role::Operator)).unwrap();
    let address = kubectl.house.plate.listen.unwrap().to_string();
    let print = kubectl.house.plate.print.unwrap().to_string();
    let piccolo = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
        command.env("XDG_CONFIG_HOME", dir.join("settings")).env_remove("PICCOLO_HOST").args(args);
        command
    };
    let add = ["context", "add", &address, "--fingerprint", &print, "--token-file", token.to_str().unwrap()];
    let added = piccolo(&add).output().await.unwrap();
    assert!(added.status.success(), "{added:?}");
    let written = piccolo(&["kubeconfig", "--out", config.to_str().unwrap()]).output().await.unwrap();
    assert!(written.status.success(), "{written:?}");
    let again = piccolo(&["kubeconfig", "--out", config.to_str().unwrap()]).output().await.unwrap();
    assert!(!again.status.success(), "nothing is written over");
    kubectl.house.put_web().await;
    let mut edit = Command::new("kubectl");
    edit.arg("--kubeconfig").arg(&config).arg("--cache-dir").arg(dir.join("cache")).args(["edit", "container", "web"]);
    edit.env("HOME", dir)
        .env("KUBE_EDITOR", "sed -i s/nginx:1.27/nginx:1.29/")
        .env_remove("http_proxy")
        .env("NO_PROXY", "*");
    let edited = edit.output().await.unwrap();
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(kubectl.house.read("containers/web.toml"), support::WEB.replace("1.27", "1.29"));
}

#[tokio::test]
async fn kubectl_watches() {
    let Some(kubectl) = Kubectl::open().await else { return };
    kubectl.house.put_web().await;
    let mut command = kubectl.command(&["get", "ct", "-w"]);
    let mut watching = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut rows = BufReader::new(watching.stdout.take().unwrap()).lines();
    let seen = async {
        assert!(rows.next_line().await.unwrap().unwrap().starts_with("NAME"));
        assert!(rows.next_line().await.unwrap().unwrap().starts_with("web "));
        kubectl.ok(&["create", "-f", &kubectl.file("db.yaml", &YAML.replace("web", "db"))]).await;
        while !rows.next_line().await.unwrap().unwrap().starts_with("db ") {}
    };
    timeout(Duration::from_secs(60), seen).await.unwrap();
}
