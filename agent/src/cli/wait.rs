//! Waiting for a manifest, with a sign of life at least every two seconds.

use std::time::Duration;

use piccolo_schema::Kind;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{client::Client, failure::Failure, progress, screen::Screen, subject};

/// How often the line on a terminal is drawn anew.
const BLINK: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(2);

/// Follows one object until `done` says what came of it, and tells meanwhile how it stands. Cut by the caller.
pub(super) async fn until<T>(
    kind: Kind,
    name: &str,
    client: &Client,
    screen: &Screen,
    done: impl Fn(&Value) -> Option<T>,
) -> Result<T, Failure> {
    let selector = format!("fieldSelector=metadata.name%3D{}", subject::escape(name));
    let path = format!("{}?watch=true&{selector}", subject::list_path(kind));
    let mut changes = client.follow(&path, &[]).await?;
    let (begun, mut object) = (Instant::now(), Value::Null);
    let pace = beat(screen);
    let mut beat = interval_at(begun + pace, pace);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let line = Line(screen);
    loop {
        tokio::select! {
            change = changes.document() => {
                let Some(mut change) = change? else {
                    return Err(Failure::Unsettled("the daemon stopped before it was ready".to_owned()));
                };
                object = change["object"].take();
                if let Some(done) = done(&object) {
                    return Ok(done);
                }
            }
            _ = beat.tick() => {
                let seconds = begun.elapsed().as_secs();
                line.show(&format!("{}/{name}: {}, {seconds} s", kind.singular(), standing(&object, screen.redraws())));
            }
        }
    }
}

/// Returns how often a person is told what is waited for.
pub(super) const fn beat(screen: &Screen) -> Duration {
    if screen.redraws() { BLINK } else { LINE }
}

/// Returns the condition that says whether an object does what was asked.
pub(super) fn ready(object: &Value) -> Option<&Value> {
    object["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == "Ready")
}

/// Says how an object stands: how far its pull has come, else what its condition says.
fn standing(object: &Value, drawn: bool) -> String {
    match progress::of(object) {
        Some(it) if drawn => format!("{} {}", progress::bar(&it), progress::words(&it)),
        Some(it) => progress::words(&it),
        None => {
            let message = ready(object).and_then(|it| it["message"].as_str());
            message.filter(|it| !it.is_empty()).unwrap_or("the daemon has not looked yet").to_owned()
        }
    }
}

/// The line that tells what is waited for. On a terminal it is rewritten, and dropped it is not there any more.
pub(super) struct Line<'a>(&'a Screen);

impl<'a> Line<'a> {
    pub(super) const fn of(screen: &'a Screen) -> Self {
        Self(screen)
    }

    pub(super) fn show(&self, text: &str) {
        if self.0.redraws() { self.0.redraw(text) } else { self.0.note(text) }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.0.redraws() {
            self.0.redraw("");
        }
    }
}
