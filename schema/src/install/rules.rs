//! Rules of an installation that a pattern can't say.

use super::Install;
use crate::{
    Declared,
    disk::check_select,
    parse::{Code, Path, Violation},
};

/// Who shows the properties of disks.
const SHOWN_BY: &str = "piccolo install";

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
        check_select(&self.spec.select, Path::spec("select"), SHOWN_BY, &mut out);
        self.mirror(&mut out);
        out
    }

    fn mirror(&self, out: &mut Vec<Violation>) {
        let Some(mirror) = &self.spec.mirror else { return };
        let at = |key: &str| Path::spec("mirror").key(key);
        check_select(&mirror.select, at("select"), SHOWN_BY, out);
        let mut conflict = |path, reason: &str, help: &str| {
            let (reason, help) = (reason.to_owned(), help.to_owned());
            out.push(Violation { code: Code::Conflict, path, on_key: false, reason, help });
        };
        if mirror.select == self.spec.select {
            conflict(at("select"), "it chooses the very disk that `select` does", "choose another disk");
        }
        if mirror.wipe.is_some() && mirror.wipe == self.spec.wipe {
            conflict(at("wipe"), "a ticket is for one disk alone", "have a ticket made for each of the two");
        }
    }
}
