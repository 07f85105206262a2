//! A real daemon, the real command line, and a wire that is listened to.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

/// A machine that is nobody's yet, and the settings of a person elsewhere.
pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    daemon: Option<Child>,
    pub(crate) address: SocketAddr,
}

/// All that goes through a wire, both ways.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<Vec<u8>>>);

impl Scene {
    pub(crate) fn open() -> Self {
        let mut scene = Self::before();
        scene.start();
        scene
    }

    /// A machine that was not started yet.
    pub(crate) fn before() -> Self {
        let dir = TempDir::with_prefix("piccolo-claim-").unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        Self { dir, daemon: None, address: "127.0.0.1:0".parse().unwrap() }
    }

    pub(crate) fn start(&mut self) {
        let listen = self.address.to_string();
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_piccolod"));
        daemon.env("NO_COLOR", "1").env("RUST_LOG", "trace").args(["--listen", &listen]);
        for (flag, place) in [
            ("config-dir", "etc"),
            ("state-dir", "state"),
            ("socket", "api.sock"),
            ("secrets-dir", "secrets"),
            ("issue", "issue.d/it"),
            ("seed", "seed.toml"),
        ] {
            daemon.arg(format!("--{flag}")).arg(self.path(place));
        }
        daemon.args(["--docker", &format!("unix://{}", self.path("no-engine.sock").display())]);
        let mut daemon = daemon.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
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
        let rest = self.path("log");
        thread::spawn(move || std::io::copy(&mut log, &mut fs::File::create(rest).unwrap()));
        self.daemon = Some(daemon);
    }

    pub(crate) fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the command line as a person elsewhere.
    pub(crate) fn piccolo(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
        command.env("XDG_CONFIG_HOME", self.path("settings")).env_remove("PICCOLO_HOST").env_remove("PICCOLO_CONTEXT");
        command.args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the command line as root on the machine, and types this.
    pub(crate) fn type_as_root(&self, args: &[&str], typed: &str) -> Output {
        let host = format!("unix://{}", self.path("api.sock").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
        command.args(["--host", &host]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs the command line as root on the machine.
    pub(crate) fn root(&self, args: &[&str]) -> Output {
        let host = format!("unix://{}", self.path("api.sock").display());
        self.piccolo(&[&["--host", &host], args].concat())
    }

    /// Returns what follows a word on the machine's own screen.
    pub(crate) fn screen(&self, word: &str) -> String {
        let text = fs::read_to_string(self.path("issue.d/it")).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix(word).map(str::trim).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {word}: {text}"))
    }

    /// Shows a token in one of the ways in which people do, right or wrong.
    pub(crate) fn show(&self, token: &str, way: usize, is_right: bool, said: &mut String) {
        let basic = data_encoding::BASE64.encode(format!("anna:{token}").as_bytes());
        let swapped = data_encoding::BASE64.encode(format!("{token}:").as_bytes());
        let header = match way % 5 {
            0 => format!("Authorization: Bearer {token}\r\n"),
            1 => format!("Authorization: Basic {basic}\r\n"),
            2 => format!("Authorization: Basic {swapped}\r\n"),
            3 => format!("Cookie: token={token}\r\nX-Api-Key: {token}\r\n"),
            _ => format!("Authorization: {token}\r\n"),
        };
        let path = if way.is_multiple_of(2) { "/whoami".to_owned() } else { format!("/plan?token={token}") };
        let answer = self.asks("GET", &path, &header);
        assert_eq!(answer.starts_with("HTTP/1.1 200"), is_right && way % 5 < 2, "{way}: {answer}");
        said.push_str(&answer);
        said.push_str(&self.asks("POST", &format!("/claim?token={token}"), &header));
    }

    /// Asks over the network, without looking at whom.
    pub(crate) fn asks(&self, method: &str, path: &str, headers: &str) -> String {
        let url = format!("https://{}{path}", self.address);
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--insecure",
            "--include",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--request",
            method,
            &url,
        ]);
        for header in headers.lines() {
            curl.args(["--header", header]);
        }
        String::from_utf8_lossy(&curl.output().unwrap().stdout).into_owned()
    }

    /// Sends JSON over the network, without looking to whom.
    pub(crate) fn sends(&self, path: &str, body: &str) -> String {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--include", "--max-time", "20", "--noproxy", "*", "--data", body]);
        curl.args(["--header", "content-type: application/json", &format!("https://{}{path}", self.address)]);
        String::from_utf8_lossy(&curl.output().unwrap().stdout).into_owned()
    }

    /// Returns where something stands in all that the daemon keeps and logs.
    pub(crate) fn keeps(&self, secret: &str) -> String {
        let found =
            Command::new("grep").args(["-rF", "-e", secret, "state", "log"]).current_dir(self.dir.path()).output();
        words(&found.unwrap())
    }

    pub(crate) fn token(&self) -> String {
        let settings = fs::read_to_string(self.path("settings/piccolo/contexts.toml")).unwrap();
        settings.lines().find_map(|it| it.strip_prefix("token = ")).unwrap().trim_matches('"').to_owned()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.stop();
        }
    }
}

impl Wire {
    /// Leads to a place, and returns where it begins.
    pub(crate) fn to(&self, place: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, wire) = (listener.local_addr().unwrap(), self.clone());
        thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let there = TcpStream::connect(place).unwrap();
                let (back, forth) = ((there.try_clone().unwrap(), here.try_clone().unwrap()), (here, there));
                for (from, to) in [back, forth] {
                    let wire = wire.clone();
                    thread::spawn(move || wire.carry(from, to));
                }
            }
        });
        address
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut part) {
            self.0.lock().unwrap().extend(&part[..length]);
            if to.write_all(&part[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    }

    pub(crate) fn holds(&self, secret: &str) -> bool {
        self.0.lock().unwrap().windows(secret.len()).any(|it| it == secret.as_bytes())
    }
}

pub(crate) fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
