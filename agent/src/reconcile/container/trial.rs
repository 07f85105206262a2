//! How a container on trial does.

use piccolo_schema::ContainerSpec;

use super::{machine::Machine, report};
use crate::host::{ContainerSeen, Health, State, UpdatesSeen};

/// How a container on trial does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It can't be said yet.
    Open,
    /// Well, for long enough.
    Well,
    /// Not well, and why.
    Bad(String),
    /// Nothing can be said: the machine or the engine ended, and it with them.
    Interrupted,
}

/// Judges a container that has been started, or that the engine tried to start.
pub(super) fn judge(new: &ContainerSeen, spec: &ContainerSpec, machine: &Machine<'_>) -> Verdict {
    let code = new.exit_code.unwrap_or_default();
    match (new.state, new.health) {
        (State::Created, _) => Verdict::Bad(format!("it could not be started, exit code {code}")),
        (State::Exited, _) if code == 0 && report::has_done_its_work(new, spec) => Verdict::Well,
        (State::Exited, _) if machine.ended_with_the_engine(new) => Verdict::Interrupted,
        (State::Exited | State::Restarting, _) => Verdict::Bad(format!("it ended with exit code {code}")),
        (State::Dead | State::Removing, _) => Verdict::Bad("it was half removed".to_owned()),
        (State::Running | State::Paused, _) if new.engine_restarts > 0 => {
            Verdict::Bad("it ended and was started again".to_owned())
        }
        (State::Running, Some(Health::Unhealthy)) => Verdict::Bad("its health check failed".to_owned()),
        (State::Running, _) if has_been_well(new, spec, machine.updates) => Verdict::Well,
        (State::Running | State::Paused, _) => Verdict::Open,
    }
}

/// Returns true if its health check says that it does well. That it runs proves nothing yet.
pub(super) fn is_well_so_far(new: &ContainerSeen) -> bool {
    new.state == State::Running && new.engine_restarts == 0 && new.health == Some(Health::Healthy)
}

fn has_been_well(new: &ContainerSeen, spec: &ContainerSpec, updates: &UpdatesSeen) -> bool {
    let Some((now, since)) = updates.now.zip(updates.well_since.get(&new.id)) else { return false };
    let wanted = spec.update.as_ref().map(piccolo_schema::container::Update::health_for).unwrap_or_default();
    now.duration_since(*since).unsigned_abs() >= wanted && now >= *since
}
