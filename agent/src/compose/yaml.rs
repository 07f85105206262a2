//! YAML as a tree of texts, each with its place.
//!
//! Every scalar stays the text that was written, so that `1.10` is not 1.1 and `0644` not 420: who reads a key knows
//! what is meant. Anchors are resolved and `<<` is merged; what they may grow to is bounded.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::mistake::{Mistake, Place};

/// The largest text that is read, in bytes.
const LARGEST: usize = 1 << 20;
/// The most nodes of a tree, with all that aliases stand for.
const MOST_NODES: usize = 100_000;
/// The deepest tree.
const DEEPEST: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// Returns the text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the entries of a map.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the value of a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Changes each text below.
    pub(super) fn each_text(&mut self, change: &mut impl FnMut(&mut String, Place)) {
        match &mut self.value {
            Value::Null => {}
            Value::Text(text) => change(text, self.place),
            Value::List(items) => items.iter_mut().for_each(|item| item.each_text(change)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| entry.value.each_text(change)),
        }
    }
}

/// Reads the one document of a text.
pub(super) fn read(text: &str) -> Result<Node, Mistake> {
    if text.len() > LARGEST {
        let reason = format!("the file has {} bytes, a compose file at most {LARGEST}", text.len());
        return Err(Mistake::new(Place::default(), reason, "split it"));
    }
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| {
            let marker = error.marker();
            let reason = format!("this is not YAML: {}", error.info());
            Mistake::new(place(marker.line(), marker.col()), reason, "mend it; `docker compose config` shows the same")
        })?;
        builder.take(event, at(&span))?;
    }
    builder.root.ok_or_else(|| Mistake::new(Place::default(), "the file is empty", "a compose file has `services:`"))
}

fn at(span: &Span) -> Place {
    place(span.start.line(), span.start.col())
}

fn place(line: usize, column: usize) -> Place {
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: small(line), column: small(column.saturating_add(1)) }
}

/// A collection that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    height: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Place)>, merged: Vec<Node> },
}

/// A node whose aliases may follow, with how deep and how large it is.
struct Anchored {
    node: Node,
    height: usize,
    nodes: usize,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// How many nodes there were when each open collection began.
    began: Vec<usize>,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Mistake> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                own_tag(tag.as_deref(), place)?;
                let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Text(text.into_owned()) };
                self.done(Node { value, place }, anchor, 1, self.nodes)
            }
            Event::SequenceStart(_, anchor, tag) => {
                own_tag(tag.as_deref(), place)?;
                self.begin(place, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                own_tag(tag.as_deref(), place)?;
                self.begin(place, anchor, Inside::Map { entries: Vec::new(), key: None, merged: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, place),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Mistake::new(place, "a second document begins here", "keep one document a file"))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, inside: Inside) -> Result<(), Mistake> {
        if self.open.len() >= DEEPEST {
            return Err(too_deep(place));
        }
        self.began.push(self.nodes);
        self.open.push(Open { place, anchor, height: 1, inside });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Mistake> {
        let (Some(open), Some(began)) = (self.open.pop(), self.began.pop()) else { return Ok(()) };
        let value = match open.inside {
            Inside::List(items) => Value::List(items),
            Inside::Map { entries, merged, .. } => Value::Map(merge(entries, merged)?),
        };
        self.done(Node { value, place: open.place }, open.anchor, open.height, began)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Mistake> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(Mistake::new(place, "nothing is anchored under this name", "name an anchor that stands above"));
        };
        let (node, height, began) = (anchored.node.clone(), anchored.height, self.nodes);
        self.nodes = self.nodes.saturating_add(anchored.nodes);
        self.done(node, 0, height, began)
    }

    /// Puts a whole node where it belongs.
    fn done(&mut self, node: Node, anchor: usize, height: usize, began: usize) -> Result<(), Mistake> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MOST_NODES {
            return Err(Mistake::new(node.place, "the aliases grow without measure", "write fewer aliases of aliases"));
        }
        if height.saturating_add(self.open.len()) > DEEPEST {
            return Err(too_deep(node.place));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), height, nodes: self.nodes - began });
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.height = open.height.max(height + 1);
        open.inside.push(node)
    }
}

impl Inside {
    fn push(&mut self, node: Node) -> Result<(), Mistake> {
        let (entries, key, merged) = match self {
            Self::List(items) => {
                items.push(node);
                return Ok(());
            }
            Self::Map { entries, key, merged } => (entries, key, merged),
        };
        match key.take() {
            None => match node.value {
                Value::Text(text) => *key = Some((text, node.place)),
                _ => return Err(Mistake::new(node.place, "a key is a plain word", "write `key: value`")),
            },
            Some((word, _)) if word == "<<" => merged.push(node),
            Some((word, place)) => {
                if entries.iter().any(|entry| entry.key == word) {
                    let reason = format!("`{word}` stands here twice");
                    return Err(Mistake::new(place, reason, "keep one of them"));
                }
                entries.push(Entry { key: word, place, value: node });
            }
        }
        Ok(())
    }
}

/// Adds what maps behind `<<` have and the map itself has not.
fn merge(mut entries: Vec<Entry>, merged: Vec<Node>) -> Result<Vec<Entry>, Mistake> {
    for node in merged {
        let maps = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for map in maps {
            let Value::Map(more) = map.value else {
                return Err(Mistake::new(map.place, "`<<` merges maps only", "name the anchor of a map"));
            };
            for entry in more {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(entries)
}

/// Tags such as `!reset` change what a file means, so they are not passed over.
fn own_tag(tag: Option<&granit_parser::Tag>, place: Place) -> Result<(), Mistake> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            let reason = format!("the tag `{tag}` is not understood");
            Err(Mistake::new(place, reason, "write the value without it"))
        }
        _ => Ok(()),
    }
}

fn too_deep(place: Place) -> Mistake {
    Mistake::new(place, "this is nested too deeply", format!("at most {DEEPEST} levels are read"))
}
