//! What git and the hook `proc-receive` say to each other: lines that begin with their length, as in gitprotocol-common(5).

use std::io::{self, Read, Write};

use super::{Command, MOST_OPTIONS, Push};

/// The most refs that are heard of.
const MOST_COMMANDS: usize = 10_000;
/// The version that both speak, and what else the hook understands.
const VERSION: &str = "version=1";
const OPTIONS: &str = "push-options";

/// A dialogue that has begun.
pub(super) struct Dialogue<I, O> {
    from: I,
    to: O,
    has_options: bool,
}

impl<I: Read, O: Write> Dialogue<I, O> {
    /// Agrees with git on a version.
    pub(super) fn begin(mut from: I, mut to: O) -> io::Result<Self> {
        let mut has_options = false;
        let mut is_known = false;
        while let Some(line) = read(&mut from)? {
            let line = text(&line);
            let (version, features) = line.split_once('\0').unwrap_or((&line, ""));
            is_known |= version == VERSION;
            has_options |= features.split(' ').any(|feature| feature == OPTIONS);
        }
        if !is_known {
            return Err(io::Error::other("it speaks another version"));
        }
        let features = if has_options { OPTIONS } else { "" };
        write(&mut to, &format!("{VERSION}\0{features}\n"))?;
        flush(&mut to)?;
        Ok(Self { from, to, has_options })
    }

    /// Hears what is pushed.
    pub(super) fn push(&mut self) -> io::Result<Push> {
        let mut push = Push::default();
        while let Some(line) = read(&mut self.from)? {
            push.commands.push(Command::read(&line).map_err(io::Error::other)?);
            if push.commands.len() > MOST_COMMANDS {
                return Err(io::Error::other("it names too many refs"));
            }
        }
        while self.has_options
            && let Some(line) = read(&mut self.from)?
        {
            push.options.push(text(&line));
            if push.options.len() > MOST_OPTIONS {
                return Err(io::Error::other("it names too many push options"));
            }
        }
        Ok(push)
    }

    /// Says that all of it is done, or why none of it is.
    pub(super) fn end(mut self, commands: &[Command], refusal: Option<&str>) -> io::Result<()> {
        for Command { name, .. } in commands {
            let line = match refusal {
                None => format!("ok {name}\n"),
                Some(why) => format!("ng {name} {why}\n"),
            };
            write(&mut self.to, &line)?;
        }
        flush(&mut self.to)
    }
}

/// Reads a line; none at the end of a part.
fn read(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = str::from_utf8(&length).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    match length {
        Some(0) => Ok(None),
        Some(length @ 4..) => {
            let mut line = vec![0; length - 4];
            from.read_exact(&mut line)?;
            Ok(Some(line))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\n').to_owned()
}

fn write(to: &mut impl Write, line: &str) -> io::Result<()> {
    write!(to, "{:04x}{line}", line.len() + 4)
}

fn flush(to: &mut impl Write) -> io::Result<()> {
    to.write_all(b"0000")?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, not_text, often};

    #[test]
    fn a_push_is_heard_and_answered() {
        let (old, new) = ("1".repeat(40), "2".repeat(40));
        let mut said = Vec::new();
        for part in ["version=1\0push-options atomic\n", &format!("{old} {new} refs/heads/main"), "dry-run"] {
            write(&mut said, part).unwrap();
            flush(&mut said).unwrap();
        }
        let mut answer = Vec::new();
        let mut dialogue = Dialogue::begin(&*said, &mut answer).unwrap();
        let push = dialogue.push().unwrap();
        assert_eq!(push.commands, [Command { old, new, name: "refs/heads/main".into() }]);
        assert_eq!(push.options, ["dry-run"]);
        dialogue.end(&push.commands, None).unwrap();
        assert_eq!(answer, b"001bversion=1\0push-options\n00000017ok refs/heads/main\n0000");
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for wrong in ["", "0000", "0003", "zzzz", "00ffshort", "000eversion=2\n0000"] {
            assert!(Dialogue::begin(wrong.as_bytes(), Vec::new()).is_err(), "{wrong}");
        }
    }

    const SAID: &str = "001bversion=1\0push-options\n000000171 2 refs/heads/main0000000bdry-run0000";

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_words_break_it(text in malformed(SAID), bytes in not_text(SAID)) {
            for said in [text.as_bytes(), &bytes] {
                let Ok(mut dialogue) = Dialogue::begin(said, Vec::new()) else { continue };
                let push = dialogue.push().unwrap_or_default();
                prop_assert!(push.options.len() + push.commands.len() < said.len(), "{:?}", said);
            }
        }
    }
}
