//! The command line as a person and a script see it: output, errors, exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

#[path = "api/support.rs"]
mod support;

use std::{fs, process::Stdio};

use piccolo_agent::{
    api,
    store::{Event, HeldView, PlanView, StepView, WaitingView},
};
use piccolo_schema::Kind;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::UnixListener, process::Command};
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
        // Commands that read nothing may have ended already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
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
    assert!(machine.run(&["validate", "all"]).await.err.starts_with("error: Container `web` is declared in 2 files"));
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
    machine.run(&["get", "pod"]).await.is(2, "", "error: there is no kind `pod`; there are: network, volume, container\n");
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
async fn the_plan_shows_danger_first_and_says_so_to_scripts() {
    let machine = Machine::open().await;
    machine.run(&["plan"]).await.is(0, "Nothing to change.\n", "");
    let removal = StepView { removal: true, disruption: "restarts db".into(), ..step("db", "remove container `db`") };
    let restart = StepView { disruption: "restarts api".into(), ..step("api", "replace container `api`") };
    let waiting =
        WaitingView { subject: "job".into(), reason: "DependencyNotReady".into(), message: "`db` is not up".into() };
    machine.house.writer.plan(
        Kind::Container,
        PlanView {
            unseen: None,
            kind: Kind::Container,
            steps: vec![step("web", "create container `web`"), restart, removal],
            waiting: vec![waiting],
            held: Some(HeldView { id: "4f2a".into(), names: vec!["a".into(), "b".into()] }),
            complete: true,
        },
    );
    let plan = "\
- remove container `db`  [restarts db]
~ replace container `api`  [restarts api]
+ create container `web`
… container job: `db` is not up (DependencyNotReady)
! held: the removal of 2 containers: a, b
  if that is meant: piccolo confirm 4f2a
3 change(s), 1 waiting.
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

KIND       DECLARED  READY  CHANGES  WAITING
Network    0         0      0        0
Volume     0         0      0        0
Container  1         1      0        0

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
async fn logs_come_through_as_they_are() {
    let machine = Machine::open().await;
    machine.house.put_web().await;
    machine.house.writer.report(Kind::Container, "web", serde_json::json!({ "containerId": "web" }));
    machine.run(&["logs", "web"]).await.is(0, "web starts\nweb is up\n", "");
    machine.run(&["logs", "web", "--tail", "1"]).await.is(0, "web is up\n", "");
    assert_eq!(machine.run(&["logs", "db"]).await.code, 3);
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
    machine.run(&["schema", "--dir", "s"]).await.is(0, "s/network.json\ns/volume.json\ns/container.json\n", "");
    assert!(machine.run(&["completion", "bash"]).await.out.contains("_piccolo()"));
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
