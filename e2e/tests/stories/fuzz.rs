//! Whatever is asked over the API, by whomever, it has an answer: never one of the class 500.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, machine::story, sleeper};
use serde_json::Value;
use tokio::process::Command;

use super::updates::text;

/// Who asks.
const ROLES: [&str; 3] = ["reader", "operator", "admin"];
/// How long each of them may, in seconds.
const TIME: &str = "40";
/// How many requests an operation gets at most in each phase.
const EXAMPLES: &str = "12";
/// What is not asked for: it would take away the right to ask for more, or a stream that is meant to go on.
const LEFT_OUT: &str = "^/(tokens/\\{id\\}|pairing)$";

#[tokio::test]
async fn no_request_is_too_odd_for_an_answer() -> anyhow::Result<()> {
    let Ok(schemathesis) = std::env::var("SCHEMATHESIS") else {
        crate::skip::skipped("SCHEMATHESIS does not say where that program is");
        return Ok(());
    };
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("web.toml", &sleeper("web", "")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        // What is asked for at random is planned and never done: it may name any directory of this machine.
        machine.stop().await?;
        let mut machine = machine.launched_by(&["env", "PICCOLO_MODE=observe"]);
        machine.start().await?;
        let told = machine.get("/pairing").await?;
        let place = told["urls"][0].as_str().context("a place")?.trim_end_matches('/').to_owned();
        let mut all = 0;
        for role in ROLES {
            let begin = Instant::now();
            let minted = machine.piccolo(&["token", "create", role, "--role", role])?.output().await?;
            let report = machine.state().join(format!("fuzz-{role}.ndjson"));
            let asked = ask(&schemathesis, &place, text(minted)?.trim(), &report).await?;
            let sum: usize = asked.iter().sum();
            println!("{role}: {sum} requests in {:.0} s, by class {asked:?}", begin.elapsed().as_secs_f64());
            // Somebody without the right to anything would find no mistake either.
            ensure!(asked[2] > 10 && asked[4] > 100, "a {role} was answered too seldom: {asked:?}");
            all += sum;
        }
        println!("{all} requests, none answered with 5xx");
        machine.until("it goes on", async || machine.get("/journal?limit=1").await.is_ok()).await?;
        machine.stop().await
    })
    .await
}

/// Asks everything that the API describes, in odd ways, and returns how many answers of which class there were.
async fn ask(program: &str, place: &str, token: &str, report: &Path) -> anyhow::Result<[usize; 6]> {
    let done = Command::new(program)
        .args(["run", &format!("{place}/openapi.json"), "--tls-verify", "false"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--max-time", TIME, "--seed", "5", "--request-timeout", "3"])
        .args(["--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--warnings", "off"])
        .args(["--exclude-path-regex", LEFT_OUT, "--no-color", "--report", "ndjson", "--report-ndjson-path"])
        .arg(report)
        .current_dir(report.parent().context("a directory")?)
        .env("NO_PROXY", "*")
        .kill_on_drop(true)
        .output()
        .await?;
    // It also fails because of streams that go on, which is what they are for. What counts is what was answered.
    let told = String::from_utf8_lossy(&done.stdout);
    let text = fs::read_to_string(report).with_context(|| format!("there is no report: {told}"))?;
    let mut classes = [0; 6];
    for line in text.lines() {
        count(&serde_json::from_str(line)?, &mut classes);
    }
    ensure!(classes[5] == 0 && !told.contains("Server error"), "{} answers are of class 5xx:\n{told}", classes[5]);
    Ok(classes)
}

/// Counts the answers in a part of the report.
fn count(part: &Value, classes: &mut [usize; 6]) {
    match part {
        Value::Object(map) => {
            let class = map.get("status_code").and_then(Value::as_u64).map(|it| it / 100);
            if let Some(place) = class.and_then(|it| classes.get_mut(usize::try_from(it).ok()?)) {
                *place += 1;
            }
            map.values().for_each(|it| count(it, classes));
        }
        Value::Array(all) => all.iter().for_each(|it| count(it, classes)),
        _ => {}
    }
}
