//! What a pass costs without the machine: text to manifest, and manifests to plan.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench is no interface, and stops where it breaks")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use piccolo_agent::{
    host::{ContainerSeen, EngineView, Firewall, Limits, Stamp, State},
    reconcile::{Reconciler, container::Containers},
};
use piccolo_schema::{Container, Declared, Desired, Manifest, parse::parse};

type Planner = Containers<piccolo_agent::host::fake::FakeEngine>;

fn text(number: usize) -> String {
    format!(
        r#"#:schema ../schema/json/container.json
apiVersion = "piccolo.os/v1alpha1"
kind = "Container"

[metadata]
name = "web-{number:05}"
labels = {{ tier = "front" }}

[spec]
image = "registry.lan:5000/team/web:1.{number}"
command = ["httpd", "-f", "-p", "80"]
env = {{ LANG = "C", NUMBER = "{number}" }}
memory = "64Mi"
cpus = 0.5
network = "apps"

[[spec.ports]]
hostPort = {port}
containerPort = 80
hostIp = "127.0.{high}.1"

[[spec.mounts]]
path = "/data"
volume = "data-{number}"

[spec.healthCheck]
command = ["true"]
interval = "30s"
"#,
        port = 1024 + number % 60_000,
        high = number / 60_000,
    )
}

fn container(number: usize) -> Container {
    match parse(&text(number)).unwrap() {
        Manifest::Container(container) => *container,
        _ => unreachable!(),
    }
}

/// Returns what an engine shows that runs all of these as declared.
fn settled(manifests: &[Container]) -> EngineView {
    let seen = |manifest: &Container| ContainerSeen {
        id: format!("id-{}", manifest.name()),
        name: manifest.name().to_owned(),
        stamp: Some(Stamp {
            subject: manifest.name().to_owned(),
            spec: Some(Box::new(manifest.spec.clone())),
            variables: Default::default(),
            rollout: None,
        }),
        state: State::Running,
        health: None,
        exit_code: None,
        image_id: String::new(),
        image_digest: None,
        since: None,
        engine_restarts: 0,
        limits: Limits::of(&manifest.spec),
        restarts: 0,
        address: None,
        attached: true,
    };
    EngineView {
        firewall: Firewall::default(),
        containers: manifests.iter().map(seen).collect(),
        images: manifests.iter().map(|manifest| manifest.spec.image.clone()).collect(),
        networks: vec!["apps".to_owned()],
        volumes: (0..manifests.len()).map(|number| format!("data-{number}")).collect(),
        ..EngineView::default()
    }
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("passes");
    group.sample_size(10);
    for count in [100, 10_000] {
        let texts: Vec<String> = (0..count).map(text).collect();
        let manifests: Vec<Container> = (0..count).map(container).collect();
        let observed = settled(&manifests);
        let desired = Desired::complete(manifests);
        let nothing = EngineView::default();
        assert!(Planner::plan(&desired, &observed).is_settled());
        group.bench_function(format!("parse {count} manifests"), |bench| {
            bench.iter(|| texts.iter().filter(|text| parse(black_box(text)).is_ok()).count());
        });
        group.bench_function(format!("plan {count} containers from nothing"), |bench| {
            bench.iter(|| Planner::plan(black_box(&desired), &nothing));
        });
        group.bench_function(format!("plan {count} settled containers"), |bench| {
            bench.iter(|| Planner::plan(black_box(&desired), &observed));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
