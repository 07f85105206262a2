//! The hold on mass removals.
//!
//! A directory that lost many manifests at once was more likely unmounted, half checked out or emptied by mistake than
//! meant so. Such removals wait until a person confirms just these names.

use std::collections::BTreeSet;

use piccolo_schema::Kind;
use sha2::{Digest, Sha256};

use crate::reconcile::{Plan, Step};

/// The most removals that pass without a word.
const MOST: usize = 5;
/// The largest part of what we own, in percent, that passes without a word.
const MOST_PERCENT: usize = 30;

/// Removals that wait for a confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// What the confirmation names; another set of names has another one.
    pub id: String,
    /// The subjects, sorted.
    pub names: Vec<String>,
}

/// Takes the removals out of a plan that are too many to be believed.
///
/// Held are removals of more than five subjects, or of more than 30 % of the `owned` things when there are at least two.
/// Names in `consented` pass. A single removal passes, being the ordinary way to be rid of something, unless the whole
/// directory was `emptied`: then even one is held.
pub(super) fn hold<S: Step>(
    kind: Kind,
    mut plan: Plan<S>,
    owned: usize,
    consented: &BTreeSet<String>,
    emptied: bool,
) -> (Plan<S>, Option<Held>) {
    let names: BTreeSet<String> = plan
        .steps
        .iter()
        .filter(|step| step.is_removal() && !consented.contains(step.subject()))
        .map(|step| step.subject().to_owned())
        .collect();
    let too_many = (emptied && !names.is_empty())
        || names.len() > MOST
        || (names.len() >= 2 && names.len() * 100 > owned * MOST_PERCENT);
    if !too_many {
        return (plan, None);
    }
    plan.steps.retain(|step| !(step.is_removal() && names.contains(step.subject())));
    let names: Vec<String> = names.into_iter().collect();
    (plan, Some(Held { id: id(kind, &names), names }))
}

/// Returns eight hexadecimal digits that stand for this set of names.
fn id(kind: Kind, names: &[String]) -> String {
    let mut hash = Sha256::new();
    hash.update(kind.as_str());
    for name in names {
        hash.update([0]);
        hash.update(name);
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use serde::Serialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize)]
    struct Change(String, bool);

    impl fmt::Display for Change {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }

    impl Step for Change {
        fn subject(&self) -> &str {
            &self.0
        }

        fn is_removal(&self) -> bool {
            self.1
        }
    }

    fn removals(count: usize) -> Plan<Change> {
        let mut steps: Vec<_> = (0..count).map(|n| Change(format!("old-{n}"), true)).collect();
        steps.push(Change("web".into(), false));
        Plan { steps, waiting: Vec::new() }
    }

    fn held(count: usize, owned: usize, consented: &[&str]) -> Option<Held> {
        let consented = consented.iter().map(|&name| name.to_owned()).collect();
        hold(Kind::Container, removals(count), owned, &consented, false).1
    }

    #[test]
    fn one_removal_passes() {
        assert_eq!(held(1, 1, &[]), None);
        assert_eq!(held(1, 100, &[]), None);
    }

    #[test]
    fn the_last_one_is_held_when_nothing_is_declared_any_more() {
        let held = |consented: &[&str]| {
            let consented = consented.iter().map(|&name| name.to_owned()).collect();
            hold(Kind::Container, removals(1), 1, &consented, true).1.map(|held| held.names)
        };
        assert_eq!(held(&[]), Some(vec!["old-0".to_owned()]));
        assert_eq!(held(&["old-0"]), None);
    }

    #[test]
    fn more_than_thirty_percent_is_held() {
        assert_eq!(held(3, 10, &[]), None);
        assert_eq!(held(4, 10, &[]).map(|held| held.names.len()), Some(4));
        assert!(held(2, 2, &[]).is_some());
    }

    #[test]
    fn more_than_five_is_held_however_many_there_are() {
        assert_eq!(held(5, 1000, &[]), None);
        assert!(held(6, 1000, &[]).is_some());
    }

    #[test]
    fn what_is_held_is_taken_out_and_the_rest_stays() {
        let (plan, held) = hold(Kind::Container, removals(6), 10, &BTreeSet::new(), false);
        assert!(held.is_some());
        assert_eq!(plan.steps, [Change("web".into(), false)]);
    }

    #[test]
    fn consent_is_by_name() {
        assert_eq!(held(2, 2, &["old-0", "old-1"]), None);
        assert_eq!(held(3, 3, &["old-0"]).map(|held| held.names.len()), Some(2));
    }

    #[test]
    fn another_set_has_another_id() {
        assert_ne!(held(6, 10, &[]).map(|held| held.id), held(7, 10, &[]).map(|held| held.id));
        assert_eq!(held(6, 10, &[]).map(|held| held.id), held(6, 10, &[]).map(|held| held.id));
    }
}
