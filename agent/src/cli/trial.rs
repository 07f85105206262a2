//! Changes that are put back unless they are confirmed, as the commands that make them say it.

use piccolo_schema::duration::Duration;
use serde_json::Value;

use super::{
    failure::Failure,
    screen::{Screen, Tone},
};

/// Whether a change waits for its confirmation.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Trial {
    /// Puts the change back unless `piccolo confirm` says within this time that it stays, such as `120s`; also when the
    /// daemon or the machine ends meanwhile. A further change with this option joins it, any other is refused until then.
    #[arg(long, value_name = "TIME")]
    confirm_within: Option<Duration>,
}

impl Trial {
    /// Returns true if it does.
    pub(super) const fn is_wanted(self) -> bool {
        self.confirm_within.is_some()
    }

    /// Returns a path with the wish in its query.
    pub(super) fn path(self, path: &str) -> String {
        match self.confirm_within {
            Some(within) => format!("{path}?confirmWithin={within}"),
            None => path.to_owned(),
        }
    }

    /// Says how to confirm what these answers named.
    pub(super) fn say(self, trial: Option<&str>, screen: &Screen) -> Result<(), Failure> {
        match (self.confirm_within, trial) {
            (None, _) => Ok(()),
            (Some(_), None) => screen.line("nothing was changed, so nothing is on trial"),
            (Some(within), Some(id)) => {
                screen.line(screen.paint(Tone::Warning, &format!("on trial: it is put back in {within}, unless")))?;
                screen.line(format!("  it is meant to stay: piccolo confirm {id}"))?;
                screen.line(format!("  put it back at once: piccolo rollback {id}"))
            }
        }
    }
}

/// Tells a person of the change on trial that an answer names, if it does.
pub(super) fn begun(answer: &Value, screen: &Screen) {
    let trial = &answer["trial"];
    if let Some(id) = trial["id"].as_str() {
        screen.note(format!("on trial: it is put back in {}, unless", left(trial)));
        screen.note(format!("  it is meant to stay: piccolo confirm {id}"));
        screen.note(format!("  put it back at once: piccolo rollback {id}"));
    }
}

/// Prints the change on trial of a plan, if there is one.
pub(super) fn pending(document: &Value, screen: &Screen) -> Result<(), Failure> {
    let trial = &document["trial"];
    let Some(id) = trial["id"].as_str() else { return Ok(()) };
    let files: Vec<_> = trial["files"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let text = format!("! on trial: {}: put back in {}", files.join(", "), left(trial));
    screen.line(screen.paint(Tone::Warning, &text))?;
    screen.line(format!("  if it is meant to stay: piccolo confirm {id}"))
}

fn left(trial: &Value) -> Duration {
    Duration::from_millis(trial["secondsLeft"].as_u64().unwrap_or_default().saturating_mul(1000))
}
