use toml_parser::{Source, lexer::TokenKind};

use super::{Code, finding::Finding, path::Path};

/// The deepest nesting that is read. The kinds need five levels.
const DEEPEST: usize = 32;

/// Refuses text whose dotted keys and brackets nest too deep.
///
/// The TOML parser bounds brackets but not dots, and a table of half a million levels would end the process when it is
/// freed. Only texts with a suspicious line are looked at closely.
pub(super) fn check(text: &str) -> Result<(), Finding> {
    let suspicious = |line: &[u8]| line.iter().filter(|byte| matches!(byte, b'.' | b'[' | b'{')).count() > DEEPEST / 2;
    if !text.as_bytes().split(|byte| *byte == b'\n').any(suspicious) {
        return Ok(());
    }
    let mut dots = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Atom | TokenKind::LiteralString | TokenKind::BasicString | TokenKind::Whitespace => {}
            _ => dots = 0,
        }
        if dots > DEEPEST {
            let span = token.span().start()..token.span().end();
            let reason = "the key is nested too deep".to_owned();
            let help = Some("a manifest needs no more than five levels".to_owned());
            return Err(Finding { code: Code::TooDeep, path: Path::default(), span, reason, help });
        }
    }
    Ok(())
}
