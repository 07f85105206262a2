//! Manifests, and machines, that are only observed.

use tokio::time::advance;

use crate::{SECOND, bench::Bench};

#[tokio::test]
async fn what_is_only_observed_is_planned_and_said_and_never_done() {
    let mut bench = Bench::new().await;
    bench.only_observed.insert("a");
    bench.declare(&[("a", "1"), ("b", "1")]);
    bench.until_ready("b").await;
    bench.until(|bench| bench.condition("a")["reason"] == "Observed").await;
    advance(SECOND * 3600).await;
    bench.turn().await;
    assert_eq!(bench.applied(), ["make b as 1", "polish b"]);
    assert_eq!(bench.planned(), [("make a as 1".to_owned(), true), ("polish a".to_owned(), true)]);
    let condition = bench.condition("a");
    assert_eq!(condition["status"], "False");
    assert_eq!(condition["message"], "Not done, for it is only observed: make a as 1, then polish a");
    assert_eq!(bench.reasons("a"), ["Observed"], "said once");
    bench.stop().await;
}

#[tokio::test]
async fn it_is_done_once_the_mode_changes() {
    let mut bench = Bench::new().await;
    bench.only_observed.insert("a");
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.condition("a")["reason"] == "Observed").await;
    bench.only_observed.clear();
    bench.declare(&[("a", "1")]);
    bench.until_ready("a").await;
    assert_eq!(bench.status("a")["observedGeneration"], 1, "a mode is no change of the spec");
    bench.stop().await;
}

#[tokio::test]
async fn drift_of_what_is_only_observed_stays_and_is_said() {
    let mut bench = Bench::new().await;
    bench.declare(&[("a", "1")]);
    bench.until_ready("a").await;
    bench.only_observed.insert("a");
    bench.declare(&[("a", "1")]);
    bench.world.seen.lock().unwrap().things.clear();
    bench.world.hint.notify_one();
    bench.until(|bench| bench.condition("a")["reason"] == "Observed").await;
    assert_eq!(bench.applied().len(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn steps_that_failed_are_not_tried_again() {
    let mut bench = Bench::new().await;
    bench.world.failing.lock().unwrap().insert("a".into(), u32::MAX);
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.reasons("a").contains(&"Failed".to_owned())).await;
    bench.only_observed.insert("a");
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.condition("a")["reason"] == "Observed").await;
    let (failures, passes) = (bench.reasons("a").len(), bench.passes());
    advance(SECOND * 250).await;
    bench.turn().await;
    assert_eq!(bench.reasons("a").len(), failures);
    assert!(bench.passes() - passes < 5, "{} passes with nothing to do", bench.passes() - passes);
    bench.stop().await;
}

#[tokio::test]
async fn a_machine_that_is_observed_loses_nothing_either() {
    let mut bench = Bench::observed().await;
    bench.world.seen.lock().unwrap().things.insert("old".into(), "1".into());
    bench.declare(&[("a", "1")]);
    bench.until(|bench| bench.condition("a")["reason"] == "Observed").await;
    advance(SECOND * 3600).await;
    bench.turn().await;
    assert!(bench.applied().is_empty(), "{:?}", bench.applied());
    assert!(bench.planned().contains(&("remove old".to_owned(), true)), "{:?}", bench.planned());
    bench.stop().await;
}
