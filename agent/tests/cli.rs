//! The command line as a person and a script see it: output, errors, exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

#[path = "api/support.rs"]
mod support;

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

use piccolo_agent::{
    api,
    secrets::Identity,
    store::{Event, HeldView, PlanView, StepView, WaitingView},
};
use piccolo_schema::{Kind, Manifest, parse::parse};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixListener,
    process::Command,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use support::{House, WEB, step};

struct Machine {
    house: House,
    _stop: DropGuard,
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Machine {
    async fn open() -> Self {
        let house = House::open().await;
        let socket = UnixListener::bind(house.dir.path().join("api.sock")).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(api::serve(house.router.clone(), Some(socket), None, stop.clone()));
        Self { house, _stop: stop.drop_guard() }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[], "").await
    }

    async fn run_with(&self, args: &[&str], env: &[(&str, &str)], input: &str) -> Ran {
        let dir = self.house.dir.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
        command.env("PICCOLO_HOST", format!("unix://{}", dir.join("api.sock").display())).env("TMPDIR", dir);
        command.env_remove("EDITOR").env_remove("VISUAL").envs(env.iter().copied()).args(args).current_dir(dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let write = async move {
            // Commands that read nothing may have ended already.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        // Side by side: who prints while it reads would wait for us.
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        let output = output.unwrap();
        let clean = |bytes| {
            let text = String::from_utf8(bytes).unwrap().replace(dir.to_str().unwrap(), "DIR");
            // A busy machine takes a second.
            text.replace("  1s\n", "  0s\n").replace("declared 1s ago", "declared 0s ago").replace("\n1s   ", "\n0s   ")
        };
        Ran { code: output.status.code().unwrap(), out: clean(output.stdout), err: clean(output.stderr) }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.house.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Ran {
    #[track_caller]
    fn is(&self, code: i32, out: &str, err: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (code, out, err));
    }

    /// Compares a table of one row but for its last column, which is an age.
    fn lists(&self, table: &str) {
        let (rest, age) = self.out.trim_end().rsplit_once(' ').unwrap();
        assert!(self.code == 0 && rest == table && age.ends_with('s'), "{}{}", self.out, self.err);
    }
}

#[tokio::test]
async fn apply_keeps_the_text_and_says_what_happened() {
    let machine = Machine::open().await;
    machine.write("web.toml", WEB);
    machine.run(&["apply", "-f", "web.toml", "--wait"]).await.is(0, "container/web created\ncontainer/web ready\n", "");
    assert_eq!(machine.house.read("containers/web.toml"), WEB);
    machine.run(&["apply", "-f", "web.toml"]).await.is(0, "container/web unchanged\n", "");
    let newer = WEB.replace("1.27", "1.28");
    machine.run_with(&["apply", "-f", "-"], &[], &newer).await.is(0, "container/web changed\n", "");
    assert_eq!(machine.house.read("containers/web.toml"), newer);
    let plan = machine.run(&["apply", "-f", "web.toml", "--dry-run"]).await;
    plan.is(0, "+ create container `web`\n1 change(s).\n", "container/web:\n");
    assert_eq!(machine.house.read("containers/web.toml"), newer);
    machine.write("more/db.yaml", "ignored");
    machine.write("more/db.toml", &WEB.replace("\"web\"", "\"db\""));
    machine.run(&["apply", "-f", "more"]).await.is(0, "container/db created\n", "");
    machine.run(&["apply", "-f", "none.toml"]).await.is(3, "", "error: there is no file none.toml\n");
}

#[tokio::test]
async fn mistakes_are_shown_and_nothing_is_sent() {
    let machine = Machine::open().await;
    machine.write("all/bad.toml", &WEB.replace("image =", "imagee ="));
    machine.write("all/good.toml", WEB);
    let ran = machine.run(&["apply", "-f", "all"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("--> all/bad.toml:9:1") && ran.err.contains("PIC0002"), "{}", ran.err);
    assert!(ran.err.ends_with("mistake(s) in 1 file(s); nothing was sent\n"), "{}", ran.err);
    assert!(!machine.house.file("containers").exists());
    assert_eq!(machine.run(&["validate", "all"]).await.code, 1);
    machine.run(&["validate", "all/good.toml"]).await.is(0, "1 manifest(s) are valid\n", "");
    machine.write("all/bad.toml", WEB);
    let twice = machine.run(&["validate", "all"]).await;
    assert_eq!(twice.code, 1);
    let words = "error[PIC0012]: Container `web` is declared twice\n  --> all/good.toml:6:8\n 6 | name = \"web\"";
    assert!(twice.err.starts_with(words) && twice.err.contains("::: all/bad.toml:6:8\n"), "{}", twice.err);
}

#[tokio::test]
async fn conflicts_between_manifests_are_told_with_both_places() {
    let machine = Machine::open().await;
    let port = "ports = [{ hostPort = 80, containerPort = 80 }]\n";
    machine.write("all/db.toml", &(WEB.replace("\"web\"", "\"db\"") + port));
    machine.write("all/web.toml", &(WEB.to_owned() + port + "dependsOn = [{ container = \"db\" }]\n"));
    let ran = machine.run(&["validate", "all"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("--> all/web.toml:10:23") && ran.err.contains("::: all/db.toml:10:23"), "{}", ran.err);
    let clash = "warning: PIC0043: Containers `web` and `db` both ask for port 80 of the machine \
                 (containers/web.toml:10:23, containers/db.toml:10:23); give one of the two another `hostPort`, or bind \
                 them to different addresses\n";
    // In whatever order they come, each conflict is told once, and nothing is told to be missing that comes later.
    let apply = machine.run(&["apply", "-f", "all/web.toml", "-f", "all/db.toml"]).await;
    apply.is(0, "container/web created\ncontainer/db created\n", clash);
    machine.run(&["apply", "-f", "all/web.toml"]).await.is(0, "container/web unchanged\n", clash);
    let missing = "warning: PIC0042: there is no Container manifest `db` (containers/web.toml:11:28); add a Container \
                   manifest of this name, or correct the name\n";
    machine.run(&["delete", "ct/db"]).await.is(0, "container/db deleted\n", missing);
    machine.run(&["validate", "all/web.toml"]).await.is(0, "1 manifest(s) are valid\n", "");
}

#[tokio::test]
async fn get_prints_tables_and_documents() {
    let machine = Machine::open().await;
    let nothing = machine.run(&["get"]).await;
    nothing.is(0, "", "nothing is declared; `piccolo apply -f FILE` declares something\n");
    machine.house.put_web().await;
    let table = machine.run(&["get", "containers"]).await;
    table.is(0, "NAME  READY  STATE    IMAGE       AGE\nweb   True   running  nginx:1.27  0s\n", "");
    let wide = machine.run(&["get", "ct", "web", "-o", "wide"]).await;
    let lines = "NAME  READY  STATE    IMAGE       UPDATE  REASON   AGE\n\
                 web   True   running  nginx:1.27  -       Running  0s\n";
    wide.is(0, lines, "");
    machine.run(&["get", "ct/web", "-o", "name"]).await.is(0, "container/web\n", "");
    let json: Value = serde_json::from_str(&machine.run(&["get", "-o", "json"]).await.out).unwrap();
    assert_eq!(json["items"][0]["spec"]["image"], "nginx:1.27");
    let yaml = machine.run(&["get", "ct", "web", "-o", "yaml"]).await.out;
    assert!(yaml.starts_with("apiVersion: piccolo.os/v1alpha1\nkind: Container\nmetadata:\n  name: web\n"), "{yaml}");
    let near = "error: containers.piccolo.os \"wbe\" not found\n help: did you mean `web`?\n";
    machine.run(&["get", "container", "wbe"]).await.is(3, "", near);
    machine.run(&["get", "pod"]).await.is(
        2,
        "",
        "error: there is no kind `pod`; there are: secret, configsource, host, firewall, link, image, network, disk, install, volume, container\n",
    );
}

/// Answers one request with this, and returns what was asked for.
async fn answer(socket: &UnixListener, status: &str, body: &str) -> String {
    let (mut client, _) = socket.accept().await.unwrap();
    let (mut request, mut piece) = (String::new(), [0; 4096]);
    while !request.ends_with("\r\n\r\n") {
        let read = client.read(&mut piece).await.unwrap();
        assert!(read > 0, "{request}");
        request.push_str(str::from_utf8(&piece[..read]).unwrap());
    }
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    request.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_watch_that_the_machine_ends_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("api.sock");
    let socket = UnixListener::bind(&place).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
    command.env("PICCOLO_HOST", format!("unix://{}", place.display())).args(["get", "ct", "-w", "-o", "name"]);
    let ran = tokio::spawn(command.output());
    let change = |r#type: &str, name: &str, version: u8| {
        let metadata = json!({ "name": name, "resourceVersion": version.to_string() });
        json!({ "type": r#type, "object": { "kind": "Container", "metadata": metadata } }).to_string() + "\n"
    };
    let gone = json!({ "type": "about:blank", "status": 410, "detail": "too old" }).to_string();
    let first = answer(&socket, "200 OK", &(change("ADDED", "web", 5) + &change("ADDED", "db", 6))).await;
    assert!(first.ends_with("containers?&watch=true HTTP/1.1"), "{first}");
    assert!(answer(&socket, "200 OK", "").await.contains("&resourceVersion=6 "));
    assert!(answer(&socket, "200 OK", &change("MODIFIED", "db", 9)).await.contains("&resourceVersion=6 "));
    assert!(answer(&socket, "410 Gone", &gone).await.contains("&resourceVersion=9 "));
    let error = json!({ "type": "ERROR", "object": { "code": 410 } }).to_string() + "\n";
    assert!(!answer(&socket, "200 OK", &(change("ADDED", "new", 12) + &error)).await.contains("resourceVersion"));
    assert!(!answer(&socket, "410 Gone", &gone).await.contains("resourceVersion"));
    let output = ran.await.unwrap().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown, "container/web\ncontainer/db\ncontainer/db\ncontainer/new\n");
    assert_ne!(output.status.code(), Some(0), "what is refused at once is told");
}

#[tokio::test]
async fn delete_describe_and_events() {
    let machine = Machine::open().await;
    machine.house.put_web().await;
    let described = machine.run(&["describe", "ct/web"]).await;
    assert_eq!(described.code, 0, "{}", described.err);
    for line in
        ["Container web, generation 1, declared 0s ago\n", "spec\n  image: nginx:1.27\n", "Nothing to change.\n"]
    {
        assert!(described.out.contains(line), "{}", described.out);
    }
    let events = machine.run(&["events", "ct/web"]).await;
    let lines = "AGE  ABOUT          REASON            MESSAGE\n0s   container/web  ManifestAccepted  the manifest is accepted\n";
    events.is(0, lines, "");
    machine.run(&["delete", "container", "web"]).await.is(0, "container/web deleted\n", "");
    assert_eq!(machine.run(&["delete", "container", "web"]).await.code, 3);
    machine.run(&["delete", "web"]).await.is(2, "", "error: say which one: KIND NAME or KIND/NAME\n");
}

#[tokio::test]
async fn why_goes_from_the_condition_to_the_line_and_on_to_what_is_behind_it() {
    let machine = Machine::open().await;
    machine.house.put_web().await;
    let spec = "image = \"app:1\"\ndependsOn = [{ container = \"web\" }]";
    let app = WEB.replace("\"web\"", "\"app\"").replace("image = \"nginx:1.27\" # pinned", spec);
    let path = format!("{}/app", support::CONTAINERS);
    assert_eq!(machine.house.send("PUT", &path, &[("content-type", "application/toml")], app).await.status, 201);
    for (name, reason, message) in [
        ("app", "DependencyNotReady", "`web` is not running yet"),
        ("web", "ImagePullFailed", "There is no image `nginx:1.27`"),
    ] {
        let ready = json!({ "type": "Ready", "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": "then" });
        machine.house.writer.report(Kind::Container, name, json!({ "conditions": [ready] }));
    }
    let why = "\
Container app is not ready since then: DependencyNotReady
  `web` is not running yet
containers/app.toml, generation 1
  10  dependsOn = [{ container = \"web\" }]
plan
Nothing to change.
events
AGE  ABOUT          REASON            MESSAGE
0s   container/app  ManifestAccepted  the manifest is accepted

Container web is not ready since then: ImagePullFailed
  There is no image `nginx:1.27`
containers/web.toml, generation 1
   9  image = \"nginx:1.27\" # pinned
plan
Nothing to change.
events
AGE  ABOUT          REASON            MESSAGE
0s   container/web  ManifestAccepted  the manifest is accepted
";
    machine.run(&["why", "ct/app"]).await.is(0, why, "");
    machine.run(&["why", "ct/none"]).await.is(3, "", "error: containers.piccolo.os \"none\" not found\n");
}

#[tokio::test]
async fn the_plan_shows_danger_first_and_says_so_to_scripts() {
    let machine = Machine::open().await;
    machine.run(&["plan"]).await.is(0, "Nothing to change.\n", "");
    let removal = StepView { removal: true, disruption: "restarts db".into(), ..step("db", "remove container `db`") };
    let restart = StepView { disruption: "restarts api".into(), ..step("api", "stop api") };
    let loss = StepView { loses: Some("what it wrote".into()), ..step("api", "remove api") };
    let waiting =
        WaitingView { subject: "job".into(), reason: "DependencyNotReady".into(), message: "`db` is not up".into() };
    machine.house.writer.plan(
        Kind::Container,
        PlanView {
            unseen: None,
            kind: Kind::Container,
            steps: vec![step("web", "create container `web`"), restart, loss, removal],
            waiting: vec![waiting],
            held: Some(HeldView { id: "4f2a".into(), names: vec!["a".into(), "b".into()] }),
            complete: true,
        },
    );
    let plan = "\
- remove container `db`  [restarts db]
~ stop api  [restarts api]
~ remove api  [can't be undone: loses what it wrote]
+ create container `web`
… container job: `db` is not up (DependencyNotReady)
! held: the removal of 2 containers: a, b
  if that is meant: piccolo confirm 4f2a
4 change(s), 1 waiting.
";
    machine.run(&["plan"]).await.is(10, plan, "");
    machine.run(&["confirm", "4f2a"]).await.is(0, "container/a may be removed\ncontainer/b may be removed\n", "");
    let wrong = "error: nothing is held under `x`\n help: held are: 4f2a\n";
    machine.run(&["confirm", "x"]).await.is(3, "", wrong);
}

#[tokio::test]
async fn status_fits_one_screen() {
    let machine = Machine::open().await;
    machine.house.put_web().await;
    machine.house.writer.health("engine", false, "no engine answers");
    machine.house.writer.event(Event::new("Started", "the agent started"));
    let broken = WEB.replace("image =", "imagee =").replace("\"web\"", "\"db\"");
    fs::write(machine.house.file("db.toml"), broken).unwrap();
    while machine.house.manifests.snapshot().problems.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let status = machine.run(&["status"]).await;
    let begin = "\
piccolod 0.0.0-test at unix://DIR/api.sock: not ready
  [-]engine: no engine answers

KIND          DECLARED  READY  CHANGES  WAITING
Secret        0         0      0        0
ConfigSource  0         0      0        0
Host          0         0      0        0
Firewall      0         0      0        0
Link          0         0      0        0
Image         0         0      0        0
Network       0         0      0        0
Disk          0         0      0        0
Install       0         0      0        0
Volume        0         0      0        0
Container     1         1      0        0

! db.toml:9:1: ";
    assert_eq!((status.code, status.err.as_str()), (0, ""));
    assert!(status.out.starts_with(begin), "{}", status.out);
    assert!(status.out.lines().all(|line| line.chars().count() <= 100), "{}", status.out);
}

#[tokio::test]
async fn edit_keeps_comments_and_loses_nothing() {
    let machine = Machine::open().await;
    machine.house.put_web().await;
    let edit = ["edit", "container", "web"];
    machine.run_with(&edit, &[("EDITOR", "true")], "").await.is(0, "container/web unchanged\n", "");
    let ran = machine.run_with(&edit, &[("EDITOR", "sed -i s/1.27/1.28/")], "").await;
    ran.is(0, "container/web changed\n", "");
    assert_eq!(machine.house.read("containers/web.toml"), WEB.replace("1.27", "1.28"));
    let ran = machine.run_with(&edit, &[("EDITOR", "sed -i s/image/imagee/")], "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("your text is kept: mend it, then `piccolo apply -f DIR/piccolo-web-"), "{}", ran.err);
    let file = machine.house.file("containers/web.toml");
    let race = format!("echo '# mine' >> {}; sed -i s/1.28/1.29/", file.display());
    let ran = machine.run_with(&edit, &[("EDITOR", &race)], "").await;
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.err.starts_with("error: the manifest was changed by someone else meanwhile"), "{}", ran.err);
    assert!(machine.house.read("containers/web.toml").contains("1.28"));
    let ran = machine.run_with(&edit, &[("EDITOR", "false")], "").await;
    ran.is(1, "", "error: the editor `false` failed; nothing was changed\n");
}

#[tokio::test]
async fn what_does_not_settle_in_time_is_told_apart() {
    let machine = Machine::open().await;
    machine.house.put_web().await;
    let stuck = serde_json::json!({ "conditions": [{ "type": "Ready", "status": "False", "reason": "ImageMissing",
        "message": "there is no such image", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
    machine.house.writer.report(Kind::Container, "web", stuck);
    machine.write("web.toml", WEB);
    let ran = machine.run(&["apply", "-f", "web.toml", "--wait", "--timeout", "1"]).await;
    let err = "error: not ready within 1 s\n  container/web: there is no such image (ImageMissing)\n";
    ran.is(6, "container/web unchanged\n", err);
}

#[tokio::test]
async fn what_containers_use_is_shown_once_to_a_pipe() {
    let machine = Machine::open().await;
    machine.run(&["top"]).await.is(0, "", "no container runs\n");
    machine.house.put_web().await;
    machine.house.writer.report(Kind::Container, "web", json!({ "state": "running", "containerId": "web" }));
    let table = "NAME  CPU    MEMORY  LIMIT  IN   OUT  READ  WRITTEN  TASKS\n\
                 web   25.0%  3.0M    1.0G   10B  20B  30B   40B      5\n";
    machine.run(&["top"]).await.is(0, table, "");
    machine.run(&["top", "--once"]).await.is(0, table, "");
    machine.run(&["top", "-o", "name"]).await.is(0, "container/web\n", "");
    let counted: Value = serde_json::from_str(&machine.run(&["top", "-o", "json"]).await.out).unwrap();
    assert_eq!(counted["items"][0]["usage"]["tasks"], 5);
}

#[tokio::test]
async fn a_program_runs_as_if_it_were_here() {
    let machine = Machine::open().await;
    machine.house.put_web().await;
    machine.house.writer.report(Kind::Container, "web", json!({ "state": "running", "containerId": "web" }));
    machine.run_with(&["exec", "-i", "web", "--", "cat"], &[], "to and fro\n").await.is(0, "to and fro\n", "");
    let long = "0123456789abcde\n".repeat(1 << 16);
    let ran = machine.run_with(&["exec", "-i", "container/web", "--", "cat"], &[], &long).await;
    assert!(ran.code == 0 && ran.out == long && ran.err.is_empty(), "{} {}", ran.code, ran.err);
    machine.run(&["exec", "web", "--", "fail", "--so", "it is"]).await.is(3, "", "--so it is");
    machine.run(&["exec", "web", "--", "refused"]).await.is(1, "", "error: It is frozen\n");
    let nobody = machine.run(&["exec", "db", "--", "cat"]).await;
    assert!(nobody.code == 3 && nobody.err.contains("\"db\" not found"), "{}", nobody.err);
    assert_eq!(machine.run(&["exec", "web"]).await.code, 2);
}

#[tokio::test]
async fn logs_come_through_as_they_are() {
    let machine = Machine::open().await;
    machine.house.put_web().await;
    machine.house.writer.report(Kind::Container, "web", serde_json::json!({ "containerId": "web" }));
    machine.run(&["logs", "web"]).await.is(0, "web starts\nweb is up\n", "");
    machine.run(&["logs", "web", "--tail", "1"]).await.is(0, "web is up\n", "");
    assert_eq!(machine.run(&["logs", "db"]).await.code, 3);
    let since = "2026-01-01T07:30:00+01:00";
    machine.run(&["logs", "web", "--since", since]).await.is(0, "web is up\n", "");
    machine.run(&["logs", "web", "--since", "10m"]).await.is(0, "", "");
    let until = machine.run(&["logs", "web", "--until", since, "--timestamps"]).await;
    until.is(0, "2026-01-01T06:00:00Z web starts\n", "");
    let wrong = machine.run(&["logs", "web", "--since", "lately"]).await;
    assert!(wrong.code == 2 && wrong.err.contains("write a duration like `10m`"), "{}", wrong.err);
}

#[tokio::test]
async fn a_followed_log_that_the_daemon_leaves_is_no_success() {
    let Machine { house, _stop } = Machine::open().await;
    house.put_web().await;
    house.writer.report(Kind::Container, "web", json!({ "containerId": "web", "state": "running" }));
    let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
    command.env("PICCOLO_HOST", format!("unix://{}", house.dir.path().join("api.sock").display()));
    let command = command.args(["logs", "-f", "web"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "web starts");
    drop(_stop);
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.starts_with("error: no daemon answers at "), "{said}");
}

#[tokio::test]
async fn a_compose_file_becomes_manifests() {
    let machine = Machine::open().await;
    let compose = "services:\n  web:\n    image: nginx:${TAG:?which one}\n    restart: always\n    tty: true\n    ports: [\"80:80\"]\n";
    machine.write("shop/compose.yaml", compose);
    let missing = machine.run(&["import", "compose", "shop"]).await;
    let err = "error: the variable `TAG` has no value: which one\n  --> shop/compose.yaml:3:12\n help: write `TAG=…` into the \
               file `.env` beside it, or `TAG=` if nothing is meant\n\nerror: 1 mistake(s); nothing was written\n";
    missing.is(1, "", err);
    machine.write("shop/.env", "TAG=1.27\n");
    let printed = machine.run(&["import", "compose", "shop"]).await;
    assert_eq!(printed.code, 7, "{}", printed.err);
    assert!(printed.out.starts_with("# networks/shop.toml\napiVersion"), "{}", printed.out);
    assert!(printed.err.contains("  unsupported  tty "), "{}", printed.err);
    let written = machine.run(&["import", "compose", "shop/compose.yaml", "--dir", "out", "--name", "my"]).await;
    assert_eq!((written.code, written.err.as_str()), (7, ""));
    assert!(written.out.ends_with("2 manifest(s) written; look at them, then `piccolo plan`.\n"), "{}", written.out);
    machine.run(&["validate", "out"]).await.is(0, "2 manifest(s) are valid\n", "");
    let again = machine.run(&["import", "compose", "shop", "--dir", "out", "--name", "my"]).await;
    let taken = "error: out/networks/my.toml is there already; nothing was written. `--force` writes over it\n";
    again.is(2, "", taken);
    assert_eq!(machine.run(&["import", "compose", "shop", "--dir", "out", "--name", "my", "--force"]).await.code, 7);
    let json = machine.run_with(&["import", "compose", "-", "-o", "json"], &[("TAG", "1.28")], compose).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["lossy"], &json["items"][1]["kind"]), (&Value::Bool(true), &Value::from("Container")));
    assert!(json["items"][1]["text"].as_str().unwrap().contains("nginx:1.28"));
    machine.write("shop/compose.override.yaml", "");
    assert!(machine.run(&["import", "compose", "shop"]).await.err.contains("compose.override.yaml"));
    machine.run(&["import", "compose", "out"]).await.is(
        3,
        "",
        "error: there is no compose file in out: it is called \
        compose.yaml or compose.yml or docker-compose.yaml or docker-compose.yml\n",
    );
}

#[tokio::test]
async fn manifests_become_a_compose_file() {
    let machine = Machine::open().await;
    machine.write("web.toml", WEB);
    let local = machine.run(&["export", "compose", "web.toml"]).await;
    assert!(
        local.out.starts_with("services:\n  web:\n    container_name: web\n    image: nginx:1.27\n"),
        "{}",
        local.out
    );
    machine.house.put_web().await;
    let declared = machine.run(&["export", "compose"]).await;
    declared.is(0, &local.out, "");
}

#[tokio::test]
async fn without_a_daemon() {
    let machine = Machine::open().await;
    let ran = machine.run(&["--host", "unix:///nowhere/api.sock", "get"]).await;
    let err = "error: no daemon answers at unix:///nowhere/api.sock: No such file or directory (os error 2)\n help: start \
               it with `systemctl start piccolod`, or say where it is: --host unix:///path/to.sock\n";
    ran.is(1, "", err);
    assert_eq!(machine.run(&["--host", "ftp://x", "get"]).await.code, 2);
    let explained = machine.run(&["explain", "container.spec.ports"]).await;
    let begin = "container.spec.ports  list of table\nPorts of the container that are reachable from outside.\n";
    assert!(explained.out.starts_with(begin), "{}", explained.out);
    assert!(explained.out.contains("  containerPort  integer, required\n"), "{}", explained.out);
    assert!(machine.run(&["explain", "pic0003"]).await.out.starts_with("PIC0003\nSome keys have no sensible default"));
    let near = "error: `container.spec` has no field `port`; did you mean `ports`?\n";
    machine.run(&["explain", "container.spec.port"]).await.is(3, "", near);
    let schema: Value = serde_json::from_str(&machine.run(&["schema", "container"]).await.out).unwrap();
    assert_eq!(schema["title"], "Container");
    let files = "s/secret.json\ns/configsource.json\ns/host.json\ns/firewall.json\ns/link.json\ns/image.json\ns/network.json\ns/disk.json\ns/install.json\ns/volume.json\ns/container.json\n";
    machine.run(&["schema", "--dir", "s"]).await.is(0, files, "");
    assert!(machine.run(&["completion", "bash"]).await.out.contains("_piccolo()"));
}

#[tokio::test]
async fn images_go_and_come_as_files() {
    let machine = Machine::open().await;
    let app =
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Image\"\nmetadata.name = \"app\"\nspec.reference = \"app:1\"\n";
    machine.write("app.toml", app);
    machine.run(&["apply", "-f", "app.toml"]).await.is(0, "image/app created\n", "");
    let told = "app exported, 7B, sha256:a\n";
    machine.run(&["image", "export", "image/app", "saved.tar"]).await.is(0, "", told);
    assert_eq!(fs::read_to_string(machine.house.dir.path().join("saved.tar")).unwrap(), "archive");
    machine.run(&["image", "export", "app:1", "-"]).await.is(0, "archive", &told.replace("app ", "app:1 "));
    let missing = machine.run(&["image", "export", "app:2", "none.tar"]).await;
    assert_eq!((missing.code, missing.out.as_str()), (3, ""), "{}", missing.err);
    assert!(missing.err.starts_with("error: there is no image app:2 on this machine\n help: "), "{}", missing.err);
    assert!(
        !machine.house.dir.path().join("none.tar").exists() && !machine.house.dir.path().join("none.tar.part").exists()
    );

    machine.run(&["image", "import", "saved.tar"]).await.is(0, "app:7 imported, sha256:b\n", "");
    machine.run(&["image", "import", "saved.tar", "--as", "a/b:1"]).await.is(0, "a/b:1 imported, sha256:b\n", "");
    // More than the other paths take.
    let large = format!("archive{}", " ".repeat(3 << 20));
    let piped = machine.run_with(&["image", "import", "-"], &[], &large).await;
    piped.is(0, &format!("app:{} imported, sha256:b\n", large.len()), "");
    let refused = machine.run_with(&["image", "import", "-"], &[], "junk").await;
    refused.is(1, "", "error: The archive can't be used: it is no tar\n");
    let none = machine.run(&["image", "import", "none.tar"]).await;
    assert_eq!(none.code, 1, "{}", none.err);
}

#[tokio::test]
async fn the_help_is_short_and_every_command_shows_two_examples() {
    let machine = Machine::open().await;
    let help = machine.run(&["--help"]).await;
    let golden = include_str!("cli/help.txt");
    help.is(0, golden, "");
    let commands = golden.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for command in commands.filter_map(|line| line.split_whitespace().next()).filter(|it| *it != "help") {
        let help = machine.run(&[command, "--help"]).await;
        let examples = help
            .out
            .lines()
            .skip_while(|line| *line != "Examples:")
            .filter(|it| it.starts_with("  piccolo ") || it.contains("piccolo"));
        assert!(examples.count() >= 2, "{command}: {}", help.out);
    }
    assert_eq!(machine.run(&["nonsense"]).await.code, 2);
}

#[tokio::test]
async fn secrets_are_encrypted_on_this_side() {
    let machine = Machine::open().await;
    let key = machine.house.dir.path().join("key.age");
    let (identity, recovery) = (Identity::read_or_make(&key).unwrap(), Identity::generate());
    let recipient = identity.recipient().to_string();
    let made = machine.run_with(&["secret", "set", "db", "password", "--recipient", &recipient], &[], "one\n").await;
    made.is(0, "secret/db created: password\n", "");
    let text = machine.house.read("secrets/db.toml");
    assert!(text.contains("password = \"\"\"\n-----BEGIN AGE ENCRYPTED FILE-----\n"), "{text}");
    machine.write("raw", "two\n");
    let set = ["secret", "set", "db", "raw", "--from", "raw", "--recipient", &recipient];
    machine.run(&set).await.is(0, "secret/db changed: raw\n", "");
    let opened = |identity: &Identity, key: &str| {
        let text = machine.house.read("secrets/db.toml");
        let Ok(Manifest::Secret(secret)) = parse(&text) else { panic!("{text}") };
        identity.open(&secret.spec.data[key]).map(|value| value.expose().to_vec())
    };
    assert_eq!(
        (opened(&identity, "password").unwrap(), opened(&identity, "raw").unwrap()),
        (b"one".into(), b"two\n".into())
    );
    let listed = machine.run(&["secret", "list"]).await;
    listed.lists("NAME  VALUES         READABLE FOR  AGE\ndb    password, raw  this machine ");

    // A recovery key is added by hand; comments stay.
    let recipients = format!("# on paper\nrecipients = [\"{}\"]\n\n[spec.data]", recovery.recipient());
    let text = machine.house.read("secrets/db.toml").replace("[spec.data]", &format!("[spec]\n{recipients}"));
    let text = text.replacen("[spec]\n\n[spec]", "[spec]", 1);
    machine.write("db.toml", &text);
    let rotate = ["secret", "rotate", "db", "-f", "db.toml", "--identity", "key.age", "--recipient", &recipient];
    let rotated = "secret/db changed: 2 value(s) encrypted for 2 recipient(s)\n";
    machine.run(&rotate).await.is(0, rotated, "");
    machine.run(&["apply", "-f", "db.toml"]).await.is(0, "secret/db changed\n", "");
    assert!(machine.house.read("secrets/db.toml").contains("# on paper\n"));
    assert_eq!(opened(&recovery, "password").unwrap(), b"one");
    let listed = machine.run(&["secret", "list"]).await;
    listed.lists("NAME  VALUES         READABLE FOR             AGE\ndb    password, raw  this machine and 1 more ");
}

#[tokio::test]
async fn secrets_say_what_is_wrong_and_never_a_value() {
    let machine = Machine::open().await;
    machine.run(&["secret", "list"]).await.is(0, "", "there is no secret; `piccolo secret set NAME KEY` makes one\n");
    let wrong = machine.run_with(&["secret", "set", "db", "../x"], &[], "hunter2").await;
    wrong.is(2, "", "error: the name of a value has at most 128 letters, digits, `.`, `_` and `-`\n");
    // The house of this test has no key of its own.
    let nobody = machine.run_with(&["secret", "set", "db", "password"], &[], "hunter2").await;
    let words = "error: this machine has no key that can be used, so nothing can be encrypted for it\n help: see `piccolo \
                 status`, and mend the key file\n";
    nobody.is(1, "", words);
    let recipient = Identity::generate().recipient().to_string();
    let empty = machine.run(&["secret", "set", "db", "password", "--recipient", &recipient]).await;
    empty.is(2, "", "error: there is no value on standard input\n");
    machine.run(&["secret", "rotate", "db"]).await.is(3, "", "error: there is no Secret `db`\n");
    let set = ["secret", "set", "db", "password", "--recipient", &recipient];
    assert_eq!(machine.run_with(&set, &[], "hunter2").await.code, 0);
    Identity::read_or_make(&machine.house.dir.path().join("other.age")).unwrap();
    let other = machine.run(&["secret", "rotate", "db", "--identity", "other.age", "--recipient", &recipient]).await;
    other.is(1, "", "error: `password`: it is not encrypted for this machine; nothing was changed\n");
    machine.write("db.toml", &machine.house.read("secrets/db.toml").replace("-----BEGIN", "hunter2"));
    let plain = machine.run(&["apply", "-f", "db.toml"]).await;
    assert!(plain.code == 1 && plain.err.contains("PIC0030") && !plain.err.contains("hunter2"), "{}", plain.err);
}

#[tokio::test]
async fn what_others_run_is_written_down_and_secrets_are_for_the_owner_alone() {
    let machine = Machine::open().await;
    let printed = machine.run(&["capture"]).await;
    assert!(printed.code == 7 && printed.out.contains("ADMIN_PASSWORD = \"hunter2\""), "{}", printed.out);
    assert!(!printed.err.contains("hunter2"), "{}", printed.err);
    assert!(printed.err.contains("`ADMIN_PASSWORD` can be read by all who"), "{}", printed.err);
    assert!(printed.err.contains("Config.Tty              there is no terminal"), "{}", printed.err);
    let written = machine.run(&["capture", "--out", "captured"]).await;
    assert!(written.code == 7 && written.out.ends_with("1 manifest(s) written; look at them, then `piccolo plan`.\n"));
    let file = machine.house.dir.path().join("captured/containers/their-web.toml");
    assert!(parse(&fs::read_to_string(&file).unwrap()).is_ok());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = machine.run(&["capture", "--out", "captured"]).await;
    assert!(again.code == 2 && again.err.contains("is there already; nothing was written"), "{}", again.err);
}

#[tokio::test]
async fn what_would_be_lost_is_not_taken_over_unless_that_is_accepted() {
    let machine = Machine::open().await;
    let refused = machine.run(&["adopt", "container", "their_web"]).await;
    let words = "a manifest can't say all that `their_web` is: Config.Tty: there is no terminal";
    assert!(refused.code == 5 && refused.err.contains(words), "{}", refused.err);
    assert!(refused.err.contains("`--accept-loss` if that is meant") && refused.out.is_empty(), "{}", refused.err);
    let adopted = machine.run(&["adopt", "container/their_web", "--accept-loss"]).await;
    assert_eq!(adopted.out, "container/their-web adopted, which was called their_web\n", "{}", adopted.err);
    assert!(machine.house.read("containers/their-web.toml").contains("hunter2") && !adopted.err.contains("hunter2"));
    machine.run(&["adopt", "network", "x"]).await.is(2, "", "error: only a container can be adopted\n");
}

#[tokio::test]
async fn a_container_goes_back_or_it_is_told_why_not() {
    let machine = Machine::open().await;
    machine.run(&["rollback", "container/web"]).await.is(3, "", "error: containers.piccolo.os \"web\" not found\n");
    machine.write("web.toml", WEB);
    machine.run(&["apply", "-f", "web.toml"]).await.is(0, "container/web created\n", "");
    let refused = machine.run(&["rollback", "container/web"]).await;
    assert!(refused.code == 5 && refused.err.contains("`web` does not follow its image"), "{}", refused.err);
    for name in ["web", "updated"] {
        machine.write("web.toml", &(WEB.replace("\"web\"", &format!("\"{name}\"")) + "update = {}\n"));
        assert_eq!(machine.run(&["apply", "-f", "web.toml"]).await.code, 0);
    }
    machine.run(&["rollback", "container/web"]).await.is(5, "", "error: `web`: nothing is kept\n");
    machine.run(&["rollback", "ct/updated"]).await.is(0, "container/updated goes back to sha256:old\n", "");
    let network = "error: one by one only containers go back: container/NAME\n";
    machine.run(&["rollback", "network/front"]).await.is(2, "", network);
}

#[tokio::test]
async fn a_change_on_trial_says_how_to_confirm_it() {
    let machine = Machine::open().await;
    machine.write("web.toml", WEB);
    let apply = ["apply", "-f", "web.toml", "--confirm-within", "90s"];
    let tried = machine.run(&apply).await;
    let id = machine.house.manifests.trial().unwrap().id.clone();
    let ways = format!(
        "on trial: it is put back in 1m30s, unless\n  it is meant to stay: piccolo confirm {id}\n  put it back at once: piccolo rollback {id}\n"
    );
    tried.is(0, &format!("container/web created\n{ways}"), "");
    let status = machine.run(&["status"]).await;
    let shown = format!("\n  if it is meant to stay: piccolo confirm {id}\n");
    assert!(status.out.contains("! on trial: containers/web.toml: put back in 1m"), "{}", status.out);
    assert!(status.out.ends_with(&shown), "{}", status.out);
    let other = machine.run(&["delete", "container/web"]).await;
    assert!(other.code == 5 && other.err.contains("only what joins it"), "{}", other.err);
    machine.run(&["confirm", &id]).await.is(0, &format!("{id} stays\n"), "");
    let nothing = "container/web unchanged\nnothing was changed, so nothing is on trial\n";
    machine.run(&apply).await.is(0, nothing, "");
    let deleted = machine.run(&["delete", "container/web", "--confirm-within", "90s"]).await;
    assert!(deleted.code == 0 && deleted.out.contains("on trial"), "{}", deleted.out);
    let id = machine.house.manifests.trial().unwrap().id.clone();
    machine.run(&["rollback", &id]).await.is(0, &format!("{id} is put back\n"), "");
    assert_eq!(machine.house.read("containers/web.toml"), WEB);
    assert_eq!(machine.run(&["apply", "-f", "web.toml", "--confirm-within", "1s", "--dry-run"]).await.code, 2);
}

#[tokio::test]
async fn the_system_of_a_stick_comes_onto_a_disk_with_leave_alone() {
    let machine = Machine::open().await;
    let list =
        "SERIAL          DISK          HOLDS    INSTALL\nS4EVNX0N123456  a disk, 8 GB  nothing  yes, it is blank\n";
    machine.run(&["install"]).await.is(0, list, "");
    let refused = "1 of 1  marking S4EVNX0N123456\nerror: S4EVNX0N123456: it is not blank\n help: `piccolo install` lists the disks\n";
    machine.run(&["install", "S4EVNX0N123456"]).await.is(5, "", refused);
    machine.write("install.toml", "serial = \"S4EVNX0N123456\"\n");
    machine.run(&["install", "--seed", "install.toml"]).await.is(5, "", refused);
    let other = machine.run(&["install", "S4EVNX0N123456", "--erase", "--serial", "S5"]).await;
    assert!(other.code == 5 && other.err.contains("`S5` is not the serial number"), "{}", other.err);
    // Where nobody can be asked, nobody is taken to have said yes.
    assert_eq!(machine.run(&["install", "S4EVNX0N123456", "--erase"]).await.code, 2);
    let done = machine.run(&["install", "S4EVNX0N123456", "--erase", "--serial", "S4EVNX0N123456"]).await;
    assert_eq!((done.code, done.out.as_str()), (0, "key-of-wipe-0123456789abcdef01234567\n"), "{}", done.err);
    assert!(done.err.ends_with("S4EVNX0N123456 holds the system\n"), "{}", done.err);
}

#[tokio::test]
async fn a_key_of_an_encrypted_disk_is_shown_once_and_counts_when_it_is_typed() {
    let machine = Machine::open().await;
    let missing = machine.run(&["disk", "recovery-key", "papers"]).await;
    assert!(missing.code == 3 && missing.err.contains("not found"), "{}", missing.err);
    let disk = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Disk\"\nmetadata.name = \"papers\"\n[spec]\n\
                select = { serial = \"A1\" }\nfilesystem = \"ext4\"\nmount = \"/srv/papers\"\n";
    machine.write("papers.toml", disk);
    assert_eq!(machine.run(&["apply", "-f", "papers.toml"]).await.code, 0);
    let plain = machine.run(&["disk", "recovery-key", "papers"]).await;
    assert!(plain.code == 5 && plain.err.contains("has no `encryption`"), "{}", plain.err);
    machine.write("papers.toml", &format!("{disk}encryption = {{ tpm2 = {{}} }}\n"));
    assert_eq!(machine.run(&["apply", "-f", "papers.toml"]).await.code, 0);

    let key = support::recovery_key();
    let made = machine.run(&["disk", "recovery-key", "papers"]).await;
    assert_eq!((made.code, made.out.as_str()), (0, format!("{key}\n").as_str()), "{}", made.err);
    assert!(made.err.contains("piccolo disk recovery-key papers --check"), "{}", made.err);
    // As a person types it.
    let check = ["disk", "recovery-key", "papers", "--check"];
    machine.run_with(&check, &[], &format!("{key}\n")).await.is(
        0,
        "it opens slot 2 of disk `papers`; any other recovery key of it is worth nothing\n",
        "",
    );
    let wrong = machine.run_with(&check, &[], "wrong\n").await;
    assert!(wrong.code == 5 && wrong.err.contains("no recovery key") && !wrong.err.contains("wrong"), "{}", wrong.err);
    assert_eq!(machine.run_with(&check, &[], "").await.code, 2);
    let opened = machine.run_with(&["disk", "unlock", "papers"], &[], &format!("{key}\n")).await;
    opened.is(0, "", "disk `papers` is open; it is mounted in a moment\n");
    assert_eq!(machine.run_with(&["disk", "unlock", "papers"], &[], "wrong\n").await.code, 5);
}
