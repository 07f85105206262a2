use std::ops::Range;

use super::{Code, Diagnostic, path::Path, text::Text};

/// More mistakes than this are counted, not shown.
pub(super) const MOST: usize = 100;

/// A mistake, before its place is worked out.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) code: Code,
    pub(super) path: Path,
    pub(super) span: Range<usize>,
    pub(super) reason: String,
    pub(super) help: Option<String>,
}

/// Sorts the findings by place and says where each stands. Without a text they have no place.
pub(super) fn place(mut findings: Vec<Finding>, text: Option<&Text<'_>>) -> Vec<Diagnostic> {
    findings.sort_by_key(|it| (it.span.start, it.code));
    let more = findings.len().saturating_sub(MOST);
    findings.truncate(MOST);
    if more > 0 {
        let last = findings.last().map_or(0..0, |it| it.span.clone());
        let help = Some("mend those above first".to_owned());
        let reason = format!("{more} more mistakes are not shown");
        findings.push(Finding { code: Code::TooMany, path: Path::default(), span: last, reason, help });
    }
    findings.into_iter().map(|finding| diagnose(finding, text)).collect()
}

/// Says where one finding stands.
pub(super) fn diagnose(finding: Finding, text: Option<&Text<'_>>) -> Diagnostic {
    let Finding { code, path, span, reason, help } = finding;
    let mut diagnostic = Diagnostic {
        code,
        path: path.to_string(),
        line: 0,
        column: 0,
        length: 1,
        source_line: String::new(),
        reason,
        help,
    };
    if let Some(text) = text {
        let place = text.place(&span);
        diagnostic.line = place.line;
        diagnostic.column = place.column;
        diagnostic.length = place.length;
        diagnostic.source_line = place.source_line;
    }
    diagnostic
}
