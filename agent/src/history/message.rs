//! What a commit says of itself. Pure.

use std::fmt::Write;

use super::files::{Changed, Verb};
use crate::manifests::{By, Who};

/// The longest first line.
const LONGEST_LINE: usize = 72;
/// The most manifests that are named one by one.
const MOST_NAMES: usize = 500;

/// Says what changed and by which door: all of it in the first line where it fits, one a line below where not. What the
/// agent did by itself says why.
pub(super) fn message(changes: &[Changed], by: &By) -> String {
    let phrase = |it: &Changed| format!("{} {}", it.verb.as_str(), it.what);
    let all = changes.iter().take(MOST_NAMES).map(phrase).collect::<Vec<_>>().join(", ");
    let all = one_line(&all);
    let mut text = if all.chars().count() <= LONGEST_LINE {
        format!("{all}\n\n")
    } else {
        let mut text = format!("{}\n\n", count(changes));
        for it in changes.iter().take(MOST_NAMES) {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{}", one_line(&phrase(it)));
        }
        if let Some(more) = changes.len().checked_sub(MOST_NAMES).filter(|more| *more > 0) {
            let _ = writeln!(text, "and {more} more");
        }
        text.push('\n');
        text
    };
    let _ = writeln!(text, "Door: {}", by.door.as_str());
    let _ = match &by.who {
        Who::Agent(why) => writeln!(text, "Why: {}", one_line(why)),
        Who::Committer { revision, .. } => writeln!(text, "Source: {}", one_line(revision)),
        Who::Unknown | Who::User(_) | Who::Named(_) => Ok(()),
    };
    text
}

/// `3 manifests: add 2, remove 1`.
fn count(changes: &[Changed]) -> String {
    let verbs = [Verb::Add, Verb::Change, Verb::Move, Verb::Remove];
    let counts = verbs.map(|verb| (verb, changes.iter().filter(|it| it.verb == verb).count()));
    let counts: Vec<_> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(verb, n)| format!("{} {n}", verb.as_str())).collect();
    format!("{} manifests: {}", changes.len(), counts.join(", "))
}

/// A name of a file may hold anything.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests::Door;

    fn by(door: Door) -> By {
        By { door, ..By::default() }
    }

    fn changed(verb: Verb, what: &str) -> Changed {
        Changed { verb, what: what.to_owned(), path: "x.toml".into() }
    }

    #[test]
    fn a_small_change_is_told_in_one_line() {
        let changes = [changed(Verb::Add, "container/web"), changed(Verb::Remove, "network/lan")];
        assert_eq!(message(&changes, &by(Door::Api)), "add container/web, remove network/lan\n\nDoor: api\n");
    }

    #[test]
    fn a_large_one_is_counted_and_listed() {
        let changes: Vec<_> = (0..501).map(|n| changed(Verb::Add, &format!("container/c{n}"))).collect();
        let text = message(&changes, &by(Door::File));
        assert!(text.starts_with("501 manifests: add 501\n\nadd container/c0\nadd container/c1\n"), "{text}");
        assert!(text.ends_with("add container/c499\nand 1 more\n\nDoor: file\n"), "{text}");
    }

    #[test]
    fn the_agent_says_why() {
        let by = By { door: Door::Api, who: Who::Agent("change-1 was not confirmed".into()) };
        let text = message(&[changed(Verb::Change, "container/web")], &by);
        assert_eq!(text, "change container/web\n\nDoor: api\nWhy: change-1 was not confirmed\n");
    }

    #[test]
    fn what_came_from_a_repository_names_it() {
        let who = Who::Committer { author: "Anna".into(), revision: "home 1234".into() };
        let text = message(&[changed(Verb::Change, "container/web")], &By { door: Door::Pull, who });
        assert_eq!(text, "change container/web\n\nDoor: pull\nSource: home 1234\n");
    }

    #[test]
    fn no_name_breaks_a_line() {
        let text = message(&[changed(Verb::Add, "a\nDoor: git.toml")], &by(Door::File));
        assert_eq!(text, "add a?Door: git.toml\n\nDoor: file\n");
    }
}
