//! What the machine's own screens say of the way in, before anybody logs in.

use std::fmt::Write;

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Banner<'a> {
    /// Where the machine is reached.
    pub(super) urls: &'a [String],
    /// By what people know it, short and whole.
    pub(super) print: &'a (String, String),
    /// The code by which it is claimed; none if it is.
    pub(super) code: Option<&'a str>,
}

impl Banner<'_> {
    /// Returns it in the words of `issue(5)`, in which `\` begins an order.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("\n");
        let (short, _) = self.print;
        let line = |text: &mut String, name: &str, value: &str| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "  {name:<12} {}", value.replace('\\', "\\\\"));
        };
        for (at, url) in self.urls.iter().enumerate() {
            line(&mut text, if at == 0 { "Piccolo" } else { "" }, url);
        }
        line(&mut text, "fingerprint", short);
        if let Some(code) = self.code {
            line(&mut text, "code", code);
            let host = self.urls.first().map_or("HOST", |url| url.trim_start_matches("https://"));
            let _ = writeln!(text, "\n  Nobody has claimed this machine. On your computer:\n  piccolo claim {host}\n");
            text.extend(self.square());
        }
        text.push('\n');
        text
    }

    /// Returns the address and the whole fingerprint as a square that cameras read. It holds no code.
    fn square(&self) -> Option<String> {
        let url = format!("{}/#{}", self.urls.first()?, self.print.1);
        let square = QrCode::with_error_correction_level(url, EcLevel::L).ok()?;
        // Screens are dark.
        let drawn = square.render().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        Some(drawn.lines().map(|line| format!("  {line}\n")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_nobodys_shows_how_to_claim_it() {
        let urls = ["https://attic.local:8080".to_owned(), "https://192.168.1.5:8080".to_owned()];
        let print = ("ABCD-EFGH-IJKL".to_owned(), "A".repeat(52));
        let banner = Banner { urls: &urls, print: &print, code: Some("QRST-UVWX") };
        let text = banner.text();
        for word in ["attic.local:8080\n", "192.168.1.5", "ABCD-EFGH-IJKL", "QRST-UVWX", "claim attic.local:8080", "▀"]
        {
            assert!(text.contains(word), "{word} is missing:\n{text}");
        }
        assert!(text.lines().count() <= 40 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let claimed = Banner { code: None, ..banner }.text();
        assert!(
            claimed.contains("ABCD-EFGH-IJKL") && !claimed.contains("QRST") && claimed.lines().count() < 8,
            "{claimed}"
        );
    }
}
