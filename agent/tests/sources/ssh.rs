//! A repository behind a real server of ssh, on loopback.
#![allow(clippy::print_stderr, reason = "a test that can't be run says so")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{IpAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use piccolo_agent::sources::{OnTrial, Trials};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    scene::{Scene, container},
    skip::skipped,
};

/// A server that lets in who has the key `client`.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts it; none if there is no such program here.
    fn start(scene: &Scene) -> Option<Self> {
        let program = env::var("SSHD").unwrap_or_else(|_| "/usr/sbin/sshd".to_owned());
        if !Path::new(&program).exists() {
            skipped(format_args!("there is no {program}"));
            return None;
        }
        // The server wants to give up its rights in here; as nobody but root it does not.
        let _ = fs::create_dir_all("/run/sshd");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin yes\n",
            scene.place("host").display(),
            scene.place("client.pub").display()
        );
        let file = scene.place("sshd.conf");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(&file).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut all) = (String::new(), String::new());
        while !line.contains("Server listening") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "{all}");
            all.push_str(&line);
        }
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let url = format!("ssh://{}@127.0.0.1:{port}{}", user.trim(), scene.remote().display());
        Some(Self { child, url })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn over_ssh_only_who_is_known_is_asked() {
    let mut scene = Scene::new().await;
    let (host, _) = (scene.ssh_key("host"), scene.ssh_key("client"));
    let (other, _) = (scene.ssh_key("other"), scene.ssh_key("unknown"));
    let Some(server) = Server::start(&scene) else { return };
    scene.commit(&[("web.toml", &container("web", "x:1"))]);
    let asks = |host: &str, secret: &str| format!("hostKeys = [\"{host}\"]\ncredentials = {{ secret = \"{secret}\" }}");

    scene.ask_at(&server.url, &asks(&other.public, "client")).await;
    let (reason, message) = scene.waiting().await.unwrap();
    assert!(reason == "Unreachable" && message.contains("none of the keys in `hostKeys`"), "{reason} {message}");
    scene.ask_at(&server.url, &asks(&host.public, "unknown")).await;
    let (reason, message) = scene.waiting().await.unwrap();
    assert!(reason == "Unreachable" && message.contains("Permission denied"), "{reason} {message}");
    assert_eq!(scene.files(), ["home.toml"]);

    scene.ask_at(&server.url, &asks(&host.public, "client")).await;
    assert_eq!(scene.waiting().await, None);
    scene.take().await.unwrap();
    assert!(scene.read("sources/home/web.toml").contains("x:1"));
    assert!(scene.state("home.ssh").exists() && scene.state("home.hosts").exists());

    fs::remove_file(scene.file("home.toml")).unwrap();
    scene.until_forgotten().await;
    assert!(!scene.state("home.ssh").exists() && !scene.state("home.hosts").exists());
}

/// Links whose change is on trial until somebody confirms it.
#[derive(Default)]
struct Tried {
    on: Mutex<Option<OnTrial>>,
    begun: Notify,
    looks: watch::Sender<u32>,
    /// Whether the next look fails.
    blind: AtomicBool,
    confirmed: Mutex<Vec<(String, Vec<IpAddr>)>>,
}

impl Tried {
    fn begin(&self, id: &str, link: &str, in_force: bool) {
        let links = [link.to_owned()].into();
        *self.on.lock().unwrap() = Some(OnTrial { id: id.to_owned(), links, in_force });
        self.begun.notify_one();
    }

    /// Waits until it was looked at so often again.
    async fn looked(&self, times: u32) {
        let mut looks = self.looks.subscribe();
        let from = *looks.borrow();
        let enough = looks.wait_for(|it| *it >= from + times);
        tokio::time::timeout(Duration::from_secs(30), enough).await.unwrap().unwrap();
    }
}

impl Trials for Tried {
    fn begins(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.begun.notified())
    }

    fn seen(&self) -> BoxFuture<'_, Result<Option<OnTrial>, String>> {
        self.looks.send_modify(|it| *it += 1);
        let seen = if self.blind.swap(false, Ordering::Relaxed) { Err("x".to_owned()) } else { Ok(()) };
        Box::pin(async { seen.map(|()| self.on.lock().unwrap().clone()) })
    }

    fn confirm<'a>(&'a self, trial: &'a str, _: Instant, at: &'a [IpAddr]) -> BoxFuture<'a, Result<(), String>> {
        self.confirmed.lock().unwrap().push((trial.to_owned(), at.to_vec()));
        *self.on.lock().unwrap() = None;
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn a_change_of_links_stays_once_the_repository_that_it_came_from_answers() {
    let mut scene = Scene::new().await;
    let (host, _) = (scene.ssh_key("host"), scene.ssh_key("client"));
    let Some(server) = Server::start(&scene) else { return };
    let link = |name: &str, address: &str| {
        format!(
            "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Link\"\nmetadata.name = \"{name}\"\n\n[spec]\n\
             match = {{ name = \"{name}\" }}\naddresses = [\"{address}/24\"]\n"
        )
    };
    scene.by_hand("own.toml", &link("own", "10.2.0.1"));
    scene.commit(&[("lan.toml", &link("lan", "10.1.0.1")), ("old.toml", &link("old", "10.3.0.1"))]);
    let more = format!("hostKeys = [\"{}\"]\ncredentials = {{ secret = \"client\" }}", host.public);
    scene.ask_at(&server.url, &more).await;
    scene.take().await.unwrap();
    let (tried, stop) = (Arc::new(Tried::default()), CancellationToken::new());
    let task = tokio::spawn(Arc::clone(&scene.puller).prove(tried.clone(), stop.clone()));
    let confirmed = || std::mem::take(&mut *tried.confirmed.lock().unwrap());

    // What is not in force yet is not asked for.
    tried.begin("net-1", "lan", false);
    tried.looked(1).await;
    assert_eq!(confirmed(), []);
    // Nor is one forgotten that can't be seen for once.
    tried.blind.store(true, Ordering::Relaxed);
    *tried.on.lock().unwrap() =
        Some(OnTrial { id: "net-1".to_owned(), links: ["lan".to_owned()].into(), in_force: true });
    tried.looked(3).await;
    assert_eq!(confirmed(), [("net-1".to_owned(), vec![IpAddr::from([127, 0, 0, 1])])]);

    // What a hand declared, or changed, is a person's to confirm.
    tried.begin("net-2", "own", true);
    tried.looked(2).await;
    scene.by_hand("sources/home/lan.toml", &link("lan", "10.9.0.1"));
    scene.manifests.look().await.unwrap();
    tried.begin("net-3", "lan", true);
    tried.looked(2).await;
    assert_eq!(confirmed(), []);
    *tried.on.lock().unwrap() = None;
    stop.cancel();
    task.await.unwrap();
}
