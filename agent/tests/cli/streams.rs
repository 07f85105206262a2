//! What goes on until somebody ends it: watches, logs, programs in containers.

use std::process::Stdio;

use piccolo_schema::Kind;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    process::Command,
};

use crate::machine::Machine;

/// Reads one request that has no body.
async fn asked(socket: &UnixListener) -> (UnixStream, String) {
    let (mut client, _) = socket.accept().await.unwrap();
    let (mut request, mut piece) = (String::new(), [0; 4096]);
    while !request.ends_with("\r\n\r\n") {
        let read = client.read(&mut piece).await.unwrap();
        assert!(read > 0, "{request}");
        request.push_str(str::from_utf8(&piece[..read]).unwrap());
    }
    (client, request)
}

/// Answers one request with this, and returns what was asked for.
async fn answer(socket: &UnixListener, status: &str, body: &str) -> String {
    let (mut client, request) = asked(socket).await;
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
    let Machine { house, stop } = Machine::open().await;
    house.put_web().await;
    house.writer.report(Kind::Container, "web", json!({ "containerId": "web", "state": "running" }));
    let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
    command.env("PICCOLO_HOST", format!("unix://{}", house.dir.path().join("api.sock").display()));
    let command = command.args(["logs", "-f", "web"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "web starts");
    drop(stop);
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // It may have been about to end when it was asked.
    let is_told = ["no daemon answers at", "hung up before it answered"].iter().any(|it| said.contains(it));
    assert!(!output.status.success() && is_told, "{said}");
}

#[tokio::test]
async fn who_hangs_up_before_an_answer_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("api.sock");
    let socket = UnixListener::bind(&place).unwrap();
    for (half, words) in [("", "hung up before it answered"), ("so it goes\r\n\r\n", "can't be understood")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
        command.env("PICCOLO_HOST", format!("unix://{}", place.display())).args(["get", "ct"]);
        let ran = tokio::spawn(command.output());
        asked(&socket).await.0.write_all(half.as_bytes()).await.unwrap();
        let output = ran.await.unwrap().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.lines().next().unwrap().contains(words), "{said}");
    }
}
