//! What came of a subject in a pass, said as a condition. Pure.

use piccolo_schema::{Condition, Truth};

use crate::{
    host::HostError,
    reconcile::{Note, Report, Waiting},
};

/// What came of a subject in a pass.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome<'a> {
    /// Nothing is left to do.
    Settled(&'a Report),
    /// A step is under way or about to be.
    Working(&'a str),
    /// These steps would be done, but it is only observed.
    Observed(&'a [String]),
    /// Something must happen elsewhere first.
    Waiting(&'a Waiting),
    /// The last step failed; it will be tried again.
    Failed { step: &'a str, error: &'a HostError, failures: u32 },
    /// The machine can't be seen.
    Unseen(&'a HostError),
}

/// Says an outcome as the `Ready` condition. The time of the last transition stays while the status stays.
pub(super) fn ready(outcome: &Outcome<'_>, generation: i64, before: Option<&Condition>, now: &str) -> Condition {
    let (status, reason, message) = match outcome {
        Outcome::Settled(report) => (truth(report.ready), report.reason.clone(), report.message.clone()),
        Outcome::Working(step) => (Truth::False, "Applying".to_owned(), format!("Under way: {step}")),
        Outcome::Observed(steps) => (Truth::False, "Observed".to_owned(), observed(steps)),
        Outcome::Waiting(waiting) => (Truth::False, waiting.reason.clone(), waiting.message.clone()),
        Outcome::Failed { step, error, failures } => {
            (Truth::False, error.reason.as_str().to_owned(), failure(step, error, *failures))
        }
        Outcome::Unseen(error) => (Truth::Unknown, error.reason.as_str().to_owned(), error.message.clone()),
    };
    condition("Ready", status, reason, message, generation, before, now)
}

/// Says whether the file of a manifest is understood. `problem` is why not; what it said before is kept meanwhile.
pub(super) fn accepted(
    problem: Option<(&str, &str)>,
    generation: i64,
    before: Option<&Condition>,
    now: &str,
) -> Condition {
    match problem {
        None => condition(
            "Accepted",
            Truth::True,
            "Valid".into(),
            "The manifest is understood".into(),
            generation,
            before,
            now,
        ),
        Some((reason, message)) => {
            let message = format!("{message}; the last version that was understood stays in force");
            condition("Accepted", Truth::False, reason.into(), message, generation, before, now)
        }
    }
}

/// Says something to know of a manifest as a condition that is true.
pub(super) fn note(note: &Note, generation: i64, before: Option<&Condition>, now: &str) -> Condition {
    let (reason, message) = (note.reason.to_owned(), note.message.clone());
    condition(note.name, Truth::True, reason, message, generation, before, now)
}

/// Says steps that are not done.
fn observed(steps: &[String]) -> String {
    format!("Not done, for it is only observed: {}", steps.join(", then "))
}

fn condition(
    name: &str,
    status: Truth,
    reason: String,
    message: String,
    generation: i64,
    before: Option<&Condition>,
    now: &str,
) -> Condition {
    let since = before.filter(|before| before.status == status).map_or(now, |before| &before.last_transition_time);
    Condition {
        r#type: name.to_owned(),
        status,
        reason,
        message,
        last_transition_time: since.to_owned(),
        observed_generation: Some(generation),
    }
}

fn failure(step: &str, error: &HostError, failures: u32) -> String {
    let tries = if failures > 1 { format!(", {failures} times in a row") } else { String::new() };
    format!("`{step}` failed{tries}: {error}")
}

const fn truth(value: bool) -> Truth {
    if value { Truth::True } else { Truth::False }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Reason;

    fn report(ready: bool) -> Report {
        Report { ready, reason: "Running".into(), message: "It runs".into(), fields: serde_json::json!({}) }
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let first = ready(&Outcome::Settled(&report(true)), 1, None, "10:00");
        let same = ready(&Outcome::Settled(&report(true)), 2, Some(&first), "11:00");
        assert_eq!((same.last_transition_time.as_str(), same.observed_generation), ("10:00", Some(2)));
        let other = ready(&Outcome::Settled(&report(false)), 2, Some(&same), "12:00");
        assert_eq!((other.last_transition_time.as_str(), other.status), ("12:00", Truth::False));
    }

    #[test]
    fn a_machine_that_cannot_be_seen_is_unknown() {
        let error = HostError::new(Reason::EngineUnavailable, "Docker does not answer");
        let condition = ready(&Outcome::Unseen(&error), 1, None, "10:00");
        assert_eq!((condition.status, condition.reason.as_str()), (Truth::Unknown, "EngineUnavailable"));
    }

    #[test]
    fn a_failure_names_the_step_and_counts() {
        let error = HostError::new(Reason::PortTaken, "port 80 is taken");
        let outcome = Outcome::Failed { step: "start web", error: &error, failures: 3 };
        let condition = ready(&outcome, 1, None, "10:00");
        assert_eq!(condition.message, "`start web` failed, 3 times in a row: port 80 is taken");
        assert_eq!(condition.reason, "PortTaken");
    }

    #[test]
    fn a_stale_manifest_is_not_accepted() {
        let condition = accepted(Some(("ManifestInvalid", "web.toml:3:1: unknown key")), 1, None, "10:00");
        assert_eq!((condition.status, condition.reason.as_str()), (Truth::False, "ManifestInvalid"));
        assert!(condition.message.contains("stays in force"));
    }
}
