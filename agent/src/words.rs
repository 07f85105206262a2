//! What other programs say, as it may be told to people. Pure.

/// Returns one line of what was said, with no more letters than these, nobody's login, and nothing that moves a terminal.
pub(crate) fn told(said: &str, most: usize) -> String {
    // What can't be seen goes first: in the midst of a login it would hide where that ends.
    let seen = said.split_whitespace().map(|word| word.chars().filter(|it| !it.is_control()).collect::<String>());
    let line = seen.filter(|word| !word.is_empty()).map(|word| without_logins(&word)).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Cuts name and password out of each address. They end at an `@` before the path; one after it belongs to a digest.
fn without_logins(word: &str) -> String {
    let mut parts = word.split("://");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find('/').unwrap_or(part.len());
        out.push_str("://");
        out.push_str(part[..end].rfind('@').map_or(part, |at| &part[at + 1..]));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    #[test]
    fn a_login_is_cut_out_of_each_address_whatever_is_hidden_in_it() {
        let table = [
            ("Get \"https://me:secret@lan/v2/\": \n denied", "Get \"https://lan/v2/\": denied"),
            ("see https://me:sec\u{1}ret@lan/x", "see https://lan/x"),
            ("see https:\u{1b}//me:sec\u{0}ret\u{7f}@lan", "see https://lan"),
            ("https://a@lan,https://me:secret@wan/", "https://lan,https://wan/"),
            ("Get https://lan/v2/app@sha256:1f: denied", "Get https://lan/v2/app@sha256:1f: denied"),
            ("\u{1} \u{1b}[2J\r\n\tme@lan \u{9b}", "[2J me@lan"),
        ];
        for (said, expected) in table {
            assert_eq!(told(said, 100), expected, "{said:?}");
        }
    }

    #[test]
    fn a_flood_is_cut_after_the_logins() {
        assert_eq!(told(&"ä".repeat(5000), 3), "äää…");
        assert_eq!(told("äää", 3), "äää");
        assert_eq!(told("https://me:secret@lan/", 12), "https://lan/");
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn nothing_in_it_moves_a_terminal(said in malformed("fatal: unable to access 'https://me:secret@lan/x.git/':\n\tno host")) {
            let line = told(&said, 40);
            prop_assert!(line.chars().count() <= 41 && !line.contains(char::is_control), "{:?}", line);
        }
    }
}
