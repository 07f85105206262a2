//! What may come in by git: regular files that would be read as manifests, and nothing else. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// The longest name of a file or a directory in bytes.
const LONGEST_NAME: usize = 200;
/// The most directories within each other, and the file.
const MOST_PARTS: usize = 16;
/// Letters that are not seen, or that turn others around.
const UNSEEN: &[char] = &[
    '\u{ad}', '\u{61c}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}',
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2067}', '\u{2068}',
    '\u{2069}', '\u{feff}',
];

/// Something that a revision brings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Brought {
    /// What it is, as git says it: `100644`.
    pub(crate) mode: String,
    pub(crate) object: String,
    pub(crate) path: Vec<u8>,
}

/// Reads what `git diff-tree -r -z --raw` says: `:100644 100644 <object> <object> M`, a zero, the path, a zero.
pub(crate) fn brought(answer: &[u8]) -> Option<BTreeSet<Brought>> {
    let mut words = answer.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let mut all = BTreeSet::new();
    while let Some(word) = words.next() {
        let mut fields = std::str::from_utf8(word).ok()?.strip_prefix(':')?.split(' ');
        let (mode, object) = (fields.nth(1)?.to_owned(), fields.nth(1)?.to_owned());
        all.insert(Brought { mode, object, path: words.next()?.to_owned() });
    }
    Some(all)
}

/// Says what may not come in, one sentence each.
pub(crate) fn refused(brought: &BTreeSet<Brought>) -> Vec<String> {
    let sentences = brought.iter().filter_map(|it| {
        let why = kind(&it.mode).or_else(|| place(&it.path))?;
        Some(format!("{}: {why}", shown(&it.path)))
    });
    sentences.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Says which of these paths only differ by the size of letters, where one of the two is new.
pub(crate) fn clashes(paths: &BTreeSet<&[u8]>, is_new: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let mut spelt: BTreeMap<String, (&[u8], &[u8])> = BTreeMap::new();
    let mut clashes = BTreeSet::new();
    for path in paths {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for part in ends.chain([path.len()]).map(|end| &path[..end]) {
            let folded = String::from_utf8_lossy(part).to_lowercase();
            let (other, other_path) = *spelt.entry(folded).or_insert((part, path));
            if other != part && (is_new(path) || is_new(other_path)) {
                clashes.insert(format!("{} and {} differ in the size of letters only", shown(other), shown(part)));
            }
        }
    }
    clashes.into_iter().collect()
}

fn kind(mode: &str) -> Option<&'static str> {
    match mode {
        "100644" => None,
        "100755" => Some("it is executable, which no manifest is: git update-index --chmod=-x"),
        "120000" => Some("it is a symbolic link; only regular files come in"),
        "160000" => Some("it is a submodule; only regular files come in"),
        _ => Some("it is no regular file"),
    }
}

fn place(path: &[u8]) -> Option<&'static str> {
    let Ok(path) = std::str::from_utf8(path) else { return Some("its name is not UTF-8") };
    if path.chars().any(|c| c.is_control() || c == '\\' || UNSEEN.contains(&c)) {
        return Some("there is a letter in its name that is not seen or means something else elsewhere");
    }
    let parts: Vec<_> = path.split('/').collect();
    if parts.iter().any(|part| part.is_empty() || part.starts_with(['.', '#'])) {
        return Some("a name that begins with a dot or a # is not read");
    }
    if parts.iter().any(|part| part.starts_with('-')) {
        return Some("a name that begins with a dash is taken for an option elsewhere");
    }
    if parts.iter().any(|part| part.len() >= LONGEST_NAME) {
        return Some("its name is too long");
    }
    if parts.len() > MOST_PARTS {
        return Some("it is nested too deep");
    }
    if !path.ends_with(".toml") {
        return Some("only manifests come in, and their names end with .toml");
    }
    None
}

/// Writes a path so that nothing in it is taken for something else.
pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().map(|c| if c.is_control() || UNSEEN.contains(&c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, not_text, often};

    fn it(mode: &str, path: &str) -> Vec<String> {
        refused(&[Brought { mode: mode.to_owned(), object: String::new(), path: path.into() }].into())
    }

    #[test]
    fn only_manifests_come_in() {
        for path in ["a.toml", "containers/Ünïcode é.toml", "a/b/c/d.toml", "a b.toml"] {
            assert_eq!(it("100644", path), Vec::<String>::new(), "{path}");
        }
        let deep = format!("{}a.toml", "d/".repeat(16));
        let long = format!("{}.toml", "l".repeat(200));
        let names = [
            "../a.toml",
            "a/../b.toml",
            "/a.toml",
            "a//b.toml",
            "",
            "a",
            "README.md",
            ".git/a.toml",
            ".gitattributes",
            ".a.toml",
            "-a.toml",
            "--a/b.toml",
            "#a.toml",
            "a\n.toml",
            "a\u{1b}[2J.toml",
            "a\\b.toml",
            "a\u{202e}.toml",
            "a.TOML",
            "a.toml/",
            &deep,
            &long,
        ];
        for path in names {
            assert_eq!(it("100644", path).len(), 1, "{path}");
        }
        for mode in ["100755", "120000", "160000", "040000", "100664", "0"] {
            assert_eq!(it(mode, "a.toml").len(), 1, "{mode}");
        }
        assert_eq!(it("120000", "a\n.toml"), ["a?.toml: it is a symbolic link; only regular files come in"]);
    }

    #[test]
    fn letters_of_two_sizes_clash_where_something_is_new() {
        let paths: BTreeSet<&[u8]> = [&b"A/x.toml"[..], b"a/y.toml", b"b.toml", b"B.toml", b"c.toml"].into();
        assert_eq!(clashes(&paths, |_| false), Vec::<String>::new());
        assert_eq!(clashes(&paths, |path| path == b"b.toml"), ["B.toml and b.toml differ in the size of letters only"]);
        assert_eq!(clashes(&paths, |_| true).len(), 2);
    }

    #[test]
    fn what_git_says_is_read() {
        let answer = b":000000 120000 00 ab A\0a\nb\0:100644 100644 cd ef M\0c.toml\0";
        let all: Vec<_> = brought(answer).unwrap().into_iter().collect();
        assert_eq!(all[0], Brought { mode: "100644".into(), object: "ef".into(), path: b"c.toml".into() });
        assert_eq!(all[1], Brought { mode: "120000".into(), object: "ab".into(), path: b"a\nb".into() });
        assert_eq!(brought(b"100644"), None);
    }

    const ANSWER: &str = ":000000 120000 00 ab A\0a\nb\0:100644 100644 cd ef M\0c.toml\0";

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_answer_breaks_it(text in malformed(ANSWER), bytes in not_text(ANSWER)) {
            for answer in [text.as_bytes(), &bytes] {
                let all = brought(answer).unwrap_or_default();
                let complaints = refused(&all);
                // What is not known for a manifest is never let in without a word.
                let is_fine = |it: &Brought| it.mode == "100644" && it.path.ends_with(b".toml");
                prop_assert!(all.iter().all(is_fine) || !complaints.is_empty(), "{:?}", answer);
                let paths: BTreeSet<&[u8]> = all.iter().map(|it| &*it.path).collect();
                let told = complaints.into_iter().chain(clashes(&paths, |_| true)).collect::<Vec<_>>();
                prop_assert!(!told.iter().any(|it| it.contains(|it: char| it.is_control())), "{:?}", told);
            }
        }
    }
}
