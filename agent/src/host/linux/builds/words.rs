//! What a builder says. Pure.

use std::{collections::VecDeque, time::Duration};

use bollard::{errors::Error, models::BuildInfo};
use futures_util::{Stream, StreamExt};
use piccolo_schema::Progress;
use tokio::time::timeout_at;

use crate::host::{
    HostError, Reason,
    linux::{
        error::{clean, translate},
        pace::Pace,
    },
};

/// How long it may work without a word.
const SILENCE: Duration = Duration::from_secs(1800);
/// How many of its last lines are told.
const LINES: usize = 5;
/// How much of a line is told.
const LONGEST: usize = 200;

/// Reads to its end what a builder says, and tells how far it has come.
pub(super) async fn follow(
    said: impl Stream<Item = Result<BuildInfo, Error>>,
    tell: impl Fn(Progress),
) -> Result<(), HostError> {
    let mut said = std::pin::pin!(said);
    let (mut words, mut pace) = (Words::default(), Pace::new(SILENCE));
    loop {
        match timeout_at(pace.next(), said.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(words.failed(&error)),
            Ok(Some(Ok(info))) => pace.heard(words.hear(info.stream.as_deref().unwrap_or_default())),
            Err(_) if pace.is_over() => return Err(words.silent()),
            Err(_) => {}
        }
        if pace.is_due() {
            words.progress().into_iter().for_each(&tell);
        }
    }
}

/// What a builder has said so far, as far as it matters.
#[derive(Debug, Default)]
struct Words {
    /// The step that it is at, of how many, and what it does there.
    step: Option<(u32, u32, String)>,
    /// The last lines of the program that it runs.
    last: VecDeque<String>,
    /// A line that has not ended yet.
    rest: String,
}

impl Words {
    /// Hears a part of what is said. Returns true if another step begins in it.
    fn hear(&mut self, part: &str) -> bool {
        let before = self.step.as_ref().map(|it| it.0);
        self.rest.push_str(part);
        while let Some(end) = self.rest.find(['\n', '\r']) {
            let line: String = self.rest.drain(..=end).collect();
            self.line(&line);
        }
        // One that never ends is not kept for ever.
        if self.rest.len() > 4 * LONGEST {
            let line = std::mem::take(&mut self.rest);
            self.line(&line);
        }
        self.step.as_ref().map(|it| it.0) != before
    }

    /// Says why a build failed: where it was, what the builder says, and what the program had said.
    fn failed(&mut self, error: &Error) -> HostError {
        let why = match error {
            Error::DockerStreamError { error } => error,
            Error::DockerResponseServerError { message, .. } => message,
            other => return translate(other),
        };
        let rest = std::mem::take(&mut self.rest);
        self.line(&rest);
        let full = why.contains("no space left on device");
        let reason = if full { Reason::DiskFull } else { Reason::BuildFailed };
        let at = self.at();
        let said: Vec<&str> = self.last.iter().map(String::as_str).collect();
        let said = if said.is_empty() { String::new() } else { format!("; it said: {}", said.join(" / ")) };
        HostError::new(reason, format!("{at} failed: {}{said}", clean(why)))
    }

    /// Says that nothing was said for too long.
    fn silent(&self) -> HostError {
        HostError::new(Reason::TimedOut, format!("{} said nothing for {} min", self.at(), SILENCE.as_secs() / 60))
    }

    fn progress(&self) -> Option<Progress> {
        let (step, steps, _) = self.step.as_ref()?;
        let percent = u64::from(step.saturating_sub(1)) * 100 / u64::from(*steps).max(1);
        let percent = u8::try_from(percent.min(100)).unwrap_or_default();
        Some(Progress { percent, step: *step, steps: *steps, ..Progress::default() })
    }

    fn at(&self) -> String {
        match &self.step {
            Some((step, all, what)) => format!("Step {step} of {all}, `{what}`,"),
            None => "The build".to_owned(),
        }
    }

    fn line(&mut self, line: &str) {
        let line = plain(line);
        if let Some(step) = step(&line) {
            self.step = Some(step);
            self.last.clear();
        } else if !line.is_empty() && !line.starts_with("--->") && !line.starts_with("Removing intermediate") {
            self.last.push_back(line);
            if self.last.len() > LINES {
                self.last.pop_front();
            }
        }
    }
}

/// Reads `Step 2/5 : RUN make`.
fn step(line: &str) -> Option<(u32, u32, String)> {
    let (numbers, what) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (step, all) = numbers.split_once('/')?;
    Some((step.parse().ok()?, all.parse().ok()?, what.to_owned()))
}

/// Returns a line without colours and other things that can't be seen, and no longer than is told.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut escape = false;
    for c in line.chars() {
        match c {
            '\u{1b}' => escape = true,
            c if escape => escape = !c.is_ascii_alphabetic(),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    let out = clean(out.trim());
    match out.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::malformed::{malformed, often};

    fn failed(parts: &[&str], why: &str) -> HostError {
        let mut words = Words::default();
        for part in parts {
            words.hear(part);
        }
        words.failed(&Error::DockerStreamError { error: why.to_owned() })
    }

    #[test]
    fn a_failure_says_where_and_what_was_said_there() {
        let parts = [
            "Step 1/3 : FROM busybox",
            "\n ---> 1f2e\n",
            "Step 2/3 : RUN make\n",
            " ---> Running in 1f\n",
            "\u{1b}[31mcc: no ",
            "such file\u{1b}[0m\n\nmake: ***",
        ];
        let error = failed(&parts, "The command '/bin/sh -c make' returned a non-zero code: 2");
        assert_eq!(error.reason, Reason::BuildFailed);
        let said = "Step 2 of 3, `RUN make`, failed: The command '/bin/sh -c make' returned a non-zero code: 2; it said: \
                    cc: no such file / make: ***";
        assert_eq!(error.message, said);
    }

    #[tokio::test(start_paused = true)]
    async fn steps_are_told_at_most_once_a_second_and_the_last_one_too() {
        let steps = (1..=10).map(|step| (10, format!("Step {step}/10 : RUN x\n"))).chain([(5000, String::new())]);
        let said = futures_util::stream::iter(steps).then(|(after, text)| async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            Ok(BuildInfo { stream: Some(text), ..BuildInfo::default() })
        });
        let (told, start) = (std::cell::RefCell::new(Vec::new()), Instant::now());
        follow(said, |it| told.borrow_mut().push((start.elapsed().as_millis(), it.step, it.percent))).await.unwrap();
        assert_eq!(told.into_inner(), [(10, 1, 0), (1010, 10, 90)]);
    }

    #[test]
    fn words_are_bounded_and_hold_no_login() {
        let flood: Vec<String> = (0..1000).map(|number| format!("{number} {}\n", "x".repeat(5000))).collect();
        let parts: Vec<&str> = flood.iter().map(String::as_str).collect();
        let error = failed(&parts, "no");
        assert!(error.message.len() < 1500 && error.message.contains("999"), "{error}");
        let error = failed(&["fetch https://me:canary@lan/x failed"], "code 1");
        assert!(!error.message.contains("canary") && error.message.contains("//lan/x"), "{error}");
        assert_eq!(failed(&[], "write: no space left on device").reason, Reason::DiskFull);
    }

    const SAID: &str = "Step 1/3 : FROM busybox\n ---> 1f2e\nStep 2/3 : RUN make\n ---> Running in 1f\n\u{1b}[31mcc: no such file\u{1b}[0m\n";

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_words_break_it(parts in [malformed(SAID), malformed(SAID)], why in malformed("code 2")) {
            let mut words = Words::default();
            for part in &parts {
                words.hear(part);
                prop_assert!(words.progress().is_none_or(|it| it.percent <= 100), "{:?}", parts);
            }
            let error = words.failed(&Error::DockerStreamError { error: why });
            prop_assert!(error.message.chars().count() < 2000, "{}", error);
            prop_assert!(!error.message.contains(char::is_control), "{:?}", error);
        }
    }
}
