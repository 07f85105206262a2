//! A machine that is reached from beside it, over the link that is changed: a real daemon, a real systemd-networkd and a
//! neighbour in another network namespace. Skipped, and said, where these can't be had.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test says what is wrong, or that it was skipped, and runs real programs"
)]

#[path = "support/skip.rs"]
mod skip;

use skip::skipped;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Says that the test runs within its house.
const WITHIN: &str = "PICCOLO_TEST_HOUSE";
/// Says what the neighbour serves.
const SERVES: &str = "PICCOLO_TEST_SERVES";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(80);
const UNIT: &str = "/etc/systemd/network/10-piccolo-lan.network";
const SPARE: &str = "/etc/systemd/network/10-piccolo-spare.network";

#[test]
fn whoever_changes_the_way_confirms_it_by_being_answered() {
    within("whoever_changes_the_way_confirms_it_by_being_answered", || {
        let machine = Machine::start(&lan("10.9.0.1", ""));
        machine.claim();
        // A second way out. What is gone is gone, and is confirmed, also where the rest of the command fails.
        let spare = lan("10.8.0.1", "").replace("name = \"lan\"", "name = \"spare\"");
        let spare = spare.replace("00:00:00:00", "00:00:00:01").replace("10.9.0.254\"", "10.8.0.254\", metric = 900");
        fs::write(machine.etc("spare.toml"), spare).unwrap();
        machine.until("the second way", || machine.piccolo(&["net"]).contains("0.0.0.0/0 via 10.8.0.254"));
        machine.until("its being settled", || machine.piccolo(&["get", "link", "spare"]).contains("True"));
        let ran = machine.neighbour(&["delete", "link/spare", "link/none"]);
        assert!(ran.0.starts_with("link/spare deleted\nlink/spare stays: "), "{}{}", ran.0, ran.1);
        assert!(ran.1.contains("\"none\" not found"), "{}", ran.1);
        assert!(machine.piccolo(&["net", "-o", "json"]).contains("\"trial\": null") && !Path::new(SPARE).exists());
        // The address that it was reached at goes, and the command finds the machine at the new one.
        fs::write(machine.house.join("lan.toml"), lan("10.9.0.2", "")).unwrap();
        let begun = Instant::now();
        let ran = machine.neighbour(&["apply", "-f", "lan.toml"]);
        assert!(ran.0.starts_with("link/lan changed\nlink/lan stays: "), "{}{}", ran.0, ran.1);
        eprintln!("confirmed by the command itself after {:?}", begun.elapsed());
        let net = machine.piccolo(&["net", "-o", "json"]);
        assert!(net.contains("10.9.0.2/24") && net.contains("\"trial\": null"), "{net}");
        assert!(!machine.house.join("timer").exists());
        // Who asks at the machine itself proves nothing, and is told so.
        fs::write(machine.house.join("lan.toml"), lan("10.9.0.2", "mtu = 1400")).unwrap();
        let ran = machine.run(&["apply", "-f", "lan.toml"]);
        assert!(ran.1.contains("link/lan is on trial") && ran.1.contains("proves nothing"), "{}", ran.1);
        machine.until("the trial", || machine.piccolo(&["net", "-o", "json"]).contains("\"id\": \"net-"));
        let ran = machine.piccolo(&["net", "confirm"]);
        assert_eq!(ran, "the links stay as they are now\n");
    });
}

#[test]
fn a_link_that_is_cut_by_its_change_is_back_at_once() {
    within("a_link_that_is_cut_by_its_change_is_back_at_once", || {
        // No way leads out, and nobody is connected: whoever is near may come by it.
        let machine = Machine::start(&near("10.9.0.1", ""));
        let before = fs::read_to_string(UNIT).unwrap();
        fs::write(machine.etc("lan.toml"), near("10.9.0.3", "mtu = 1400")).unwrap();
        machine.until("the change", || fs::read_to_string(UNIT).is_ok_and(|it| it.contains("10.9.0.3")));
        machine.until("its being in force", || machine.piccolo(&["net"]).contains("10.9.0.3/24"));
        let begun = Instant::now();
        machine.beside(&["ip", "link", "set", "far0", "down"]);
        machine.until("what was before", || fs::read_to_string(UNIT).is_ok_and(|it| it == before));
        eprintln!("put back {:?} after the cut", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(70), "the timer alone put it back");
        machine.beside(&["ip", "link", "set", "far0", "up"]);
        machine.until("what it says", || {
            machine.piccolo(&["get", "link", "lan", "-o", "json"]).contains("there is nothing at the other end")
        });
        machine.until("the address of before", || machine.piccolo(&["net"]).contains("10.9.0.1/24"));
    });
}

#[test]
fn a_repository_that_answers_again_confirms_what_came_from_it() {
    if let Some(root) = std::env::var_os(SERVES) {
        return serve(Path::new(&root));
    }
    within("a_repository_that_answers_again_confirms_what_came_from_it", || {
        let machine = Machine::start("");
        let work = machine.house.join("work");
        fs::create_dir(&work).unwrap();
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        let key = machine.house.join("key").display().to_string();
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "a", "-f", &key]).status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(format!("{key}.pub")).unwrap();
        let sign = format!("user.signingKey={key}");
        let save = |text: &str| {
            fs::write(work.join("lan.toml"), text).unwrap();
            git(&work, &["add", "."]);
            let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "gpg.format=ssh", "-c", &sign];
            git(&work, &[&who[..], &["commit", "--quiet", "-S", "--message=x"]].concat());
            git(&work, &["update-server-info"]);
        };
        save(&lan("10.9.0.1", ""));
        let mut server = machine.neighbours(std::env::current_exe().unwrap().to_str().unwrap());
        server.args(["--exact", "a_repository_that_answers_again_confirms_what_came_from_it", "--nocapture"]);
        let _server = Kept(server.env(SERVES, work.join(".git")).stdout(Stdio::null()).spawn().unwrap());
        let source = format!(
            "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"ConfigSource\"\nmetadata.name = \"home\"\n\n[spec]\n\
             url = \"http://10.9.0.254:8000/\"\ninterval = \"1m\"\nsigners = [\"{}\"]\n",
            public.trim()
        );
        fs::write(machine.etc("home.toml"), source).unwrap();
        machine.until("the first revision", || fs::read_to_string(UNIT).is_ok_and(|it| it.contains("10.9.0.1")));
        machine.until("the first confirmation", || machine.piccolo(&["net", "-o", "json"]).contains("\"trial\": null"));
        machine.until("its way out", || machine.piccolo(&["net"]).contains("0.0.0.0/0 via 10.9.0.254"));
        save(&lan("10.9.0.4", ""));
        machine.piccolo(&["pull", "home"]);
        machine.until("the second revision", || fs::read_to_string(UNIT).is_ok_and(|it| it.contains("10.9.0.4")));
        let net = || machine.piccolo(&["net", "-o", "json"]);
        let begun = Instant::now();
        machine.until("its confirmation", || net().contains("\"trial\": null"));
        eprintln!("confirmed by the repository after {:?}", begun.elapsed());
        assert!(net().contains("10.9.0.4/24") && net().contains("\"refused\": {}"), "{}\n{}", net(), machine.log());
        machine
            .until("what it says of it", || machine.log().contains("the repository answers with the change of links"));
    });
}

/// The link with a way to everywhere.
fn lan(address: &str, more: &str) -> String {
    near(address, &format!("routes = [{{ to = \"0.0.0.0/0\", via = \"10.9.0.254\" }}]\n{more}"))
}

/// The link without one.
fn near(address: &str, more: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Link\"\nmetadata.name = \"lan\"\n\n[spec]\n\
         match = {{ mac = \"52:54:00:00:00:00\" }}\naddresses = [\"{address}/24\"]\nacceptRA = false\n{more}\n"
    )
}

/// Runs a test in a house of its own.
fn within(name: &str, story: impl FnOnce()) {
    if std::env::var_os(WITHIN).is_some() {
        return story();
    }
    let has = |path: &str| Path::new(path).exists();
    let is_root = fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    if !is_root || !has("/lib/systemd/systemd-networkd") || !has("/usr/bin/dbus-daemon") {
        skipped("it takes root, systemd-networkd and dbus-daemon");
        return;
    }
    let house = tempfile::TempDir::new().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networkd/house.sh");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "bash"]).arg(script).arg(house.path()).arg(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(WITHIN, house.path()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if words.contains("Operation not permitted") && words.contains("unshare") {
        skipped("no namespace can be made here");
        return;
    }
    assert!(output.status.success(), "{}\n{words}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{words}");
}

/// A process that ends with its owner.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A machine, and a neighbour at the other end of its link.
struct Machine {
    house: PathBuf,
    peer: Kept,
    daemon: Kept,
}

impl Machine {
    /// Starts a daemon with this Link, if it is one, and waits until the machine has it.
    fn start(link: &str) -> Self {
        let house = PathBuf::from(std::env::var_os(WITHIN).unwrap());
        let peer = Kept(Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap());
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let pid = peer.0.id().to_string();
        let begun = Instant::now();
        while namespace(&pid).is_none() || namespace(&pid) == namespace("self") {
            assert!(begun.elapsed() < PATIENCE);
            sleep(Duration::from_millis(5));
        }
        ip(&format!("link set far0 netns {pid}"));
        fs::create_dir(house.join("etc")).unwrap();
        // The daemon knows its own addresses from the start on, and others some seconds after they are there.
        ip("addr add 10.9.0.1/24 dev lan0");
        ip("link set lan0 up");
        if !link.is_empty() {
            fs::write(house.join("etc/lan.toml"), link).unwrap();
        }
        let path = format!("{}/tests/networkd/bin:{}", env!("CARGO_MANIFEST_DIR"), std::env::var("PATH").unwrap());
        let daemon = Command::new(env!("CARGO_BIN_EXE_piccolod"))
            .args(["--config-dir".as_ref(), house.join("etc").as_os_str()])
            .args(["--state-dir".as_ref(), house.join("state").as_os_str()])
            .args(["--socket".as_ref(), house.join("api.sock").as_os_str()])
            .args(["--issue".as_ref(), house.join("issue").as_os_str()])
            .args(["--listen", "0.0.0.0:8080", "--docker", "unix:///nowhere/docker.sock", "--tcti", "none"])
            .env("PATH", path)
            .env("HOUSE", &house)
            .stderr(fs::File::create(house.join("log")).unwrap())
            .spawn()
            .unwrap();
        let machine = Self { house, peer, daemon: Kept(daemon) };
        machine.beside(&["ip", "addr", "add", "10.9.0.254/24", "dev", "far0"]);
        machine.beside(&["ip", "link", "set", "far0", "up"]);
        machine.until("the API", || machine.run(&["net"]).0.contains("lan0"));
        if !link.is_empty() {
            let is_way_out = || machine.piccolo(&["net"]).contains("0.0.0.0/0 via 10.9.0.254");
            machine.until("the link", || !link.contains("routes") || is_way_out());
            machine.until("the first look", || machine.piccolo(&["get", "link", "lan"]).contains("True"));
            // It had an address from a hand before, so that its first Link is on trial.
            assert_eq!(machine.piccolo(&["net", "confirm"]), "the links stay as they are now\n");
        }
        machine
    }

    fn etc(&self, file: &str) -> PathBuf {
        self.house.join("etc").join(file)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.house.join("log")).unwrap_or_default()
    }

    /// Prepares a program of the neighbour.
    fn neighbours(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.peer.0.id())).args(["--", program]);
        command.current_dir(&self.house).env("HOME", &self.house).env_remove("PICCOLO_HOST");
        command
    }

    fn beside(&self, words: &[&str]) {
        let output = self.neighbours(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs the command line of the neighbour, who knows the machine by its address.
    fn neighbour(&self, words: &[&str]) -> (String, String) {
        told(&self.neighbours(env!("CARGO_BIN_EXE_piccolo")).args(words).output().unwrap())
    }

    /// Runs the command line at the machine itself.
    fn run(&self, words: &[&str]) -> (String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
        command.arg("--host").arg(format!("unix://{}", self.house.join("api.sock").display()));
        told(&command.args(words).current_dir(&self.house).env("HOME", &self.house).output().unwrap())
    }

    fn piccolo(&self, words: &[&str]) -> String {
        self.run(words).0
    }

    fn claim(&self) {
        let shown = self.piccolo(&["claim", "--show"]);
        let word = |name: &str| {
            let line = shown.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{shown}"));
            line.split_whitespace().next().unwrap().to_owned()
        };
        let (print, code) = (word("fingerprint"), word("code"));
        let words = ["claim", "10.9.0.1", "--fingerprint", &print, "--code", &code, "--name", "box", "--label", "a"];
        let ran = self.neighbour(&words);
        assert!(ran.1.contains("is yours"), "{}", ran.1);
    }

    /// Waits until something is so. What becomes of it is told by files and answers alone.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "{what}: {}\n{}", self.piccolo(&["net", "-o", "json"]), self.log());
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Stopped politely, it ends what it started.
        drop(Command::new("kill").arg(self.daemon.0.id().to_string()).status());
        drop(self.daemon.0.wait());
        let mut stop = Command::new(format!("{}/tests/networkd/bin/systemctl", env!("CARGO_MANIFEST_DIR")));
        drop(stop.arg("stop").env("HOUSE", &self.house).status());
    }
}

fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

fn git(directory: &Path, words: &[&str]) {
    let output = Command::new("git").args(words).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Serves the files of a repository, one request a connection, until it is killed.
fn serve(root: &Path) {
    let listener = TcpListener::bind("10.9.0.254:8000").unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
        let first = head.next().unwrap_or(Ok(String::new())).unwrap_or_default();
        while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
        let (status, body) = match fs::read(root.join(path.trim_start_matches('/'))) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // Who has gone away is no reason to stop.
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
    }
}
