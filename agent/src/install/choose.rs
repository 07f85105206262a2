//! Which disk is meant.

use piccolo_schema::disk::Selector;

use crate::host::{Order, Target};

/// How many disks are named to a person at most.
const MOST_NAMED: usize = 6;

/// Why nothing is installed, in a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Finds the one disk that is meant.
///
/// # Errors
/// When there is none, or several are.
pub fn choose<'a>(select: &Selector, targets: &'a [Target]) -> Result<&'a Target, Refusal> {
    let all: Vec<&Target> = targets.iter().collect();
    let fitting: Vec<&Target> = targets.iter().filter(|it| it.disk.fits(select)).collect();
    match fitting.as_slice() {
        [only] => Ok(only),
        [] if select.is_empty() => {
            Err(Refusal(format!("no disk is named; write `serial = \"…\"` of one of these: {}", list(&all))))
        }
        [] => Err(Refusal(format!("no disk is like that; there is {}", list(&all)))),
        several => {
            let named = list(several);
            Err(Refusal(format!("{} disks are like that: {named}; name what only one of them has", several.len())))
        }
    }
}

/// Finds the disks that an order means, the second after the first.
///
/// # Errors
/// When one of them can't be told, or both are the same.
pub fn chosen<'a>(order: &Order, targets: &'a [Target]) -> Result<Vec<&'a Target>, Refusal> {
    let found: Vec<&Target> = order.disks().map(|(select, _)| choose(select, targets)).collect::<Result<_, _>>()?;
    match found.as_slice() {
        [one, other] if one.disk.seq == other.disk.seq => Err(Refusal(format!(
            "{}: it can't be both the first disk and the second; name another one",
            one.disk.name()
        ))),
        _ => Ok(found),
    }
}

fn list(targets: &[&Target]) -> String {
    let more = targets.len().saturating_sub(MOST_NAMED);
    let one = |it: &&Target| format!("{} ({})", it.disk.name(), it.disk.content());
    let mut named: Vec<String> = targets.iter().take(MOST_NAMED).map(one).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    if named.is_empty() { "none".to_owned() } else { named.join("; ") }
}
