//! The command line as a person and a script see it: output, errors, exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

#[path = "cli/compose.rs"]
mod compose;
#[path = "cli/holdings.rs"]
mod holdings;
#[path = "cli/machine.rs"]
mod machine;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/streams.rs"]
mod streams;
#[path = "api/support.rs"]
mod support;

use std::fs;

use piccolo_agent::store::{Event, HeldView, PlanView, StepView, WaitingView};
use piccolo_schema::Kind;
use serde_json::{Value, json};

use machine::Machine;
use support::{WEB, step};

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
