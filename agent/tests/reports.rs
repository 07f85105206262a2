//! What is said about a container or a volume once nothing is left to do for it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use piccolo_agent::{
    host::{ContainerSeen, EngineView, VolumesView, fake::FakeEngine},
    reconcile::{Reconciler, container::Containers, volume::Volumes},
};
use piccolo_schema::{Container, Volume};
use serde_json::{Value, json};

/// Returns `reason, ready` for a container of this spec that is seen like this.
fn verdict(spec: &Value, seen: &Value) -> (String, bool) {
    let mut spec = spec.clone();
    spec["image"] = "nginx:1.28".into();
    let mut container = seen.clone();
    container["id"] = "web-1".into();
    container["name"] = "web".into();
    container["limits"] = json!({ "restart": spec.get("restart").cloned().unwrap_or("always".into()) });
    container["stamp"] = json!({ "subject": "web", "spec": spec });
    let seen: ContainerSeen = serde_json::from_value(container).unwrap();
    let observed = EngineView { containers: vec![seen], ..EngineView::default() };
    let manifest = Container::new("web", serde_json::from_value(spec).unwrap());
    let report = Containers::<FakeEngine>::report(std::slice::from_ref(&manifest), &observed).remove(0);
    assert_eq!(report.fields["containerId"], "web-1");
    assert!(!report.message.ends_with('.'), "{}", report.message);
    (report.reason, report.ready)
}

#[test]
fn each_state_has_its_reason() {
    let always = json!({});
    let job = json!({ "restart": "no" });
    let retried = json!({ "restart": "onFailure" });
    let stopped = json!({ "running": false });
    let cases = [
        (&always, json!({ "state": "running" }), "Running", true),
        (&always, json!({ "state": "running", "health": "healthy" }), "Healthy", true),
        (&always, json!({ "state": "running", "health": "starting" }), "Starting", false),
        (&always, json!({ "state": "running", "health": "unhealthy" }), "Unhealthy", false),
        (&always, json!({ "state": "restarting", "exitCode": 1 }), "CrashLooping", false),
        (&always, json!({ "state": "exited", "exitCode": 0 }), "Exited", false),
        (&always, json!({ "state": "created" }), "Created", false),
        (&always, json!({ "state": "paused" }), "Paused", false),
        (&always, json!({ "state": "dead" }), "Dead", false),
        (&always, json!({ "state": "removing" }), "Removing", false),
        (&job, json!({ "state": "exited", "exitCode": 0 }), "Completed", true),
        (&job, json!({ "state": "exited", "exitCode": 3 }), "ExitedWithError", false),
        (&retried, json!({ "state": "exited", "exitCode": 0 }), "Completed", true),
        (&stopped, json!({ "state": "created" }), "Stopped", true),
        (&stopped, json!({ "state": "exited", "exitCode": 143 }), "Stopped", true),
    ];
    for (spec, seen, reason, ready) in cases {
        assert_eq!(verdict(spec, &seen), (reason.to_owned(), ready), "{spec} {seen}");
    }
}

#[test]
fn what_is_not_there_is_absent() {
    let manifest = Container::new("web", serde_json::from_value(json!({ "image": "nginx" })).unwrap());
    let report = Containers::<FakeEngine>::report(std::slice::from_ref(&manifest), &EngineView::default()).remove(0);
    assert_eq!((report.reason.as_str(), report.ready), ("Absent", false));
    assert_eq!(report.fields, json!({ "state": "absent" }));
}

#[test]
fn a_volume_says_where_its_data_is_and_what_limits_it() {
    let said = |spec: Value, seen: &Value| {
        let seen: VolumesView = serde_json::from_value(json!({ "volumes": seen })).unwrap();
        let manifest = Volume::new("data", serde_json::from_value(spec).unwrap());
        Volumes::<FakeEngine>::report(std::slice::from_ref(&manifest), &seen).remove(0)
    };
    let seen = |quota: Value| {
        let directory = json!({ "owner": "999:999", "mode": "0750", "quota": quota });
        json!([{ "name": "data", "stamped": true, "path": "/srv/data", "directory": directory }])
    };
    let limited = seen(json!({ "limit": 1 << 30, "used": 5 << 20, "room": 1_u64 << 40 }));
    let well = said(json!({ "path": "/srv/data", "quota": "1Gi" }), &limited);
    assert_eq!((well.ready, well.reason.as_str()), (true, "Present"));
    let fields =
        json!({ "volumeName": "data", "path": "/srv/data", "owner": "999:999", "mode": "0750", "used": "5Mi" });
    assert_eq!(well.fields, fields);
    for quota in [json!({ "unsupported": "It is btrfs" }), json!({ "room": 1 << 20 })] {
        let said = said(json!({ "path": "/srv/data", "quota": "1Gi" }), &seen(quota));
        assert_eq!((said.ready, said.reason.as_str()), (false, "QuotaUnsupported"), "{}", said.message);
        assert!(said.message.starts_with("Containers can mount it, but nothing limits it. "), "{}", said.message);
    }
    assert_eq!(said(json!({}), &json!([])).reason, "Absent");
    let foreign = said(json!({}), &json!([{ "name": "data" }]));
    assert_eq!((foreign.ready, foreign.message.as_str()), (true, "Containers can mount it; the engine keeps its data"));
}
