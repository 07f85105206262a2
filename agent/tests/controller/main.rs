//! The loop on a toy kind: what it starts, when, and what it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what broke by panicking")]

mod bench;
mod observe;
mod toy;

use std::time::Duration;

use bench::Bench;
use tokio::time::{Instant, advance};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn converges_and_rests() {
    let mut bench = Bench::new().await;
    bench.declare(&[("a", "1"), ("b", "1")]);
    bench.until_ready("a").await;
    bench.until_ready("b").await;
    let applied = bench.applied();
    assert_eq!(applied.len(), 4, "{applied:?}");
    advance(SECOND * 3600).await;
    bench.turn().await;
    assert_eq!(bench.applied().len(), 4, "a settled machine was changed");
    assert_eq!(bench.reasons("a"), ["Planned", "Applied", "Applied", "Settled"]);
    let status = bench.status("a");
    assert_eq!(status["observedGeneration"], 1);
    bench.stop().await;
}

#[tokio::test]
async fn steps_of_one_subject_stay_in_order() {
    let mut bench = Bench::new().await;
    bench.declare(&[("a", "1")]);
    bench.until_ready("a").await;
    bench.declare(&[("a", "2")]);
    bench.until(|bench| bench.status("a")["observedGeneration"] == 2 && bench.is_ready("a")).await;
    assert_eq!(bench.applied(), ["make a as 1", "polish a", "make a as 2", "polish a"]);
    bench.stop().await;
}

#[tokio::test]
async fn drift_is_named_and_repaired() {
    let mut bench = Bench::new().await;
    bench.declare(&[("a", "1")]);
    bench.until_ready("a").await;
    bench.world.seen.lock().unwrap().things.clear();
    let start = Instant::now();
    bench.world.hint.notify_one();
    bench.until(|bench| bench.reasons("a").iter().filter(|it| *it == "Settled").count() == 2).await;
    assert!(start.elapsed() < SECOND, "took {:?}", start.elapsed());
    assert!(bench.reasons("a").contains(&"Drifted".to_owned()), "{:?}", bench.reasons("a"));
    bench.stop().await;
}

#[tokio::test]
async fn drift_is_drift_after_a_restart_too() {
    let mut bench = Bench::new().await;
    bench.declare(&[("a", "1")]);
    bench.until_ready("a").await;
    bench = bench.restart().await;
    bench.world.seen.lock().unwrap().things.clear();
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.reasons("a").contains(&"Drifted".to_owned())).await;
    bench.until_ready("a").await;
    bench.stop().await;
}

#[tokio::test]
async fn the_time_of_a_transition_outlives_the_daemon() {
    let mut bench = Bench::new().await;
    bench.declare(&[("a", "1")]);
    bench.until_ready("a").await;
    let before = bench.condition("a");
    // Such times are written to the second: a new one must be told from the old one.
    std::thread::sleep(Duration::from_millis(1100));
    bench = bench.restart().await;
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.held().is_none() && bench.has_passed()).await;
    assert_eq!(bench.condition("a"), before);
    bench.stop().await;
}

#[tokio::test]
async fn a_slow_transfer_delays_nobody_else() {
    let mut bench = Bench::new().await;
    bench.world.slow.lock().unwrap().insert("far".into(), SECOND * 600);
    let start = Instant::now();
    bench.declare(&[("far", "1"), ("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")]);
    for name in ["a", "b", "c", "d", "e"] {
        bench.until_ready(name).await;
    }
    assert!(start.elapsed() < SECOND * 2, "took {:?}", start.elapsed());
    assert_eq!(bench.condition("far")["reason"], "Applying");
    // What nobody wants any more is not waited for.
    bench.declare(&[("far", "2"), ("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")]);
    bench.until(|bench| bench.is_ready("far") && bench.status("far")["observedGeneration"] == 2).await;
    let far: Vec<_> = bench.applied().into_iter().filter(|it| it.contains("far")).collect();
    assert_eq!(far, ["make far as 2", "polish far"]);
    assert!(start.elapsed() > SECOND * 600, "the transfer of the new manifest was not waited for");
    bench.stop().await;
}

#[tokio::test]
async fn failures_back_off_and_are_said() {
    let mut bench = Bench::new().await;
    bench.world.failing.lock().unwrap().insert("a".into(), 5);
    let start = Instant::now();
    bench.declare(&[("a", "1"), ("b", "1")]);
    bench.until(|bench| bench.condition("a")["reason"] == "PortTaken").await;
    let message = bench.condition("a")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Port 80 is taken"), "{message}");
    bench.until_ready("a").await;
    // 0.5 + 1 + 2 + 4 + 8 seconds, each a fifth more or less.
    let took = start.elapsed();
    assert!(took > SECOND * 12 && took < SECOND * 20, "took {took:?}");
    assert_eq!(bench.reasons("a").iter().filter(|it| *it == "Failed").count(), 5);
    bench.stop().await;
}

#[tokio::test]
async fn what_does_not_rest_on_a_step_that_failed_is_done() {
    let mut bench = Bench::new().await;
    for name in ["a", "parts"] {
        bench.world.failing.lock().unwrap().insert(name.into(), 1);
    }
    bench.declare(&[("a", "1"), ("parts", "1")]);
    bench.until_ready("a").await;
    bench.until_ready("parts").await;
    let is_of = |step: &String, name: &str| step.split(' ').nth(1) == Some(name);
    let of = |name: &str| bench.applied().into_iter().filter(|it| is_of(it, name)).collect::<Vec<_>>();
    assert_eq!(of("parts"), ["make parts as 1", "polish parts", "make parts as 1", "polish parts"]);
    assert_eq!(of("a"), ["make a as 1", "make a as 1", "polish a"]);
    let failed = |name: &str| bench.reasons(name).iter().filter(|it| *it == "Failed").count();
    assert_eq!((failed("a"), failed("parts")), (1, 1));
    bench.stop().await;
}

#[tokio::test]
async fn a_new_generation_is_tried_at_once() {
    let mut bench = Bench::new().await;
    bench.world.failing.lock().unwrap().insert("a".into(), 8);
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.reasons("a").iter().filter(|it| *it == "Failed").count() == 8).await;
    let start = Instant::now();
    bench.declare(&[("a", "2")]);
    bench.until(|bench| bench.is_ready("a")).await;
    assert!(start.elapsed() < SECOND, "took {:?}", start.elapsed());
    bench.stop().await;
}

#[tokio::test]
async fn a_step_without_effect_is_not_repeated_in_a_circle() {
    let mut bench = Bench::new().await;
    bench.world.idle.lock().unwrap().insert("a".into());
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.condition("a")["reason"] == "Failed").await;
    advance(SECOND * 60).await;
    bench.turn().await;
    assert!(bench.applied().len() < 30, "{} steps in a minute", bench.applied().len());
    bench.world.idle.lock().unwrap().clear();
    bench.until_ready("a").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_machine_that_cannot_be_seen_is_unknown_until_it_can() {
    let mut bench = Bench::new().await;
    *bench.world.blind.lock().unwrap() = true;
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.condition("a")["status"] == "Unknown").await;
    assert_eq!(bench.condition("a")["reason"], "EngineUnavailable");
    *bench.world.blind.lock().unwrap() = false;
    bench.world.hint.notify_one();
    bench.until_ready("a").await;
    bench.stop().await;
}

#[tokio::test]
async fn what_waits_says_why_and_goes_on_when_it_can() {
    let mut bench = Bench::new().await;
    bench.world.seen.lock().unwrap().blocked.insert("a".into());
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.condition("a")["reason"] == "Blocked").await;
    assert!(bench.applied().is_empty());
    bench.world.seen.lock().unwrap().blocked.clear();
    bench.world.hint.notify_one();
    bench.until_ready("a").await;
    bench.stop().await;
}

#[tokio::test]
async fn mass_removal_waits_for_consent() {
    let mut bench = Bench::new().await;
    let names = ["a", "b", "c", "d"];
    bench.declare(&names.map(|name| (name, "1")));
    for name in names {
        bench.until_ready(name).await;
    }
    bench.declare(&[]);
    bench.until(|bench| bench.held().is_some()).await;
    advance(SECOND * 3600).await;
    bench.turn().await;
    assert_eq!(bench.world.seen.lock().unwrap().things.len(), 4, "removed without consent");
    assert!(bench.all_reasons().contains(&"Held".to_owned()));
    bench.consent(&names);
    bench.until(|bench| bench.world.seen.lock().unwrap().things.is_empty()).await;
    bench.stop().await;
}

#[tokio::test]
async fn incomplete_manifests_remove_nothing() {
    let mut bench = Bench::new().await;
    bench.declare(&[("a", "1"), ("b", "1")]);
    bench.until_ready("b").await;
    bench.declare_incomplete(&[("a", "1")]);
    advance(SECOND * 3600).await;
    bench.turn().await;
    assert!(bench.world.seen.lock().unwrap().things.contains_key("b"));
    bench.declare(&[("a", "1")]);
    bench.until(|bench| !bench.world.seen.lock().unwrap().things.contains_key("b")).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_defect_in_a_step_ends_only_that_step() {
    let mut bench = Bench::new().await;
    bench.world.broken.lock().unwrap().insert("a".into());
    bench.declare(&[("a", "1"), ("b", "1")]);
    bench.until_ready("b").await;
    bench.until_ready("a").await;
    assert!(bench.reasons("a").contains(&"Failed".to_owned()));
    bench.stop().await;
}

#[tokio::test]
async fn a_step_under_way_is_finished_and_no_other_begun_at_the_end() {
    let mut bench = Bench::new().await;
    bench.world.slow.lock().unwrap().insert("near".into(), SECOND * 5);
    bench.declare(&[("near", "1")]);
    bench.until(|bench| bench.condition("near")["reason"] == "Applying").await;
    let world = bench.world.clone();
    bench.stop().await;
    assert_eq!(*world.applied.lock().unwrap(), ["make near as 1"]);
}

#[tokio::test]
async fn a_transfer_is_broken_off_at_the_end() {
    let mut bench = Bench::new().await;
    bench.world.slow.lock().unwrap().insert("far".into(), SECOND * 5000);
    bench.declare(&[("far", "1")]);
    bench.until(|bench| bench.condition("far")["reason"] == "Applying").await;
    let start = Instant::now();
    bench.stop().await;
    assert!(start.elapsed() < SECOND, "took {:?}", start.elapsed());
}

#[tokio::test]
async fn what_failed_and_then_waits_is_not_looked_at_without_end() {
    let mut bench = Bench::new().await;
    bench.world.failing.lock().unwrap().insert("a".into(), 1);
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.condition("a")["reason"] == "PortTaken").await;
    bench.world.seen.lock().unwrap().blocked.insert("a".into());
    bench.world.hint.notify_one();
    bench.until(|bench| bench.condition("a")["reason"] == "Blocked").await;
    tokio::time::sleep(SECOND * 10).await;
    let before = bench.passes();
    tokio::time::sleep(SECOND * 60).await;
    assert!(bench.passes() - before <= 1, "{} looks in a quiet minute", bench.passes() - before);
    bench.stop().await;
}

#[tokio::test]
async fn a_step_that_does_not_end_is_abandoned_at_the_end() {
    let mut bench = Bench::new().await;
    bench.world.slow.lock().unwrap().insert("near".into(), SECOND * 5000);
    bench.declare(&[("near", "1")]);
    bench.until(|bench| bench.condition("near")["reason"] == "Applying").await;
    let start = Instant::now();
    bench.stop().await;
    // Time was resumed at the end, where the clock had come to.
    assert!(start.elapsed() < SECOND * 26, "took {:?}", start.elapsed());
}

#[tokio::test]
async fn the_loop_answers_while_a_step_is_under_way() {
    let mut bench = Bench::new().await;
    bench.world.slow.lock().unwrap().insert("far".into(), SECOND * 5000);
    bench.declare(&[("far", "1")]);
    bench.until(|bench| bench.condition("far")["reason"] == "Applying").await;
    assert!(bench.pulse().await);
    bench.stop().await;
}
