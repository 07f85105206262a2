//! Places in the tree of files that what is mounted has, whoever may have them by the manifests.

use std::collections::BTreeSet;

use piccolo_schema::{disk::part_key, volume::lies_in};

use super::step::{Act, DiskStep};
use crate::{
    host::{DisksView, MountSeen},
    reconcile::{Plan, Waiting},
};

/// Nothing is mounted over, under or in the place of what stays mounted: who would be waits. Of two that exchange their
/// places, both let go first.
pub(super) fn keep(plan: &mut Plan<DiskStep>, view: &DisksView) {
    while let Some((waits, waiting)) = plan.steps.iter().find_map(|it| held(it, plan, view)) {
        plan.steps.retain(|it| key(it) != waits);
        if !plan.waiting.iter().any(|it| it.subject == waiting.subject) {
            plan.waiting.push(waiting);
        }
    }
    let in_the_way: BTreeSet<String> =
        plan.steps.iter().flat_map(|step| holders(step, view)).map(|it| it.subject.clone()).collect();
    plan.steps.sort_by_key(|it| !(matches!(it.act, Act::Unmount { .. }) && in_the_way.contains(&key(it))));
}

/// Returns whose place stays held, and why it waits.
fn held(step: &DiskStep, plan: &Plan<DiskStep>, view: &DisksView) -> Option<(String, Waiting)> {
    let leaves = |it: &MountSeen| {
        plan.steps.iter().any(|step| key(step) == it.subject && matches!(step.act, Act::Unmount { .. }))
    };
    let holder = holders(step, view).find(|it| !leaves(it))?;
    let message = format!(
        "`{}` is where the Disk `{}` is still mounted; take that away first, or name another place",
        holder.mount.at.as_deref().unwrap_or_default(),
        holder.subject
    );
    Some((key(step), Waiting { subject: step.subject.clone(), reason: "MountTaken".to_owned(), message }))
}

/// Returns those of others that are mounted where a step mounts, above or below.
fn holders<'a>(step: &DiskStep, view: &'a DisksView) -> impl Iterator<Item = &'a MountSeen> {
    let (own, place) = match &step.act {
        Act::Mount { mount } => (key(step), mount.at.clone()),
        _ => (String::new(), None),
    };
    let lies_there = move |it: &&MountSeen| match (&place, &it.mount.at) {
        (Some(place), Some(at)) => it.present && it.subject != own && (lies_in(at, place) || lies_in(place, at)),
        _ => false,
    };
    view.mounts.iter().filter(lies_there)
}

/// Returns the name under which what a step is about is mounted.
fn key(step: &DiskStep) -> String {
    step.part.as_ref().map_or_else(|| step.subject.clone(), |part| part_key(&step.subject, part))
}
