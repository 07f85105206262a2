//! Texts as other programs write them, spoilt in the ways in which a text gets spoilt. For tests alone.

use proptest::{prelude::*, sample::Index};

/// The ways: cut off, put in, taken out, put in the place of, doubled, other numbers, another text.
const WAYS: usize = 7;
/// A number that most things can't hold.
const LARGE: &str = "99999999999999999999";

/// Says how a parser is tried: with 200 of them. The next run makes others, so that none is written down.
pub(crate) fn often() -> ProptestConfig {
    ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() }
}

/// Returns this text, spoilt.
pub(crate) fn malformed(text: &'static str) -> impl Strategy<Value = String> {
    let letters: Vec<char> = text.chars().collect();
    let odd = prop_oneof!["[ -~\\n\\t]{0,12}", "[\\PC\\n\\x00\\x1b]{0,8}"];
    (any::<Index>(), any::<Index>(), odd, 0..WAYS).prop_map(move |(one, other, what, way)| {
        let places = [one, other].map(|it| it.index(letters.len() + 1));
        let (from, to) = (places[0].min(places[1]), places[0].max(places[1]));
        let [before, between, after] =
            [&letters[..from], &letters[from..to], &letters[to..]].map(|it| it.iter().collect::<String>());
        match way {
            0 => before,
            1 => [before, what, between, after].concat(),
            2 => before + &after,
            3 => [before, what, after].concat(),
            4 => [&*before, &between, &between, &after].concat(),
            5 => before + &between.replace(|it: char| it.is_ascii_digit(), LARGE) + &after,
            _ => what,
        }
    })
}

/// Returns what is no text at all, or this one with a byte that belongs to none.
pub(crate) fn not_text(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let spoilt = (malformed(text), any::<Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
        let mut bytes = text.into_bytes();
        bytes.insert(at.index(bytes.len() + 1), byte);
        bytes
    });
    prop_oneof![spoilt, prop::collection::vec(any::<u8>(), 0..100)]
}
