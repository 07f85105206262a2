//! A commit in the words that `git fast-import` reads. Pure.

use std::{os::unix::ffi::OsStrExt, path::Path};

use super::{BRANCH, NOTES, files::Files};

/// Who made a commit, and when.
pub(super) struct Signature<'a> {
    pub(super) name: &'a str,
    /// Seconds since 1970.
    pub(super) time: i64,
}

/// Returns the commands that put `after` in place of `before`, which is what `head` holds, and that answer with the new
/// commit.
pub(super) fn commit(
    head: Option<&str>,
    author: &Signature<'_>,
    message: &str,
    before: &Files,
    after: &Files,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut say = |part: &[u8]| out.extend_from_slice(part);
    say(format!("feature done\ncommit {BRANCH}\nmark :1\n").as_bytes());
    let Signature { name, time } = author;
    let name = plain(name);
    say(format!("author {name} <{name}@localhost> {time} +0000\n").as_bytes());
    say(format!("committer piccolod <piccolod@localhost> {time} +0000\n").as_bytes());
    say(&data(message.as_bytes()));
    if let Some(head) = head {
        say(format!("from {head}\n").as_bytes());
    }
    // What goes comes first: a directory may take the place of a file.
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        say(b"D ");
        say(&quoted(path));
    }
    for (path, text) in after.iter().filter(|(path, text)| before.get(*path) != Some(text)) {
        say(b"M 100644 inline ");
        say(&quoted(path));
        say(&data(text.as_bytes()));
    }
    say(b"\nget-mark :1\ndone\n");
    out
}

/// Returns the commands that put a note on a commit, on top of the notes that there are.
pub(super) fn note(before: Option<&str>, commit: &str, text: &str, time: i64) -> Vec<u8> {
    let mut out = format!("feature done\ncommit {NOTES}\ncommitter piccolod <piccolod@localhost> {time} +0000\n");
    out.push_str("data 0\n");
    if let Some(before) = before {
        out.push_str(&format!("from {before}\n"));
    }
    out.push_str(&format!("N inline {commit}\n"));
    [out.into_bytes(), data(text.as_bytes()), b"\ndone\n".to_vec()].concat()
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("data {}\n", bytes.len()).into_bytes();
    out.extend_from_slice(bytes);
    out.push(b'\n');
    out
}

/// A path may hold any byte but a zero.
fn quoted(path: &Path) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0..=31 | 127 => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.extend_from_slice(b"\"\n");
    out
}

/// A name that can't be taken for anything else.
fn plain(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control() && !['<', '>'].contains(c)).take(100).collect();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_becomes_a_command() {
        assert_eq!(quoted(Path::new("a\"b\\c\nD x")), b"\"a\\\"b\\\\c\\012D x\"\n");
        assert_eq!(plain("a <b>\nfrom x"), "a bfrom x");
        assert_eq!(plain("<>\n"), "unknown");
    }
}
