use super::{ContainerSpec, note};
use crate::{
    container::HealthCheck,
    parse::{Code, Path, Violation},
};

pub(super) fn check(spec: &ContainerSpec, health: &HealthCheck, out: &mut Vec<Violation>) {
    let path = |key: &str| Path::spec("healthCheck").key(key);
    let given =
        [("command", !health.command.is_empty()), ("http", health.http.is_some()), ("tcp", health.tcp.is_some())];
    let given: Vec<_> = given.into_iter().filter_map(|(key, given)| given.then_some(key)).collect();
    match given[..] {
        [] => {
            let help = "add `command = [\"…\"]`, `http = { port = 80 }` or `tcp = { port = 5432 }`";
            note(out, Code::MissingKey, Path::spec("healthCheck"), "the health check says nothing to check", help);
        }
        [first, second, ..] => {
            let reason = format_args!("a health check has either `{first}` or `{second}`, not both");
            note(out, Code::Conflict, path(second), reason, "keep one of them");
        }
        [key @ ("http" | "tcp")] if spec.network.as_deref() == Some("none") => {
            let reason = format_args!("without a network nobody can ask the container over `{key}`");
            note(out, Code::Conflict, path(key), reason, "use `command`, or join a network");
        }
        [_] => {}
    }
    for (key, time) in [("interval", health.interval), ("timeout", health.timeout)] {
        if time.is_some_and(|it| it.get().is_zero()) {
            let reason = format_args!("`{key}` is no time at all");
            note(out, Code::OutOfRange, path(key), reason, "leave it out, or give `1s` or more");
        }
    }
}
