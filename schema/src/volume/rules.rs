//! Rules of a volume that a pattern can't say.

use super::{Volume, machines_own, plain};
use crate::{
    Declared,
    parse::{Code, Path, Violation},
};

/// Less than this, and a file system has no room for its own records of the quota.
const LEAST_QUOTA: u64 = 1 << 20;

impl Volume {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        if self.name().len() == 1 {
            let path = Path::default().key("metadata").key("name");
            let reason = format!("`{}` is too short for the name of a volume", self.name());
            note(&mut out, Code::BadName, path, reason, "engines want at least two characters");
        }
        self.path(&mut out);
        self.access(&mut out);
        if let Some(quota) = self.spec.quota.filter(|quota| quota.get() < LEAST_QUOTA) {
            let reason = format!("nothing useful fits into {quota}");
            note(&mut out, Code::OutOfRange, Path::spec("quota"), reason, "give `1Mi` or more, or leave it out");
        }
        out
    }

    fn path(&self, out: &mut Vec<Violation>) {
        let Some(path) = self.spec.path.as_deref() else { return };
        let reason = if path.split('/').any(|part| part == "..") {
            Some(("`path` goes up with `..`".to_owned(), "write the plain absolute path"))
        } else if path.contains(|it: char| it.is_control() || it == ':' || it == ',') {
            // An engine takes the path as a mount option, in which these have a meaning.
            Some(("`path` holds a `:`, a `,` or a character that can't be seen".to_owned(), "use another directory"))
        } else {
            let help = "choose a directory for this volume alone, such as `/srv/photos`";
            machines_own(&plain(path)).map(|reason| (reason, help))
        };
        if let Some((reason, help)) = reason {
            note(out, Code::BadPath, Path::spec("path"), reason, help);
        }
    }

    /// Numbers that no user has, and permissions that lock everybody out.
    fn access(&self, out: &mut Vec<Violation>) {
        let last = |number: &str| number.parse::<u32>().is_ok_and(|number| number == u32::MAX);
        let owner = self
            .spec
            .owner
            .as_deref()
            .filter(|owner| self.spec.owner_numbers().is_none() || owner.split(':').any(last));
        if let Some(owner) = owner {
            let reason = format!("`{owner}` holds a number that no user or group can have");
            note(out, Code::OutOfRange, Path::spec("owner"), reason, "use numbers below 4294967295");
        }
        if self.spec.mode_bits().is_some_and(|bits| bits & 0o700 != 0o700) {
            let reason = "not even its owner could use the volume".to_owned();
            note(out, Code::OutOfRange, Path::spec("mode"), reason, "begin with a 7: `0750`, `0700`");
        }
    }
}

fn note(out: &mut Vec<Violation>, code: Code, path: Path, reason: String, help: &str) {
    out.push(Violation { code, path, on_key: false, reason, help: help.to_owned() });
}
