//! What a controller says to the journal, in one place, so that it is said alike.

use piccolo_schema::{Condition, Kind};

use super::{removal::Held, subject::Subject};
use crate::{
    host::HostError,
    manifests::Problem,
    reconcile::{Step, Waiting},
    store::{Event, Writer},
};

/// Says what is about to be done: work found while the generation stood still is drift, unless it follows from a change
/// of other kinds or from what a registry offers.
pub(super) fn planned(store: &Writer, kind: Kind, name: &str, subject: &Subject, steps: &[String], follows: bool) {
    let steps = steps.join(", then ");
    let event = if subject.settled == Some(subject.generation) && subject.failure.is_none() && !follows {
        Event::new("Drifted", format!("Changed behind the back; to be done: {steps}")).warning()
    } else {
        Event::new("Planned", steps)
    };
    store.event(event.about(kind, name).at(subject.generation));
}

/// Says that a step was applied.
pub(super) fn applied<S: Step>(store: &Writer, kind: Kind, step: &S, generation: i64) {
    store.stepped(kind, true);
    store.event(Event::new("Applied", step.to_string()).about(kind, step.subject()).at(generation));
}

/// Says that a step failed.
pub(super) fn failed(store: &Writer, kind: Kind, name: &str, generation: i64, step: &str, error: &HostError) {
    store.stepped(kind, false);
    let message = format!("`{step}` failed ({}): {error}", error.reason.as_str());
    store.event(Event::new("Failed", message).about(kind, name).at(generation).warning());
}

/// Says, once, that a subject waits.
pub(super) fn waiting(store: &Writer, kind: Kind, name: &str, subject: &mut Subject, waiting: &Waiting) {
    if subject.said.as_deref() == Some(&waiting.message) {
        return;
    }
    subject.said = Some(waiting.message.clone());
    let message = format!("{} ({})", waiting.message, waiting.reason);
    store.event(Event::new("Waiting", message).about(kind, name).at(subject.generation));
}

/// Says, once, what would be done if the subject was not only observed.
pub(super) fn observed(store: &Writer, kind: Kind, name: &str, subject: &mut Subject, ready: &Condition) {
    if subject.said.as_ref() == Some(&ready.message) {
        return;
    }
    subject.said = Some(ready.message.clone());
    store.event(Event::new("Observed", ready.message.clone()).about(kind, name).at(subject.generation));
}

/// Says, once a generation and after each repair, that a subject is settled, and how it stands.
pub(super) fn settled(store: &Writer, kind: Kind, name: &str, subject: &mut Subject, ready: &Condition) {
    let said = format!("{} {}", subject.generation, ready.reason);
    if subject.said.as_deref() == Some(&said) {
        return;
    }
    let news = subject.acted || subject.settled != Some(subject.generation) || subject.said.is_some();
    subject.said = Some(said);
    subject.settled = Some(subject.generation);
    store.settled(kind, name, subject.generation);
    // After a restart of the daemon a machine that stood well is no news.
    if news {
        store.event(
            Event::new("Settled", format!("{} ({})", ready.message, ready.reason))
                .about(kind, name)
                .at(subject.generation),
        );
    }
}

/// Says that removals wait for a confirmation.
pub(super) fn held(store: &Writer, kind: Kind, held: &Held) {
    let message = format!(
        "{} removals at once look like a mistake: {}; if they are meant, run `piccolo confirm {}`",
        held.names.len(),
        held.names.join(", "),
        held.id
    );
    let mut event = Event::new("Held", message).warning();
    event.kind = Some(kind);
    store.event(event);
}

/// Says that a file can't be used.
pub(super) fn rejected(store: &Writer, problem: &Problem) {
    store.event(about(Event::new(problem.reason, problem.message.clone()).warning(), problem));
}

/// Says that a file can be used again, or is gone.
pub(super) fn accepted(store: &Writer, problem: &Problem) {
    let message = format!("{}: no longer {}", problem.path.display(), problem.reason);
    store.event(about(Event::new("ManifestAccepted", message), problem));
}

fn about(mut event: Event, problem: &Problem) -> Event {
    event.kind = problem.kind;
    event.name = problem.name.clone();
    event
}
