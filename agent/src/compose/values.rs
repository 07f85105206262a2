//! Words of compose files in the words of manifests. Pure.

use piccolo_schema::duration::Duration;

/// Reads `1m30s`, `1.5h` or `500us`; returns the form of manifests.
pub(super) fn duration(text: &str) -> Option<String> {
    let (mut rest, mut millis) = (text.trim(), 0.0_f64);
    if rest.is_empty() {
        return None;
    }
    if rest == "0" {
        return Some("0s".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).filter(|at| *at > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "d" => 86_400_000.0,
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1_000.0,
            "ms" => 1.0,
            "us" | "µs" => 0.001,
            "ns" => 0.000_001,
            _ => return None,
        };
        millis += number * unit;
        rest = &rest[end..];
    }
    (millis < 9e15).then(|| Duration::from_millis(millis.round() as u64).to_string())
}

/// Splits a command as a shell does: by blanks, with quotes and backslashes. `None` if a quote is not closed.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let (mut all, mut word, mut rest) = (Vec::new(), None::<String>, text.chars());
    while let Some(c) = rest.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => match rest.next()? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c if c.is_whitespace() => all.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    Some(all)
}

fn double_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            '"' => return Some(()),
            '\\' => match rest.next()? {
                '\n' => {}
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// Returns the plain spelling of an absolute path.
pub(super) fn plain(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_anew() {
        for (text, time) in [("1m30s", "1m30s"), ("90s", "1m30s"), ("1.5h", "1h30m"), ("500ms", "500ms"), ("0s", "0s")]
        {
            assert_eq!(duration(text).as_deref(), Some(time), "{text}");
        }
        for text in ["", "10", "s", "1y", "1m1"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn commands_are_split_as_a_shell_does() {
        for (text, all) in [
            ("a  b", vec!["a", "b"]),
            (r#"sh -c "echo \"$x\" 'y'""#, vec!["sh", "-c", "echo \"$x\" 'y'"]),
            (r"a\ b '' 'c d'e", vec!["a b", "", "c de"]),
            ("a \\\n b", vec!["a", "b"]),
        ] {
            assert_eq!(words(text).unwrap_or_default(), all, "{text}");
        }
        assert!(words("'open").is_none() && words("\"open").is_none() && words("a\\").is_none());
        assert_eq!(plain("/srv/./app/../data/"), "/srv/data");
    }
}
