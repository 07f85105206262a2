//! The plan for all sources.

use piccolo_schema::{ConfigSource, ConfigSourceSpec, Declared, Desired};

use super::step::{SourceStep, short, told};
use crate::{
    host::{Offer, SourceSeen, SourcesView},
    reconcile::{Plan, Waiting},
};

/// Plans the whole kind, each subject by name.
pub(super) fn plan(desired: &Desired<ConfigSource>, observed: &SourcesView) -> Plan<SourceStep> {
    let mut sources: Vec<_> = desired.manifests.iter().collect();
    sources.sort_by_key(|it| it.name());
    let mut plan = Plan::default();
    for source in sources {
        let subject = source.name().to_owned();
        match offer(&source.spec, seen(source, observed)) {
            Ok(None) => {}
            Ok(Some(Offer { revision, changes, .. })) => {
                plan.steps.push(SourceStep { subject, revision: revision.clone(), changes: changes.clone() });
            }
            Err((reason, message)) => plan.waiting.push(Waiting { subject, reason: reason.to_owned(), message }),
        }
    }
    plan
}

/// Returns what is known of a source as its manifest is now.
pub(super) fn seen<'a>(source: &ConfigSource, observed: &'a SourcesView) -> Option<&'a SourceSeen> {
    observed.sources.get(source.name()).filter(|seen| seen.asked == source.spec)
}

/// Returns what is to be taken, or what keeps it out: a reason and a sentence.
fn offer<'a>(
    spec: &ConfigSourceSpec,
    seen: Option<&'a SourceSeen>,
) -> Result<Option<&'a Offer>, (&'static str, String)> {
    let Some(seen) = seen else {
        return Err(("NotAsked", "The repository is being asked".to_owned()));
    };
    let Some(offer) = &seen.offer else {
        return match &seen.failure {
            _ if seen.revision.is_some() && !seen.anew => Ok(None),
            Some(why) => Err(("Unreachable", format!("The repository does not answer: {why}"))),
            None => Err(("NotAsked", "The repository is being asked".to_owned())),
        };
    };
    if seen.revision.as_ref() == Some(&offer.revision) && !seen.anew {
        return Ok(None);
    }
    match objection(spec, seen, offer) {
        None => Ok(Some(offer)),
        Some((reason, why)) => Err((reason, format!("Revision {} is not taken: {why}", short(&offer.revision)))),
    }
}

/// Says what speaks against an offer, the worst first.
fn objection(spec: &ConfigSourceSpec, seen: &SourceSeen, offer: &Offer) -> Option<(&'static str, String)> {
    let is_accepted = spec.accept.as_ref() == Some(&offer.revision);
    let accept = format!("if that is meant, write `accept = \"{}\"`", offer.revision);
    if let Some(why) = &offer.distrust {
        let would = if offer.changes.is_empty() { "change nothing".to_owned() } else { told(&offer.changes) };
        return Some(("Untrusted", format!("{why}; it would {would}")));
    }
    if !offer.refused.is_empty() {
        return Some(("Refused", told(&offer.refused)));
    }
    if offer.rewound && !is_accepted {
        return Some(("Rewound", format!("it does not follow the one in force; {accept}")));
    }
    if offer.emptied && !is_accepted {
        return Some(("Emptied", format!("it leaves none of {} manifests over; {accept}", seen.manifests)));
    }
    if !seen.edited.is_empty() {
        let help = "put these changes into the repository, or take them back";
        return Some(("Edited", format!("changed here meanwhile: {}; {help}", told(&seen.edited))));
    }
    None
}
