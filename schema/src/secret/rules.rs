//! Rules of a secret. What they say never repeats a value: it may be one that was not encrypted.

use super::Secret;
use crate::parse::{Code, Path, Violation};

/// How a value begins and ends.
const ARMOUR: (&str, &str) = ("-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----");
/// The longest name of a value: it is the name of a file.
const LONGEST_KEY: usize = 128;
/// The characters of a recipient, after `age1`.
const RECIPIENT: usize = 58;

impl Secret {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        for (key, value) in &self.spec.data {
            let path = || Path::spec("data").key(key);
            if !is_key(key) {
                let reason = "this can't be the name of a value, which is the name of a file too";
                let help = "use at most 128 letters, digits, `.`, `_` and `-`, and not only dots";
                out.push(violation(Code::WrongForm, path(), reason.to_owned(), help));
            } else if !is_armoured(value) {
                let reason = format!("the value of `{key}` is not encrypted, or not as a whole");
                let help = format!("take it out of the file and run `piccolo secret set {} {key}`", self.called());
                out.push(violation(Code::NotEncrypted, path(), reason, &help));
            }
        }
        for (index, recipient) in self.spec.recipients.iter().enumerate() {
            let path = || Path::spec("recipients").index(index);
            if !is_recipient(recipient) {
                let reason = "this is not a recipient".to_owned();
                let help =
                    "write `age1…` as `piccolo secret recipient` and `age-keygen -y` print it; never a secret key";
                out.push(Violation { on_key: false, ..violation(Code::WrongForm, path(), reason, help) });
            } else if self.spec.recipients[..index].contains(recipient) {
                let reason = "this recipient stands here twice".to_owned();
                out.push(Violation { on_key: false, ..violation(Code::Duplicate, path(), reason, "remove one") });
            }
        }
        out
    }

    fn called(&self) -> &str {
        self.metadata.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("NAME")
    }
}

fn violation(code: Code, path: Path, reason: String, help: &str) -> Violation {
    Violation { code, path, on_key: true, reason, help: help.to_owned() }
}

/// Returns true if this can be the name of a value, and so of a file.
pub fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !key.is_empty() && key.len() <= LONGEST_KEY && key.chars().all(plain) && key.chars().any(|c| c != '.')
}

/// Returns true if this is what `age --armor` writes. Whether it can be opened only the machine can tell.
fn is_armoured(value: &str) -> bool {
    let body = value.trim().strip_prefix(ARMOUR.0).and_then(|rest| rest.strip_suffix(ARMOUR.1));
    let plain = |c: char| c.is_ascii_alphanumeric() || "+/=\r\n".contains(c);
    body.is_some_and(|body| body.starts_with(['\n', '\r']) && body.trim().len() > 64 && body.chars().all(plain))
}

/// Returns true if this looks like a recipient, not like a key that must stay secret.
fn is_recipient(text: &str) -> bool {
    let rest = text.strip_prefix("age1").unwrap_or_default();
    rest.len() == RECIPIENT && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}
