//! Variables: files of `NAME=value`, and `${NAME}` in the texts of a compose file.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    mistake::{Mistake, Place},
    yaml::Node,
};

/// How deep defaults may stand in defaults.
const DEEPEST: usize = 8;

/// Reads a file of `NAME=value` lines. Values may speak of variables that are known, here or above them; what stands in
/// single quotes is taken as it is. A name without a value is `None`.
///
/// # Errors
/// Every value that speaks of a variable which is not known.
pub fn read_env(text: &str, known: &BTreeMap<String, String>) -> Result<Vec<(String, Option<String>)>, Vec<Mistake>> {
    let (mut all, mut variables, mut mistakes) = (Vec::new(), known.clone(), Vec::new());
    let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1_u32..);
    while let Some((line, number)) = lines.next() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            all.push((line.trim().to_owned(), None));
            continue;
        };
        let name = name.trim().to_owned();
        let (mut value, literal) = value_of(value.trim(), &mut lines.by_ref().map(|(line, _)| line));
        if !literal && value.contains('$') {
            let mut filler = Filler { variables: &variables, used: BTreeSet::new(), mistakes: Vec::new() };
            value = filler.fill(&value, Place { line: number, column: 1 }, DEEPEST);
            let help = "give it one above, or put the value in single quotes if the `$` is meant";
            mistakes.extend(filler.mistakes.into_iter().map(|it| Mistake { help: help.to_owned(), ..it }));
        }
        // What the shell says wins, as it does for compose.
        variables.entry(name.clone()).or_insert_with(|| value.clone());
        all.push((name, Some(value)));
    }
    if mistakes.is_empty() { Ok(all) } else { Err(mistakes) }
}

/// Returns a value without its quotes or its comment, and whether it is meant letter by letter. A value in quotes may go
/// on over lines.
fn value_of(value: &str, lines: &mut dyn Iterator<Item = &str>) -> (String, bool) {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let plain = value.split(" #").next().unwrap_or_default();
        return (plain.trim_end().to_owned(), false);
    };
    let mut rest = value[1..].to_owned();
    let mut end = closing(&rest, quote);
    while end.is_none() {
        let Some(line) = lines.next() else { break };
        rest.push('\n');
        rest.push_str(line);
        end = closing(&rest, quote);
    }
    let inner = &rest[..end.unwrap_or(rest.len())];
    if quote == '\'' { (inner.to_owned(), true) } else { (unescape(inner), false) }
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('r')) => out.push('\r'),
            // It stays doubled until the variables are filled in.
            ('\\', Some('$')) => out.push_str("$$"),
            ('\\', Some(other)) => out.push(other),
            (c, _) => out.push(c),
        }
    }
    out
}

/// Puts values in the place of `$NAME` and `${NAME…}` everywhere; returns the names that had one.
pub(super) fn fill(node: &mut Node, variables: &BTreeMap<String, String>) -> (BTreeSet<String>, Vec<Mistake>) {
    let mut filler = Filler { variables, used: BTreeSet::new(), mistakes: Vec::new() };
    node.each_text(&mut |text, place| {
        if text.contains('$') {
            *text = filler.fill(text, place, DEEPEST);
        }
    });
    (filler.used, filler.mistakes)
}

struct Filler<'a> {
    variables: &'a BTreeMap<String, String>,
    used: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Filler<'_> {
    fn fill(&mut self, text: &str, place: Place, depth: usize) -> String {
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            rest = if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                after
            } else if let Some(inner) = after.strip_prefix('{') {
                let Some(end) = brace(inner).filter(|_| depth > 0) else {
                    self.wrong(place, "a `${` is not closed, or stands too deep in others");
                    return out;
                };
                let value = self.braced(&inner[..end], place, depth - 1);
                out.push_str(&value);
                &inner[end + 1..]
            } else {
                let name = name(after);
                if name.is_empty() {
                    self.wrong(place, "a `$` has no name of a variable behind it");
                }
                let value = self.plain(name, place);
                out.push_str(&value);
                &after[name.len()..]
            };
        }
        out.push_str(rest);
        out
    }

    /// Answers what stands between `${` and `}`.
    fn braced(&mut self, inner: &str, place: Place, depth: usize) -> String {
        let name = name(inner);
        let rest = &inner[name.len()..];
        let (even_if_empty, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
        if name.is_empty() {
            self.wrong(place, "`${}` has no name of a variable in it");
            return String::new();
        }
        let value = self.variables.get(name).filter(|value| !(even_if_empty && value.is_empty())).cloned();
        if value.is_some() {
            self.used.insert(name.to_owned());
        }
        match (rest.chars().next(), value) {
            (None, _) if even_if_empty => {
                self.wrong(place, &format!("`${{{name}:}}` ends after the colon"));
                String::new()
            }
            (None, _) => self.plain(name, place),
            (Some('-' | '?'), Some(value)) => value,
            (Some('+'), Some(_)) | (Some('-'), None) => self.fill(&rest[1..], place, depth),
            (Some('+'), None) => String::new(),
            (Some('?'), None) => {
                let said = if rest.len() > 1 { format!(": {}", &rest[1..]) } else { String::new() };
                self.missing(name, place, &said);
                String::new()
            }
            (Some(_), _) => {
                self.wrong(place, &format!("what follows `{name}` in `${{…}}` is not understood"));
                String::new()
            }
        }
    }

    fn plain(&mut self, name: &str, place: Place) -> String {
        if let Some(value) = self.variables.get(name) {
            self.used.insert(name.to_owned());
            return value.clone();
        }
        if !name.is_empty() {
            self.missing(name, place, "");
        }
        String::new()
    }

    fn missing(&mut self, name: &str, place: Place, said: &str) {
        let help = format!("write `{name}=…` into the file `.env` beside it, or `{name}=` if nothing is meant");
        self.mistakes.push(Mistake::new(place, format_args!("the variable `{name}` has no value{said}"), help));
    }

    fn wrong(&mut self, place: Place, reason: &str) {
        self.mistakes.push(Mistake::new(place, reason, "write `${NAME}`, or `$$` for a plain `$`"));
    }
}

/// Returns the name of a variable that a text begins with.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}

/// Returns where the brace that was opened before this text is closed.
fn brace(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml;

    fn filled(text: &str) -> Result<String, String> {
        let variables = [("A", "a"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let mut node = yaml::read(&format!("'{text}'")).map_err(|it| it.reason)?;
        let (_, mistakes) = fill(&mut node, &variables);
        match mistakes.first() {
            Some(first) => Err(first.reason.clone()),
            None => Ok(node.text().unwrap_or_default().to_owned()),
        }
    }

    #[test]
    fn every_form_is_filled_in() {
        for (text, value) in [
            ("$A-${A}", "a-a"),
            ("$$A $${A}", "$A ${A}"),
            ("${NO:-b}${NO-c}${EMPTY:-d}${EMPTY-e}", "bcd"),
            ("${NO:-${A:-x}/${NO-y}}", "a/y"),
            ("${A:+yes}${NO:+no}${EMPTY+set}${EMPTY:+not}", "yesset"),
            ("${A:?must}", "a"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(value), "{text}");
        }
        for text in ["$NO", "${NO}", "${NO:?say}", "${EMPTY:?say}", "${A", "${}", "$1", "$ x", "${A:}", "${A!b}"] {
            assert!(filled(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_of_variables_are_read_as_shells_write_them() {
        let text = "# note\nA=1\nexport B = two words # note\nC=\"a\\nb # c\"\nD='x\ny'\nE=\n\nF\n";
        let some = |text: &str| Some(text.to_owned());
        let wanted = [
            ("A", some("1")),
            ("B", some("two words")),
            ("C", some("a\nb # c")),
            ("D", some("x\ny")),
            ("E", some("")),
            ("F", None),
        ];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(read_env(text, &BTreeMap::new()), Ok(wanted.to_vec()));
    }

    #[test]
    fn values_speak_of_those_above_and_of_the_shell() {
        let known = BTreeMap::from([("HOME".to_owned(), "/root".to_owned()), ("B".to_owned(), "shell".to_owned())]);
        let text = "A=a\nB=b\nC=${A}/$B:$HOME\nD='$A'\nE=\"\\$A ${NO:-x}\"\n";
        let all = read_env(text, &known).unwrap_or_default();
        let values: Vec<_> = all.iter().filter_map(|(_, value)| value.as_deref()).collect();
        assert_eq!(values, ["a", "b", "a/shell:/root", "$A", "$A x"]);
        let wrong =
            read_env("A=1\nPASSWORD=pa$word\n", &known).unwrap_or_else(|all| vec![(all[0].reason.clone(), None)]);
        assert_eq!(wrong[0].0, "the variable `word` has no value");
    }
}
