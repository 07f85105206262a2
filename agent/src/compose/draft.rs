//! A container that is being put together, and what is said about each key on the way.

use std::ops::{Deref, DerefMut};

use super::{
    keys,
    mistake::{Mistake, Place},
    project::Project,
    values,
    yaml::{Entry, Node, Value},
};
use crate::foreign;

/// What one service, network or volume has become so far.
pub(super) struct Draft<'a> {
    pub(super) project: &'a Project<'a>,
    /// The name in the compose file.
    pub(super) own: &'a str,
    pub(super) draft: foreign::Draft,
    pub(super) mistakes: Vec<Mistake>,
    /// What it is called in the compose file.
    plain: String,
}

impl Deref for Draft<'_> {
    type Target = foreign::Draft;

    fn deref(&self) -> &foreign::Draft {
        &self.draft
    }
}

impl DerefMut for Draft<'_> {
    fn deref_mut(&mut self) -> &mut foreign::Draft {
        &mut self.draft
    }
}

/// `NAME=value`, or a name alone.
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) place: Place,
}

impl<'a> Draft<'a> {
    /// Returns an empty draft of the thing that the compose file calls so.
    pub(super) fn new(project: &'a Project<'a>, word: &str, own: &'a str, name: String) -> Self {
        let subject = if own == name { format!("{word} {own}") } else { format!("{word} {own} -> {name}") };
        let draft = foreign::Draft::new(subject, name);
        Self { project, own, draft, mistakes: Vec::new(), plain: format!("{word} `{own}`") }
    }

    /// Takes one entry; if nothing is said about it, it is kept.
    pub(super) fn take(&mut self, entry: &Entry, take: impl FnOnce(&mut Self, &Entry)) {
        let (rows, mistakes) = (self.rows.len(), self.mistakes.len());
        self.key.clone_from(&entry.key);
        if entry.key.starts_with("x-") {
            self.changed("", "left out: a note for other readers");
        } else {
            take(self, entry);
        }
        if self.rows.len() == rows && self.mistakes.len() == mistakes {
            self.kept("", "");
        }
    }

    /// Says that a value can't be understood.
    pub(super) fn wrong(&mut self, place: Place, reason: &str, help: &str) {
        let reason = format!("`{}` of the {}: {reason}", self.key, self.plain);
        self.mistakes.push(Mistake::new(place, reason, help));
    }

    /// Says that a key is not known.
    pub(super) fn unknown_key(&mut self, entry: &Entry, help: &str) {
        let reason = format!("the {} has an unknown key `{}`", self.plain, entry.key);
        self.mistakes.push(Mistake::new(entry.place, reason, help));
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        self.want(node, node.text(), "this is no single word", "write `key: value`")
    }

    pub(super) fn flag(&mut self, node: &Node) -> Option<bool> {
        let flag = match node.text().map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "yes" | "on" | "y" | "1") => Some(true),
            Some("false" | "no" | "off" | "n" | "0") => Some(false),
            _ => None,
        };
        self.want(node, flag, "this is neither true nor false", "write `true` or `false`")
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, node: &Node) -> Option<T> {
        let number = node.text().and_then(|text| text.parse().ok());
        self.want(node, number, "this is no number", "write digits")
    }

    /// Reads an amount of memory; returns it in the words of manifests.
    pub(super) fn size(&mut self, node: &Node) -> Option<u64> {
        let size = node.text().and_then(foreign::engine_bytes);
        self.want(node, size, "this is no amount of memory", "write `512m` or `1g`")
    }

    /// Reads a length of time; returns it in the words of manifests.
    pub(super) fn time(&mut self, node: &Node) -> Option<String> {
        let time = node.text().and_then(values::duration);
        self.want(node, time, "this is no length of time", "write `1m30s`")
    }

    /// Reads a list, or one word in its place.
    pub(super) fn list<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            Value::Text(_) => std::slice::from_ref(node),
            Value::Map(_) => {
                self.wrong(node.place, "a list is wanted here", "write one `- …` a line");
                &[]
            }
        }
    }

    /// Reads a list of words.
    pub(super) fn words(&mut self, node: &Node) -> Vec<String> {
        let items = self.list(node);
        items.iter().filter_map(|item| self.text(item).map(str::to_owned)).collect()
    }

    pub(super) fn entries<'n>(&mut self, node: &'n Node) -> &'n [Entry] {
        match (node.entries(), &node.value) {
            (Some(entries), _) => entries,
            (None, Value::Null) => &[],
            _ => {
                self.wrong(node.place, "keys with values are wanted here", "write `key: value`");
                &[]
            }
        }
    }

    /// Reads pairs in either form, `- NAME=value` or `NAME: value`.
    pub(super) fn pairs(&mut self, node: &Node, between: &[char]) -> Vec<Pair> {
        match &node.value {
            Value::Map(entries) => entries.iter().filter_map(|entry| self.pair(entry)).collect(),
            _ => {
                let items = self.list(node);
                items.iter().filter_map(|item| Some(split(self.text(item)?, between, item.place))).collect()
            }
        }
    }

    fn pair(&mut self, entry: &Entry) -> Option<Pair> {
        let value = match &entry.value.value {
            Value::Null => None,
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.wrong(entry.value.place, "one word is wanted here", "write `NAME: value`");
                return None;
            }
        };
        Some(Pair { name: entry.key.clone(), value, place: entry.place })
    }

    /// Says that a key within the key is not known.
    pub(super) fn unknown(&mut self, entry: &Entry, known: &[&str]) {
        if !entry.key.starts_with("x-") {
            let help = keys::advice(&entry.key, known);
            self.wrong(entry.place, &format!("the key `{}` is not known", entry.key), &help);
        }
    }

    fn want<T>(&mut self, node: &Node, value: Option<T>, reason: &str, help: &str) -> Option<T> {
        if value.is_none() {
            self.wrong(node.place, reason, help);
        }
        value
    }
}

fn split(text: &str, between: &[char], place: Place) -> Pair {
    let (name, value) = match text.split_once(between) {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    Pair { name: name.trim().to_owned(), value, place }
}
