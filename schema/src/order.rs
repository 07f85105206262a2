//! Who waits for whom among containers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::ContainerSpec;

/// The containers of a machine by name, and what each of them depends on.
pub type Wanted<'a> = BTreeMap<&'a str, &'a ContainerSpec>;

/// Containers that can't be brought into an order.
pub struct Cycles<'a> {
    wanted: &'a Wanted<'a>,
    /// Those on a cycle, or leaning on one.
    tangled: BTreeSet<&'a str>,
}

impl<'a> Cycles<'a> {
    /// Looks for cycles.
    #[must_use]
    pub fn new(wanted: &'a Wanted<'a>) -> Self {
        Self { wanted, tangled: tangled(wanted) }
    }

    /// Returns the shortest way from a container back to itself, named from end to end.
    #[must_use]
    pub fn through(&self, name: &str) -> Option<Vec<&'a str>> {
        let (&start, _) = self.wanted.get_key_value(name)?;
        if !self.tangled.contains(start) {
            return None;
        }
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut reached = vec![start];
        let mut looked_at = 0;
        while let Some(&here) = reached.get(looked_at) {
            looked_at += 1;
            for to in needs(self.wanted, here) {
                if to == start {
                    return Some(way_back(&came_from, here, start));
                }
                if !came_from.contains_key(to) {
                    came_from.insert(to, here);
                    reached.push(to);
                }
            }
        }
        None
    }

    /// Returns the shortest cycle of each knot, beginning with its first container by name.
    #[must_use]
    pub fn all(&self) -> Vec<Vec<&'a str>> {
        let mut told = BTreeSet::new();
        let mut cycles = Vec::new();
        for name in &self.tangled {
            if let Some(cycle) = (!told.contains(name)).then(|| self.through(name)).flatten() {
                told.extend(cycle.iter().copied());
                cycles.push(cycle);
            }
        }
        cycles
    }
}

/// Returns the order in which containers are stopped, in waves: whatever others depend on outlasts them. Those in a circle
/// are stopped together, and what they depend on with them.
#[must_use]
pub fn stopping<'a>(wanted: &Wanted<'a>) -> Vec<Vec<&'a str>> {
    let mut left: BTreeSet<&str> = wanted.keys().copied().collect();
    let mut waves = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<&str> = left.iter().flat_map(|name| needs(wanted, name)).collect();
        let (stay, go): (BTreeSet<_>, BTreeSet<_>) = left.iter().copied().partition(|name| needed.contains(name));
        let wave = if go.is_empty() { &stay } else { &go };
        waves.push(wave.iter().copied().collect());
        left = if go.is_empty() { BTreeSet::new() } else { stay };
    }
    waves
}

/// Returns `start → … → last → start`.
fn way_back<'a>(came_from: &BTreeMap<&'a str, &'a str>, last: &'a str, start: &'a str) -> Vec<&'a str> {
    let mut way = vec![start, last];
    let mut here = last;
    while let Some(&before) = came_from.get(here) {
        way.push(before);
        here = before;
    }
    if last == start {
        way.pop();
    }
    way.reverse();
    way
}

fn needs<'a>(wanted: &Wanted<'a>, name: &str) -> impl Iterator<Item = &'a str> {
    let spec = wanted.get(name).copied();
    spec.into_iter().flat_map(|spec| spec.depends_on.iter().map(|it| it.container.as_str()))
}

/// Returns what is left when everything is taken away, again and again, that needs nothing which is left.
fn tangled<'a>(wanted: &Wanted<'a>) -> BTreeSet<&'a str> {
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for &name in wanted.keys() {
        for need in needs(wanted, name).filter(|need| wanted.contains_key(need)) {
            *open.entry(name).or_default() += 1;
            needed_by.entry(need).or_default().push(name);
        }
    }
    let mut left: BTreeSet<&str> = wanted.keys().copied().filter(|name| open.contains_key(name)).collect();
    let mut free: Vec<&str> = wanted.keys().copied().filter(|name| !open.contains_key(name)).collect();
    while let Some(name) = free.pop() {
        for dependant in needed_by.remove(name).unwrap_or_default() {
            if let Some(count) = open.get_mut(dependant) {
                *count -= 1;
                if *count == 0 {
                    left.remove(dependant);
                    free.push(dependant);
                }
            }
        }
    }
    left
}
