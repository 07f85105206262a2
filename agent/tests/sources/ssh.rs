//! A repository behind a real server of ssh, on loopback.
#![allow(clippy::print_stderr, reason = "a test that can't be run says so")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::scene::{Scene, container};

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
            eprintln!("not run: there is no {program}");
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
