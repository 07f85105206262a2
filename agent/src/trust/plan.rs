//! How keys get from files into the chip's keeping, and back: one small change after the other, and never one that leaves
//! a key without a form that opens.

use super::Form;

/// How all keys shall be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Sealed to the TPM.
    Sealed,
    /// In files.
    Files,
}

/// One change. After each of them, done or broken off, every key opens as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Makes the lock: a key that the chip alone gives back, and that sealed files are encrypted for.
    MakeLock,
    /// Writes the sealed form of a key beside its file.
    Seal(usize),
    /// Removes the file of a key, once what is sealed was opened and is the same.
    RemoveFile(usize),
    /// Writes the file of a key beside its sealed form.
    Unseal(usize),
    /// Removes the sealed form of a key, once it was opened and is the same as the file.
    RemoveSealed(usize),
}

/// Returns the next step, none once it is as it shall be.
pub(super) fn next(goal: Goal, forms: &[Form], has_lock: bool) -> Option<Step> {
    let first = |form: Form| forms.iter().position(|it| *it == form);
    match goal {
        Goal::Sealed if !has_lock => Some(Step::MakeLock),
        Goal::Sealed => first(Form::File).map(Step::Seal).or_else(|| first(Form::Both).map(Step::RemoveFile)),
        Goal::Files => first(Form::Sealed).map(Step::Unseal).or_else(|| first(Form::Both).map(Step::RemoveSealed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_ends_and_no_step_takes_the_only_form() {
        let forms = [Form::Missing, Form::File, Form::Sealed, Form::Both];
        for goal in [Goal::Sealed, Goal::Files] {
            for at in 0..16 {
                let mut now = [forms[at % 4], forms[at / 4]];
                let mut has_lock = now.iter().any(|it| matches!(it, Form::Sealed | Form::Both));
                let before = now;
                let mut steps = 0;
                while let Some(step) = next(goal, &now, has_lock) {
                    steps += 1;
                    assert!(steps <= 5, "{goal:?} {before:?}");
                    let (key, from, to) = match step {
                        Step::MakeLock => {
                            has_lock = true;
                            continue;
                        }
                        Step::Seal(key) => (key, Form::File, Form::Both),
                        Step::RemoveFile(key) => (key, Form::Both, Form::Sealed),
                        Step::Unseal(key) => (key, Form::Sealed, Form::Both),
                        Step::RemoveSealed(key) => (key, Form::Both, Form::File),
                    };
                    assert_eq!(now[key], from, "{goal:?} {before:?}");
                    now[key] = to;
                }
                let end = if goal == Goal::Sealed { Form::Sealed } else { Form::File };
                for (was, is) in before.iter().zip(now) {
                    assert_eq!(is, if *was == Form::Missing { Form::Missing } else { end }, "{goal:?} {before:?}");
                }
            }
        }
    }
}
