//! A machine without an engine, with a real daemon on it, and a person's clone of its repository.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
    version::TLS13,
};
use tempfile::TempDir;

/// A daemon on directories of its own, killed when this is dropped.
pub(crate) struct Machine {
    pub(crate) dir: TempDir,
    daemon: Option<Child>,
    pub(crate) address: SocketAddr,
    token: String,
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) well: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Machine {
    pub(crate) fn start() -> Self {
        let dir = TempDir::with_prefix("piccolo-push-").unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let mut machine = Self { dir, daemon: None, address: "127.0.0.1:0".parse().unwrap(), token: String::new() };
        machine.start_again();
        machine.token = machine.piccolo(&["token", "create", "anna", "--role", "admin"]).out.trim().to_owned();
        machine
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_piccolod"))
            .env("NO_COLOR", "1")
            .args(["--config-dir".as_ref(), path("etc").as_os_str(), "--state-dir".as_ref(), path("state").as_os_str()])
            .args(["--socket".as_ref(), self.socket().as_os_str()])
            .args([
                "--secrets-dir".as_ref(),
                path("secrets").as_os_str(),
                "--issue".as_ref(),
                path("issue").as_os_str(),
            ])
            .args(["--listen", "127.0.0.1:0", "--docker", &format!("unix://{}", path("no-engine.sock").display())])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(daemon.stderr.take().unwrap());
        let mut said = String::new();
        self.address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "{said}");
            if let Some((_, address)) = line.split_once("listen=Some(") {
                break address.split(')').next().unwrap().parse().unwrap();
            }
            said.push_str(&line);
        };
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        self.daemon = Some(daemon);
    }

    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("etc").join(name)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.dir.path().join("state/config.git")
    }

    pub(crate) fn url(&self) -> String {
        format!("https://git:{}@{}/git/config.git", self.token, self.address)
    }

    /// Clones the repository and returns the place of the clone.
    pub(crate) fn clone(&self, name: &str) -> Clone {
        let place = self.dir.path().join(name);
        let clone = Clone { home: self.dir.path().to_owned(), place, authority: self.authority() };
        fs::create_dir(&clone.place).unwrap();
        assert!(clone.git(&["clone", "--quiet", &self.url(), "."]).well);
        assert!(clone.git(&["symbolic-ref", "HEAD", "refs/heads/main"]).well);
        clone
    }

    /// Returns what the manifests and the repository are, byte for byte.
    pub(crate) fn state(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        read(&self.dir.path().join("etc"), &mut all);
        read(&self.repository(), &mut all);
        all
    }

    /// Returns the history, the newest revision first: author and message.
    pub(crate) fn history(&self) -> Vec<String> {
        let log = self.piccolo(&["history", "-n", "1000", "-o", "json"]);
        let page: serde_json::Value = serde_json::from_str(&log.out).unwrap();
        let items = page["items"].as_array().unwrap().iter();
        items.map(|it| format!("{}: {}", it["author"].as_str().unwrap(), it["message"].as_str().unwrap())).collect()
    }

    pub(crate) fn piccolo(&self, args: &[&str]) -> Said {
        let host = format!("unix://{}", self.socket().display());
        run(Command::new(env!("CARGO_BIN_EXE_piccolo")).args(["--host", &host]).args(args))
    }

    /// Returns the certificate by which the machine is known.
    fn authority(&self) -> PathBuf {
        self.dir.path().join("state/access/ca.pem")
    }

    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13]).unwrap();
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        StreamOwned::new(client, TcpStream::connect(self.address).unwrap())
    }

    /// Sends a request over TLS and returns all of the answer.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> String {
        let mut socket = self.connect();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Authorization: Bearer {}\r\nContent-Length: {length}\r\n\r\n",
            self.token
        );
        socket.write_all(head.as_bytes()).unwrap();
        // Who has heard enough answers before the end.
        let _ = socket.write_all(body);
        let mut answer = Vec::new();
        // Not by `socket` itself, which would first send what nobody takes any more.
        while socket.conn.read_tls(&mut socket.sock).is_ok_and(|length| length > 0) {
            let Ok(state) = socket.conn.process_new_packets() else { break };
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            socket.conn.reader().read_exact(&mut part).unwrap();
            answer.extend(part);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.kill();
        }
    }
}

/// A person's clone.
pub(crate) struct Clone {
    home: PathBuf,
    pub(crate) place: PathBuf,
    authority: PathBuf,
}

impl Clone {
    pub(crate) fn git(&self, args: &[&str]) -> Said {
        self.git_with(args, b"")
    }

    pub(crate) fn git_with(&self, args: &[&str], input: &[u8]) -> Said {
        let (well, out, err) = self.bytes(args, input);
        Said { well, out: String::from_utf8_lossy(&out).into_owned(), err }
    }

    /// The same for answers that are no text.
    pub(crate) fn bytes(&self, args: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &self.home).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_SSL_CAINFO", &self.authority);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Anna").env(format!("GIT_{role}_EMAIL"), "anna@example.org");
        }
        command.args(args).current_dir(&self.place);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        (output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs a command that must do well, and returns its line.
    pub(crate) fn line(&self, args: &[&str], input: &[u8]) -> String {
        let said = self.git_with(args, input);
        assert!(said.well, "{args:?}: {}", said.err);
        said.out.trim_end().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let file = self.place.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Makes a commit of all that is there.
    pub(crate) fn commit(&self, message: &str) {
        self.line(&["add", "--all"], b"");
        self.line(&["commit", "--quiet", "--message", message], b"");
    }

    pub(crate) fn push(&self, to: &str) -> Said {
        self.git(&["push", to, "HEAD:refs/heads/main"])
    }
}

/// Runs a program.
fn run(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { well: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn read(directory: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            read(&path, all);
            all.insert(path, b"directory".to_vec());
        } else if metadata.is_file() {
            let bytes = fs::read(&path).unwrap();
            all.insert(path, bytes);
        } else {
            all.insert(path, b"something else".to_vec());
        }
    }
}

/// A manifest.
pub(crate) fn container(name: &str, image: &str) -> String {
    format!(
        "# Mine.\napiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Container\"\nmetadata.name = \"{name}\"\nspec.image = \"{image}\"\n"
    )
}
