//! Figures in the text form of Prometheus.

use std::fmt::{Display, Write};

use axum::{extract::State as Extract, http::header, response::IntoResponse};
use piccolo_schema::Kind;

use super::{State, table, top};
use crate::console::Usage;

pub(super) async fn show(Extract(state): Extract<State>) -> impl IntoResponse {
    let mut page = Page::default();
    page.gauge("piccolo_build_info", "The version that runs.");
    page.sample("piccolo_build_info", "version", state.version, 1);
    objects(&mut page, &state);
    plans(&mut page, &state);
    remembered(&mut page, &state);
    containers(&mut page, &top::usages(&state).await);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page.0)
}

fn objects(page: &mut Page, state: &State) {
    let lists: Vec<_> = Kind::ALL.iter().map(|kind| (kind, state.store.list(*kind).1)).collect();
    page.gauge("piccolo_objects", "Objects that are declared.");
    for (kind, objects) in &lists {
        page.sample("piccolo_objects", "kind", kind, objects.len());
    }
    page.gauge("piccolo_objects_ready", "Objects that do what was asked.");
    for (kind, objects) in &lists {
        let ready = |object: &&std::sync::Arc<serde_json::Value>| {
            table::dig(object, ".status.conditions[?(@.type==\"Ready\")].status").is_some_and(|it| it == "True")
        };
        page.sample("piccolo_objects_ready", "kind", kind, objects.iter().filter(ready).count());
    }
}

fn plans(page: &mut Page, state: &State) {
    let plans = state.store.plans();
    page.gauge("piccolo_steps_planned", "Changes still to be made.");
    for (kind, plan) in &plans {
        page.sample("piccolo_steps_planned", "kind", kind, plan.steps.len());
    }
    page.gauge("piccolo_waiting", "Objects that can't be planned yet.");
    for (kind, plan) in &plans {
        page.sample("piccolo_waiting", "kind", kind, plan.waiting.len());
    }
    page.gauge("piccolo_removals_held", "Removals that wait for a confirmation.");
    for (kind, plan) in &plans {
        page.sample("piccolo_removals_held", "kind", kind, plan.held.as_ref().map_or(0, |held| held.names.len()));
    }
}

fn remembered(page: &mut Page, state: &State) {
    let counters = state.store.counters();
    page.counter("piccolo_passes_total", "Turns of the loop.");
    for (kind, work) in &counters.work {
        page.sample("piccolo_passes_total", "kind", kind, work.passes);
    }
    page.counter("piccolo_steps_applied_total", "Changes that were made.");
    for (kind, work) in &counters.work {
        page.sample("piccolo_steps_applied_total", "kind", kind, work.applied);
    }
    page.counter("piccolo_steps_failed_total", "Changes that failed.");
    for (kind, work) in &counters.work {
        page.sample("piccolo_steps_failed_total", "kind", kind, work.failed);
    }
    page.gauge("piccolo_manifest_problems", "Files that can't be used.");
    page.plain("piccolo_manifest_problems", state.manifests.snapshot().problems.len());
    page.counter("piccolo_journal_events_total", "Events written to the journal.");
    page.plain("piccolo_journal_events_total", counters.last_event);
    page.counter("piccolo_store_syncs_total", "Times that the store was written to disk.");
    page.plain("piccolo_store_syncs_total", counters.syncs);
    page.counter("piccolo_store_sync_failures_total", "Times that the store could not be written to disk.");
    page.plain("piccolo_store_sync_failures_total", counters.sync_failures);
}

type Figure = fn(&Usage) -> u64;

const HELD: &[(&str, &str, Figure)] = &[
    ("piccolo_container_memory_bytes", "Memory that a container holds.", |it| it.memory_bytes),
    ("piccolo_container_memory_limit_bytes", "Memory that a container may hold.", |it| it.memory_limit_bytes),
    ("piccolo_container_tasks", "Processes and threads of a container.", |it| it.tasks),
];

const USED: &[(&str, &str, Figure)] = &[
    ("piccolo_container_network_receive_bytes_total", "What came in over its networks.", |it| it.received_bytes),
    ("piccolo_container_network_transmit_bytes_total", "What went out over its networks.", |it| it.sent_bytes),
    ("piccolo_container_disk_read_bytes_total", "What a container read from disks.", |it| it.read_bytes),
    ("piccolo_container_disk_written_bytes_total", "What a container wrote to disks.", |it| it.written_bytes),
];

/// Writes what running containers use. One that could not be asked has no samples.
fn containers(page: &mut Page, counted: &[(String, Result<Usage, String>)]) {
    let counted: Vec<_> =
        counted.iter().filter_map(|(name, usage)| usage.as_ref().ok().map(|usage| (name, usage))).collect();
    page.counter("piccolo_container_cpu_seconds_total", "Time of processors that a container used.");
    for (name, usage) in &counted {
        let nanoseconds = std::time::Duration::from_nanos(usage.processor_nanoseconds);
        page.sample("piccolo_container_cpu_seconds_total", "container", name, nanoseconds.as_secs_f64());
    }
    for (metric, help, figure) in HELD {
        page.gauge(metric, help);
        counted.iter().for_each(|(name, usage)| page.sample(metric, "container", name, figure(usage)));
    }
    for (metric, help, figure) in USED {
        page.counter(metric, help);
        counted.iter().for_each(|(name, usage)| page.sample(metric, "container", name, figure(usage)));
    }
}

/// Text being written. Writing to a string can't fail, so the results are let go.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn counter(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} counter");
    }

    fn sample(&mut self, name: &str, label: &str, value: impl Display, count: impl Display) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} {count}");
    }

    fn plain(&mut self, name: &str, count: impl Display) {
        let _ = writeln!(self.0, "{name} {count}");
    }
}
