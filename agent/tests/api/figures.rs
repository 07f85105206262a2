//! What containers print and use, and how the machine is.

use piccolo_schema::Kind;
use serde_json::json;

use crate::{
    manifest,
    support::{CONTAINERS, House},
    web,
};

#[tokio::test]
async fn what_a_container_prints() {
    let house = House::open().await;
    house.put_web().await;
    assert_eq!(house.get(&format!("{}/log", web())).await.status, 502, "there is no container yet");
    house.writer.report(Kind::Container, "web", json!({ "containerId": "web" }));
    let log = format!("{}/log", web());
    assert_eq!(house.get(&log).await.text, "web starts\nweb is up\n");
    assert_eq!(house.get(&format!("{log}?tail=1")).await.text, "web is up\n");
    assert_eq!(house.get(&format!("{log}?tail=x")).await.status, 400);
    let part = house.get(&format!("{log}?since=2026-01-01T06:30:00Z&timestamps=true")).await;
    assert_eq!(part.text, "2026-01-01T07:00:00Z web is up\n");
    assert_eq!(house.get(&format!("{log}?until=10m")).await.text.lines().count(), 2);
    for wrong in ["since=soon", "until=2026", "since=1m&until=2m", "timestamps=perhaps"] {
        assert_eq!(house.get(&format!("{log}?{wrong}")).await.status, 400, "{wrong}");
    }
    assert_eq!(house.get(&format!("{CONTAINERS}/db/log")).await.status, 404);
    house.put(&format!("{CONTAINERS}/mute"), &manifest("mute", "a:1")).await;
    house.writer.report(Kind::Container, "mute", json!({ "containerId": "mute" }));
    assert_eq!(house.get(&format!("{CONTAINERS}/mute/log")).await.status, 502);
}

#[tokio::test]
async fn what_containers_use() {
    let house = House::open().await;
    assert_eq!(house.get("/top").await.json(), json!({ "items": [] }));
    for name in ["web", "mute", "ended", "absent"] {
        house.put(&format!("{CONTAINERS}/{name}"), &manifest(name, "a:1")).await;
    }
    for (name, state) in [("web", "running"), ("mute", "running"), ("ended", "exited")] {
        house.writer.report(Kind::Container, name, json!({ "state": state, "containerId": name }));
    }
    let top = house.get("/top").await.json();
    let usage = json!({ "at": "2026-01-01T06:00:01Z", "processorNanoseconds": 250_000_000, "memoryBytes": 3 << 20,
        "memoryLimitBytes": 1 << 30, "receivedBytes": 10, "sentBytes": 20, "readBytes": 30, "writtenBytes": 40,
        "tasks": 5 });
    let mute = json!({ "kind": "Container", "name": "mute", "error": "It does not run" });
    assert_eq!(top["items"], json!([mute, { "kind": "Container", "name": "web", "usage": usage }]));
    let metrics = house.get("/metrics").await.text;
    for line in [
        "# TYPE piccolo_container_cpu_seconds_total counter\npiccolo_container_cpu_seconds_total{container=\"web\"} 0.75\n",
        "# TYPE piccolo_container_memory_bytes gauge\npiccolo_container_memory_bytes{container=\"web\"} 3145728\n",
        "piccolo_container_network_receive_bytes_total{container=\"web\"} 10\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(!metrics.contains("\"mute\""), "{metrics}");
}

#[tokio::test]
async fn health_and_figures() {
    let house = House::open().await;
    house.put_web().await;
    assert_eq!(house.get("/livez").await.text, "ok\n");
    assert_eq!(house.get("/readyz").await.text, "ok\n");
    house.writer.health("engine", false, "no engine answers");
    let ready = house.get("/readyz?verbose").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.starts_with("[-]engine: no engine answers\n[+]store: "), "{}", ready.text);
    house.writer.passed(Kind::Container);
    house.writer.stepped(Kind::Container, false);
    let metrics = house.get("/metrics").await.text;
    for line in [
        "piccolo_passes_total{kind=\"Container\"} 1",
        "piccolo_steps_failed_total{kind=\"Container\"} 1",
        "piccolo_build_info{version=\"0.0.0-test\"} 1",
        "piccolo_objects_ready{kind=\"Container\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}
