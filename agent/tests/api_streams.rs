//! The API's streams: watches, the followed journal, and how they end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

#[path = "api/support.rs"]
mod support;

use std::time::Duration;

use axum::response::Response;
use http_body_util::BodyExt;
use piccolo_agent::store::Event;
use piccolo_schema::Kind;
use serde_json::{Value, json};

use support::{CONTAINERS, House, WEB};

const TOML: (&str, &str) = ("content-type", "application/toml");

/// Reads documents from a stream, one a line.
struct Lines {
    response: Response,
    rest: Vec<u8>,
}

impl Lines {
    async fn open(house: &House, path: &str, accept: &str) -> Self {
        let response = house.response("GET", path, &[("accept", accept)], "").await;
        assert_eq!(response.status(), 200);
        Self { response, rest: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.response.body_mut().frame()).await;
            let frame = frame.expect("the stream is silent")?;
            self.rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    /// Reads until a document of this type comes.
    async fn until(&mut self, r#type: &str) -> Value {
        loop {
            let document = self.next().await.expect("the stream has ended");
            if document["type"] == r#type {
                return document["object"].clone();
            }
        }
    }
}

#[tokio::test]
async fn a_watch_shows_every_change() {
    let house = House::open().await;
    let mut watch = Lines::open(&house, &format!("{CONTAINERS}?watch=true"), "*/*").await;
    house.put_web().await;
    assert_eq!(watch.until("ADDED").await["metadata"]["name"], "web");
    let path = format!("{CONTAINERS}/web");
    house.send("PUT", &path, &[TOML], WEB.replace("1.27", "1.28")).await;
    while watch.until("MODIFIED").await["spec"]["image"] != "nginx:1.28" {}
    house.send("DELETE", &path, &[], "").await;
    assert_eq!(watch.until("DELETED").await["metadata"]["name"], "web");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_cut() {
    let house = House::open().await;
    let version = house.get(CONTAINERS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    house.put_web().await;
    house.send("DELETE", &format!("{CONTAINERS}/web"), &[], "").await;
    let mut watch = Lines::open(&house, &format!("{CONTAINERS}?watch=1&resourceVersion={version}"), "*/*").await;
    watch.until("ADDED").await;
    watch.until("DELETED").await;
    let old = house.get(&format!("{CONTAINERS}?watch=1&resourceVersion=1")).await;
    assert_eq!((old.status.as_u16(), old.json()["type"].clone()), (410, json!("urn:piccolo:problem:Expired")));
}

#[tokio::test]
async fn what_no_longer_matches_is_gone_for_the_watcher() {
    let house = House::open().await;
    let labelled = WEB.replace("name = \"web\"", "name = \"web\"\nlabels = { tier = \"front\" }");
    let path = format!("{CONTAINERS}/web");
    house.send("PUT", &path, &[TOML], labelled.clone()).await;
    let query = format!("{CONTAINERS}?watch=1&labelSelector=tier%3Dfront");
    let mut watch = Lines::open(&house, &query, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let table = watch.until("ADDED").await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("web")));
    house.send("PUT", &path, &[TOML], WEB).await;
    watch.until("DELETED").await;
    house.send("PUT", &path, &[TOML], labelled).await;
    watch.until("ADDED").await;
}

#[tokio::test]
async fn a_watch_lasts_as_long_as_it_is_asked_to() {
    let house = House::open().await;
    let mut watch = Lines::open(&house, &format!("{CONTAINERS}?watch=1&timeoutSeconds=1"), "*/*").await;
    assert_eq!(watch.next().await, None);
    assert_eq!(house.get(&format!("{CONTAINERS}?watch=1&sendInitialEvents=true")).await.status, 422);
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_told_to_begin_anew() {
    let house = House::open().await;
    let mut watch = Lines::open(&house, &format!("{CONTAINERS}?watch=true"), "*/*").await;
    for image in 0..400 {
        let manifest = json!({ "apiVersion": "piccolo.os/v1alpha1", "kind": "Container",
            "metadata": { "name": "busy" }, "spec": { "image": format!("a:{image}") } });
        house.writer.declare(Kind::Container, "busy", &manifest);
    }
    assert_eq!(watch.until("ERROR").await["code"], 410);
    assert_eq!(watch.next().await, None);
}

/// Reads what a stream gives until it has said this much.
async fn said(response: &mut Response, text: &str) {
    let mut all = String::new();
    while all.len() < text.len() {
        let frame = tokio::time::timeout(Duration::from_secs(20), response.body_mut().frame()).await;
        let frame = frame.expect("the stream is silent").expect("the stream has ended");
        all.push_str(str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    assert_eq!(all, text);
}

#[tokio::test]
async fn a_followed_log_goes_on_with_the_next_container() {
    let house = House::open().await;
    house.put_web().await;
    let is = |id: &str, state: &str| json!({ "containerId": id, "state": state });
    house.writer.report(Kind::Container, "web", is("brief-1", "exited"));
    let log = format!("{CONTAINERS}/web/log?follow=true");
    let mut plain = house.response("GET", &log, &[], "").await;
    said(&mut plain, "brief-1 says so\n").await;
    let mut dated = house.response("GET", &format!("{log}&tail=0&timestamps=true"), &[], "").await;
    house.writer.report(Kind::Container, "web", is("brief-1", "running"));
    house.writer.report(Kind::Container, "web", is("brief-2", "exited"));
    // What was printed before anybody asked is not for who wants no line of before.
    said(&mut plain, "brief-2 says so\n").await;
    house.writer.report(Kind::Container, "web", is("brief-9", "running"));
    said(&mut plain, "brief-9 says so\n").await;
    house.send("DELETE", &format!("{CONTAINERS}/web"), &[], "").await;
    for log in [&mut plain, &mut dated] {
        let end = tokio::time::timeout(Duration::from_secs(20), log.body_mut().frame()).await;
        assert!(end.expect("it goes on without a manifest").is_none());
    }
}

#[tokio::test]
async fn the_journal_by_the_page_and_followed() {
    let house = House::open().await;
    for number in 1..=5 {
        house.writer.event(Event::new("Applied", format!("step {number}")).about(Kind::Container, "web"));
    }
    let page = house.get("/journal?limit=2").await.json();
    assert_eq!((&page["items"][0]["message"], &page["next"]), (&json!("step 4"), &json!(5)));
    let page = house.get("/journal?since=1&limit=2").await.json();
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!(2), &json!(3)));
    let mut follow = Lines::open(&house, "/journal?follow=true&since=4&kind=container&name=web", "*/*").await;
    assert_eq!(follow.next().await.unwrap()["id"], 5);
    house.writer.event(Event::new("Applied", "another").about(Kind::Container, "db"));
    house.writer.event(Event::new("Applied", "step 7").about(Kind::Container, "web"));
    assert_eq!(follow.next().await.unwrap()["message"], "step 7");
}

#[tokio::test]
async fn a_follower_that_falls_behind_misses_nothing() {
    let house = House::open().await;
    let mut follow = Lines::open(&house, "/journal?follow=true", "*/*").await;
    for number in 0..600 {
        house.writer.event(Event::new("Applied", format!("step {number}")));
    }
    for number in 0..600 {
        assert_eq!(follow.next().await.unwrap()["message"], format!("step {number}"));
    }
}
