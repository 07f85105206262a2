//! Rules of an installation that a pattern can't say.

use super::Install;
use crate::{
    Declared,
    disk::check_select,
    parse::{Code, Path, Violation},
};

impl Install {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        if self.name() != Self::NAME {
            out.push(Violation {
                code: Code::BadName,
                path: Path::default().key("metadata").key("name"),
                on_key: false,
                reason: format!("a machine has one Install, and it is called `{}`", Self::NAME),
                help: format!("write `name = \"{}\"`", Self::NAME),
            });
        }
        check_select(&self.spec.select, Path::spec("select"), "piccolo install", &mut out);
        out
    }
}
