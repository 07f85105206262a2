//! How lines end in a file, which the library that edits it does not keep. Pure.

/// What a text begins with that some editors put there.
const MARK: char = '\u{feff}';

/// Returns the new text with the ends of lines that the old one has: where a line stayed or another took its place, its own;
/// elsewhere those that most of the old lines have.
pub(super) fn like(old: &str, new: String) -> String {
    let is_plain = old.ends_with('\n') && !old.contains('\r') && !old.starts_with(MARK);
    if is_plain {
        return new;
    }
    let (unmarked, written) = (old.trim_start_matches(MARK), new.trim_start_matches(MARK));
    let olds: Vec<(&str, &str)> = unmarked.split_inclusive('\n').map(apart).collect();
    let news: Vec<&str> = written.split_inclusive('\n').map(|line| apart(line).0).collect();
    let shorter = olds.len().min(news.len());
    let front = olds.iter().zip(&news).take_while(|((old, _), new)| old == *new).count();
    let same_at_end = olds.iter().rev().zip(news.iter().rev()).take_while(|((old, _), new)| old == *new).count();
    let back = same_at_end.min(shorter - front);
    let carriages = olds.iter().filter(|(_, end)| *end == "\r\n").count();
    let usual = if carriages * 2 > olds.len() { "\r\n" } else { "\n" };
    let mut text = String::with_capacity(new.len() + news.len());
    text.extend(old.starts_with(MARK).then_some(MARK));
    for (nth, line) in news.iter().enumerate() {
        let from_end = news.len() - nth;
        let own = if nth < front || olds.len() == news.len() {
            Some(nth)
        } else if from_end <= back {
            Some(olds.len() - from_end)
        } else {
            None
        };
        let end = own.map_or(usual, |own| olds[own].1);
        text.push_str(line);
        // Only the last line may have none.
        text.push_str(if end.is_empty() && from_end > 1 { usual } else { end });
    }
    text
}

/// Returns a line and how it ends.
fn apart(line: &str) -> (&str, &str) {
    let text = line.strip_suffix('\n').unwrap_or(line);
    let text = text.strip_suffix('\r').unwrap_or(text);
    (text, &line[text.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_stays_keeps_its_end() {
        let cases = [
            ("a\nb\n", "a\nc\n", "a\nc\n"),
            ("a\r\nb\r\nc\r\n", "a\nx\ny\nc\n", "a\r\nx\r\ny\r\nc\r\n"),
            ("a\r\nb\nc\r\nd", "a\nb\nx\nd\n", "a\r\nb\nx\r\nd"),
            ("a\nb", "a\nb\nc\n", "a\nb\nc\n"),
            ("a\nb", "a\n", "a\n"),
            ("\u{feff}a\nb\n", "x\nb\n", "\u{feff}x\nb\n"),
            ("\u{feff}a\r\n", "\u{feff}a\nb\n", "\u{feff}a\r\nb\r\n"),
            ("a\r\na\r\n", "a\n", "a\r\n"),
            ("a\r\n", "a\na\na\n", "a\r\na\r\na\r\n"),
            ("", "a\n", "a\n"),
            ("a", "", ""),
        ];
        for (old, new, expected) in cases {
            assert_eq!(like(old, new.to_owned()), expected, "{old:?} {new:?}");
        }
    }
}
