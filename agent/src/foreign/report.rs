//! What became of each key of what came from elsewhere.

use serde::{Deserialize, Serialize};

/// How much of a key is in the manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// All, in the same sense.
    Kept,
    /// It is there, but not as it was.
    Changed,
    /// It is lost.
    Unsupported,
}

/// One key, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The thing that it belongs to: `service web`, `network front`, `project`.
    pub subject: String,
    /// The key below the thing: `ports[0]`.
    pub key: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How, or why; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Every key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order of the file.
    pub rows: Vec<Row>,
}

/// The narrowest that a note is made.
const NARROWEST: usize = 24;
/// The widest that a key is shown before its note moves to the next line.
const WIDEST_KEY: usize = 22;

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Changed => "changed",
            Self::Unsupported => "unsupported",
        }
    }
}

impl Report {
    /// Returns true if something of the file is in no manifest.
    pub fn is_lossy(&self) -> bool {
        self.count(Outcome::Unsupported) > 0
    }

    /// Returns how many keys had this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// Returns the report for a person, no line wider than this.
    pub fn lines(&self, width: usize) -> Vec<String> {
        let mut subjects: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !subjects.contains(&row.subject.as_str()) {
                subjects.push(&row.subject);
            }
        }
        let mut lines = Vec::new();
        for subject in subjects {
            lines.push(subject.to_owned());
            let rows: Vec<_> = self.rows.iter().filter(|row| row.subject == subject).collect();
            let plain: Vec<_> = rows
                .iter()
                .filter(|row| row.outcome == Outcome::Kept && row.note.is_empty())
                .map(|row| row.key.as_str())
                .collect();
            if !plain.is_empty() {
                entry(&mut lines, Outcome::Kept, "", &plain.join(", "), width);
            }
            for outcome in [Outcome::Kept, Outcome::Changed, Outcome::Unsupported] {
                for row in rows.iter().filter(|row| row.outcome == outcome && !row.note.is_empty()) {
                    entry(&mut lines, outcome, &row.key, &row.note, width);
                }
            }
        }
        lines.push(format!(
            "{} kept, {} changed, {} unsupported.",
            self.count(Outcome::Kept),
            self.count(Outcome::Changed),
            self.count(Outcome::Unsupported)
        ));
        lines
    }
}

/// Writes one outcome, its key and its note, wrapped.
fn entry(lines: &mut Vec<String>, outcome: Outcome, key: &str, note: &str, width: usize) {
    let indent = if key.is_empty() { 15 } else { 15 + WIDEST_KEY + 2 };
    let mut wrapped = wrap(note, width.saturating_sub(indent).max(NARROWEST)).into_iter();
    let head = format!("  {:11}  {key}", outcome.as_str());
    let fits = key.chars().count() <= WIDEST_KEY;
    let first = if fits { wrapped.next().unwrap_or_default() } else { String::new() };
    let gap = indent.saturating_sub(head.chars().count());
    lines.push(format!("{head}{}{first}", " ".repeat(gap)).trim_end().to_owned());
    lines.extend(wrapped.map(|line| format!("{}{line}", " ".repeat(indent))));
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    // Control characters would let a value of the file steer the terminal.
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for word in clean.split(' ') {
        let word: Vec<char> = word.chars().collect();
        for (part, piece) in word.chunks(width).enumerate() {
            let last = lines.last_mut();
            let used = last.as_ref().map_or(0, |line| line.chars().count());
            let piece: String = piece.iter().collect();
            match last {
                Some(line) if part == 0 && used == 0 => line.push_str(&piece),
                Some(line) if part == 0 && used + 1 + piece.chars().count() <= width => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                _ => lines.push(piece),
            }
        }
    }
    lines
}
