//! Fifty values that must not be seen are driven through everything, and looked for in all that the daemon and the
//! command line say and keep.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Parser;
use piccolo_agent::{
    daemon::{self, Options},
    secrets::{Identity, Plain, seal},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

const PATIENCE: Duration = Duration::from_secs(60);
const BASE: &str = "/apis/piccolo.os/v1alpha1";
const HEAD: &str = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Secret\"\nmetadata.name = \"NAME\"\n";

/// Every value that must not be seen, and all that was seen.
struct Hunt {
    dir: TempDir,
    memory: TempDir,
    canaries: Vec<String>,
    heard: String,
}

/// What the daemon logs, at the finest grain.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Hunt {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let memory = TempDir::new_in("/dev/shm").unwrap();
        Self { dir, memory, canaries: Vec::new(), heard: String::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn options(&self) -> Options {
        let flag = |name: &str, path: PathBuf| [format!("--{name}"), path.display().to_string()];
        let mut words = vec!["piccolod".to_owned(), "--listen".to_owned(), "127.0.0.1:0".to_owned()];
        words.extend(flag("config-dir", self.path("etc")));
        words.extend(flag("state-dir", self.path("state")));
        words.extend(flag("socket", self.path("api.sock")));
        words.extend(flag("issue", self.path("issue")));
        words.extend(flag("secrets-dir", self.memory.path().join("secrets")));
        words.extend(["--docker".to_owned(), format!("unix://{}", self.path("no-engine.sock").display())]);
        Options::parse_from(words)
    }

    /// Returns a value that nobody may see.
    fn canary(&mut self) -> String {
        let canary = format!("canary{:02}x{:016x}", self.canaries.len(), fastrand::u64(..));
        self.canaries.push(canary.clone());
        canary
    }

    /// Runs the command line and listens to it.
    async fn run(&mut self, args: &[&str], input: &str) -> i32 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
        command.env("PICCOLO_HOST", format!("unix://{}", self.path("api.sock").display())).args(args);
        command.current_dir(self.dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        self.heard.push_str(&format!("$ piccolo {}\n{out}{err}", args.join(" ")));
        output.status.code().unwrap()
    }

    /// Asks the API and listens to the answer.
    async fn ask(&mut self, method: &str, path: &str, media: &str, body: &str) -> String {
        let socket = self.path("api.sock");
        let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer))
            .await
            .unwrap()
            .unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        self.heard.push_str(&format!("{method} {path}\n{answer}\n"));
        answer
    }

    async fn until(&mut self, path: &str, holds: impl Fn(&str) -> bool) {
        let wait = async {
            while !holds(&self.ask("GET", path, "", "").await) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{path} never came to be as expected: {}", self.heard);
        }
    }

    /// Values as they should be: encrypted by the command line, read from a pipe or a file.
    async fn set_as_one_should(&mut self) {
        for number in 0..16 {
            let (name, key, canary) = (format!("good{}", number / 4), format!("key{number}"), self.canary());
            let file = self.path("value");
            let code = if number % 2 == 0 {
                self.run(&["secret", "set", &name, &key], &format!("{canary}\n")).await
            } else {
                fs::write(&file, &canary).unwrap();
                let code = self.run(&["secret", "set", &name, &key, "--from", "value"], "").await;
                fs::remove_file(&file).unwrap();
                code
            };
            assert_eq!(code, 0, "{}", self.heard);
        }
    }

    /// Values for another machine, which this one can't read.
    async fn set_for_others(&mut self) {
        let other = Identity::generate().recipient().to_string();
        for number in 0..8 {
            let (key, canary) = (format!("key{number}"), self.canary());
            let code = self.run(&["secret", "set", "foreign", &key, "--recipient", &other], &canary).await;
            assert_eq!(code, 0, "{}", self.heard);
        }
    }

    /// Values in plain, in files, by every slip of the pen.
    async fn write_in_plain(&mut self) {
        let slips = [
            "[spec.data]\nkey = \"CANARY\"\n",
            "[spec.data]\nkey = CANARY\n",
            "[spec.data]\nkey = '''\nCANARY\n",
            "[spec.data]\nkey = \"\"\"\nCANARY\n\"\"\"\n",
            "[spec]\nkey = \"CANARY\"\n",
            "spec.data = \"CANARY\"\n",
            "spec.data.key = [\"CANARY\"]\n",
            "spec = { data = { key = \"CANARY\" } }\n",
            "[spec.data]\nkey = \"CANARY\" \"CANARY\"\n",
            "[spec.data]\nkey =\nCANARY\n",
            "[spec]\nrecipients = [\"CANARY\"]\n",
            "[spec.data]\nkey = '''\n-----BEGIN AGE ENCRYPTED FILE-----\nCANARY\n'''\n",
            "[spec.data]\nkey = \"CANARY\n[spec\n",
            "[data]\nkey = \"CANARY\"\n",
        ];
        for (number, slip) in slips.iter().enumerate() {
            let canary = self.canary();
            let text = format!("{HEAD}{slip}").replace("NAME", &format!("slip{number}")).replace("CANARY", &canary);
            fs::write(self.path(&format!("etc/slip{number}.toml")), &text).unwrap();
            fs::write(self.path("slip.toml"), &text).unwrap();
            assert_eq!(self.run(&["apply", "-f", "slip.toml"], "").await, 1, "{slip}");
            assert_eq!(self.run(&["validate", "slip.toml"], "").await, 1);
        }
        fs::remove_file(self.path("slip.toml")).unwrap();
    }

    /// Values in plain, sent to the API.
    async fn send_in_plain(&mut self) {
        let path = format!("{BASE}/secrets/sent");
        let head = json!({ "apiVersion": "piccolo.os/v1alpha1", "kind": "Secret", "metadata": { "name": "sent" } });
        for media in ["application/json", "application/yaml", "application/toml", "application/merge-patch+json"] {
            for wrong in [false, true] {
                let canary = self.canary();
                let mut tree = head.clone();
                tree["spec"] = if wrong { json!({ "data": canary }) } else { json!({ "data": { "key": canary } }) };
                let body = match media {
                    "application/toml" => format!("{HEAD}[spec.data]\nkey = \"{canary}\"\n").replace("NAME", "sent"),
                    "application/yaml" if wrong => format!("{tree}\n  {canary}: [{canary}\n"),
                    "application/json" if wrong => tree.to_string().replace("}}", &format!("}} {canary}")),
                    _ => tree.to_string(),
                };
                let method = if media.contains("patch") { "PATCH" } else { "PUT" };
                let answer = self.ask(method, &path, media, &body).await;
                assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
            }
        }
    }

    /// Values that take the place of others.
    async fn set_anew(&mut self) {
        for number in 0..4 {
            let (key, canary) = (format!("key{number}"), self.canary());
            assert_eq!(self.run(&["secret", "set", "good0", &key], &canary).await, 0);
        }
        let key = self.path("state/identity.age").display().to_string();
        assert_eq!(self.run(&["secret", "rotate", "good0", "--identity", &key], "").await, 0, "{}", self.heard);
        assert_eq!(self.run(&["secret", "rotate", "foreign", "--identity", &key], "").await, 1);
    }

    /// A container that is given some of them; there is no engine to make it, but it is planned and reported.
    async fn use_them(&mut self) {
        let text = format!(
            "{}[spec]\nimage = \"app:1\"\n[[spec.secrets]]\nsecret = \"good0\"\npath = \"/run/a\"\n[[spec.secrets]]\n\
             secret = \"good1\"\nkey = \"key4\"\nenv = \"PASSWORD\"\n",
            HEAD.replace("Secret", "Container").replace("NAME", "web")
        );
        fs::write(self.path("web.toml"), text).unwrap();
        assert_eq!(self.run(&["apply", "-f", "web.toml"], "").await, 0, "{}", self.heard);
        let text = format!(
            "{}[spec]\nmatch = {{ mac = \"52:54:00:00:00:99\" }}\nwifi = {{ ssid = \"attic\", psk = {{ secret = \"good0\", key \
             = \"key0\" }} }}\n",
            HEAD.replace("Secret", "Link").replace("NAME", "air")
        );
        fs::write(self.path("air.toml"), text).unwrap();
        assert_eq!(self.run(&["apply", "-f", "air.toml"], "").await, 0, "{}", self.heard);
    }

    /// Everything that can be asked.
    async fn listen(&mut self) {
        let paths = [
            "/plan",
            "/net",
            "/problems",
            "/journal?limit=1000",
            "/metrics",
            "/openapi.json",
            "/readyz?verbose",
            "/livez",
            "/recipient",
            "/version",
            "/api/v1/events",
            "/openapi/v3",
        ];
        let objects =
            ["", "/good0", "/good0/status", "/foreign", "/slip0", "/sent"].map(|it| format!("{BASE}/secrets{it}"));
        for path in paths.iter().map(|it| (*it).to_owned()).chain(objects).chain([format!("{BASE}/containers/web")]) {
            self.ask("GET", &path, "", "").await;
        }
        let commands: &[&[&str]] = &[
            &["status"],
            &["plan"],
            &["get"],
            &["get", "-o", "yaml"],
            &["get", "secrets", "-o", "wide"],
            &["describe", "secret", "good0"],
            &["describe", "secret", "foreign"],
            &["describe", "container", "web"],
            &["describe", "link", "air"],
            &["net"],
            &["events"],
            &["secret", "list"],
            &["secret", "recipient"],
            &["validate", "etc"],
        ];
        for command in commands {
            self.run(command, "").await;
        }
    }

    /// Fails if one of them was seen.
    fn is_clean(&self, what: &str, seen: &[u8]) {
        let text = String::from_utf8_lossy(seen);
        for canary in &self.canaries {
            if let Some(at) = text.find(canary.as_str()) {
                let around: String = text[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
                panic!("{canary} is in {what}, after:\n{around}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_values_are_seen_nowhere() {
    let mut hunt = Hunt::new();
    let log = Log::default();
    let filter = tracing_subscriber::EnvFilter::new("trace");
    tracing_subscriber::fmt().with_writer(log.clone()).with_env_filter(filter).with_ansi(false).init();
    let shutdown = CancellationToken::new();
    let daemon = tokio::spawn(daemon::run(hunt.options(), shutdown.clone()));
    while !hunt.path("api.sock").exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hunt.set_as_one_should().await;
    hunt.set_for_others().await;
    hunt.write_in_plain().await;
    hunt.send_in_plain().await;
    hunt.set_anew().await;
    hunt.use_them().await;
    assert!(hunt.canaries.len() >= 50, "{}", hunt.canaries.len());
    hunt.until(&format!("{BASE}/secrets/foreign"), |it| it.contains("\"Undecryptable\"")).await;
    hunt.until(&format!("{BASE}/secrets/good0"), |it| it.contains("\"Decrypted\"")).await;
    hunt.until("/plan", |it| !it.contains("good")).await;
    hunt.until("/problems", |it| it.contains("slip13")).await;
    hunt.listen().await;
    shutdown.cancel();
    daemon.await.unwrap().unwrap();

    // The hunt finds what is there: the values that are in force lie in memory, and nowhere else.
    let held = all_files(hunt.memory.path());
    let found: BTreeSet<&String> = hunt.canaries.iter().filter(|it| held.contains(it.as_str())).collect();
    assert_eq!(found.len(), 16);
    hunt.is_clean("what was answered or printed", hunt.heard.as_bytes());
    hunt.is_clean("the log", &log.0.lock().unwrap());
    assert!(String::from_utf8_lossy(&log.0.lock().unwrap()).contains("decrypt secret good0"), "the log is empty");
    hunt.is_clean("the state", all_files(&hunt.path("state")).as_bytes());
    for number in 0..4 {
        hunt.is_clean("a manifest", &fs::read(hunt.path(&format!("etc/secrets/good{number}.toml"))).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_used_stops_nothing_but_secrets() {
    let mut hunt = Hunt::new();
    let key = hunt.path("state/identity.age");
    fs::create_dir(hunt.path("state")).unwrap();
    fs::write(&key, "AGE-SECRET-KEY-1BROKEN\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let shutdown = CancellationToken::new();
    let daemon = tokio::spawn(daemon::run(hunt.options(), shutdown.clone()));
    while !hunt.path("api.sock").exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let canary = hunt.canary();
    assert_eq!(hunt.run(&["secret", "set", "db", "password"], &canary).await, 1);
    let recipient = Identity::generate().recipient().to_string();
    assert_eq!(hunt.run(&["secret", "set", "db", "password", "--recipient", &recipient], &canary).await, 0);
    hunt.until("/readyz?verbose", |it| it.contains("[-]key: ") && it.contains("holds no key")).await;
    hunt.until(&format!("{BASE}/secrets/db"), |it| it.contains("\"Undecryptable\"") && it.contains("holds no key"))
        .await;
    hunt.listen().await;
    shutdown.cancel();
    daemon.await.unwrap().unwrap();
    assert_eq!(fs::read_to_string(&key).unwrap(), "AGE-SECRET-KEY-1BROKEN\n");
    hunt.is_clean("what was answered or printed", hunt.heard.as_bytes());
    assert!(!hunt.heard.contains("KEY-1BROKEN"), "{}", hunt.heard);
}

#[test]
fn no_type_prints_a_value() {
    let identity = Identity::generate();
    let value = Plain::new(b"canary".to_vec());
    let armour = seal(&value, &[identity.recipient()]).unwrap();
    let vault = piccolo_agent::host::linux::Vault::new("/nowhere".into(), Ok(identity.clone()));
    let words = format!("{value:?} {identity:?} {vault:?} {:?} {armour}", identity.open(&armour));
    assert!(!words.contains("canary") && !words.contains("99, 97, 110"), "{words}");
    assert!(!words.contains("SECRET-KEY"), "{words}");
}

/// Returns all bytes of all files below a directory.
fn all_files(directory: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&all_files(&path));
        } else {
            all.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
    all
}
