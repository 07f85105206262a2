use toml_parser::{Source, lexer::TokenKind};

use super::{Code, finding::Finding, path::Path};

/// The deepest nesting that is read. The kinds need five levels.
const DEEPEST: usize = 32;

/// Refuses text whose dotted keys and brackets nest too deep.
///
/// The TOML parser bounds brackets but not dots, and a table of half a million levels would end the process when it is
/// freed. Only suspicious texts are looked at closely.
pub(super) fn check(text: &str) -> Result<(), Finding> {
    if !suspicious(text) {
        return Ok(());
    }
    // For each open bracket the dots of the keys before it, their sum, and the dots of the key at hand.
    let (mut open, mut before, mut dots) = (Vec::new(), 0, 0);
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::LeftCurlyBracket | TokenKind::LeftSquareBracket => {
                open.push(dots);
                before += dots;
                dots = 0;
            }
            TokenKind::RightCurlyBracket | TokenKind::RightSquareBracket => {
                before -= open.pop().unwrap_or(0);
                dots = 0;
            }
            TokenKind::Comma | TokenKind::Newline => dots = 0,
            _ => {}
        }
        if open.len() + before + dots > DEEPEST {
            let span = token.span().start()..token.span().end();
            let reason = "the text is nested too deep".to_owned();
            let help = Some("a manifest needs no more than five levels".to_owned());
            return Err(Finding { code: Code::TooDeep, path: Path::default(), span, reason, help });
        }
    }
    Ok(())
}

/// Returns true if the text could nest deep: by brackets, which may stand on many lines, or by the dots of one line.
fn suspicious(text: &str) -> bool {
    let count = |line: &[u8], marks: &[u8]| line.iter().filter(|byte| marks.contains(byte)).count();
    let few = DEEPEST / 2;
    count(text.as_bytes(), b"[{") > few
        || text.as_bytes().split(|byte| *byte == b'\n').any(|line| count(line, b".") > few)
}
