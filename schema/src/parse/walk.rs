use std::{net::IpAddr, ops::Range};

use serde_json::{Map, Number, Value as Json};

use super::{
    Code,
    finding::{Finding, MOST},
    path::{Path, Segment},
    shape::{Is, Shape, Table, Text},
    spell,
    tree::{Entry, Node, Value},
};
use crate::{API_VERSION, Kind};

/// The longest part of a person's own text that a message repeats.
const QUOTED: usize = 60;

/// Compares a tree with a shape and notes every difference.
pub(super) struct Walk {
    root: &'static Shape,
    path: Path,
    /// Where keys belong that were found in a wrong table.
    astray: Vec<Path>,
    pub(super) findings: Vec<Finding>,
}

impl Walk {
    pub(super) fn new(root: &'static Shape) -> Self {
        Self { root, path: Path::default(), astray: Vec::new(), findings: Vec::new() }
    }

    /// Checks the whole tree. Returns it as JSON with something harmless in place of what is wrong, so that the rules
    /// across fields can speak of the rest.
    pub(super) fn check(&mut self, node: &Node<'_>) -> Json {
        let json = self.value(node, self.root);
        // A key in the wrong table is one mistake; that it is missing in the right one is the same mistake.
        let astray = std::mem::take(&mut self.astray);
        let elsewhere = |finding: &Finding| astray.iter().any(|path| path.touches(&finding.path));
        self.findings.retain(|finding| finding.code != Code::MissingKey || !elsewhere(finding));
        json
    }

    fn value(&mut self, node: &Node<'_>, shape: &Shape) -> Json {
        match (&node.value, &shape.is) {
            (Value::Text(text), Is::Text(rules)) => self.text(text, rules, shape, node),
            (Value::Integer(_) | Value::Float(_), Is::Number { .. }) => self.number(node, shape),
            (Value::Bool(it), Is::Bool) => Json::Bool(*it),
            (Value::List(items), Is::List { of, min }) => self.list(items, of, *min, node),
            (Value::Table(entries), Is::Table(table)) => self.table(entries, table, node),
            (Value::Table(entries), Is::Map(of)) => self.map(entries, of),
            _ => {
                self.wrong_type(node, shape);
                placeholder(shape)
            }
        }
    }

    fn text(&mut self, text: &str, rules: &Text, shape: &Shape, node: &Node<'_>) -> Json {
        if !rules.words.is_empty() && !rules.words.iter().any(|word| word == text) {
            self.unknown_word(text, rules, node);
        } else if rules.pattern.as_ref().is_some_and(|it| !it.is_match(text)) {
            self.wrong_form(text, rules, shape, node);
        } else if rules.address && text.parse::<IpAddr>().is_err() {
            let help = "write an address such as `127.0.0.1` or `::1`";
            self.note(Code::WrongForm, &node.span, format!("`{}` is not an IP address", short(text)), help);
        } else if text.chars().count() > rules.max {
            let reason = format!("the text has more than {} characters", rules.max);
            self.note(Code::WrongLength, &node.span, reason, "shorten it");
        } else {
            return Json::String(text.to_owned());
        }
        placeholder(shape)
    }

    fn unknown_word(&mut self, text: &str, rules: &Text, node: &Node<'_>) {
        let (code, reason, help);
        if self.path.is(&["kind"]) {
            code = Code::UnknownKind;
            reason = format!("unknown kind `{}`", short(text));
            help = meant(text, &Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>());
        } else if self.path.is(&["apiVersion"]) {
            code = Code::WrongApiVersion;
            reason = format!("unknown apiVersion `{}`", short(text));
            help = format!("write `apiVersion = \"{API_VERSION}\"`");
        } else {
            code = Code::UnknownWord;
            reason = format!("`{}` is not a value of `{}`", short(text), self.field());
            help = meant(text, &rules.words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        self.note(code, &node.span, reason, &help);
    }

    fn wrong_form(&mut self, text: &str, rules: &Text, shape: &Shape, node: &Node<'_>) {
        let name = self.path.is(&["metadata", "name"]);
        let code = if name { Code::BadName } else { Code::WrongForm };
        let reason = if name {
            format!("`{}` can't be a name", short(text))
        } else {
            format!("`{}` is not of the form that `{}` takes", short(text), self.field())
        };
        let help = match (&rules.hint, &rules.example) {
            _ if name => name_help(text),
            (Some(hint), _) => hint.clone(),
            (None, Some(example)) => format!("write it like `{example}`"),
            (None, None) => shape.about.clone(),
        };
        self.note(code, &node.span, reason, &help);
    }

    fn number(&mut self, node: &Node<'_>, shape: &Shape) -> Json {
        let Is::Number { whole, min, max } = &shape.is else { return placeholder(shape) };
        let (size, json) = match &node.value {
            Value::Integer(it) => {
                #[expect(clippy::cast_precision_loss, reason = "only compared with bounds far below 2^53")]
                let size = *it as f64;
                (size, i64::try_from(*it).ok().map(Number::from))
            }
            Value::Float(it) if !*whole => (*it, Number::from_f64(*it)),
            _ => {
                self.wrong_type(node, shape);
                return placeholder(shape);
            }
        };
        match json {
            Some(json) if size >= *min && size <= *max => Json::Number(json),
            _ => {
                let reason = format!("`{}` is out of range", self.field());
                self.note(Code::OutOfRange, &node.span, reason, &range(*min, *max));
                placeholder(shape)
            }
        }
    }

    fn list(&mut self, items: &[Node<'_>], of: &Shape, min: usize, node: &Node<'_>) -> Json {
        if items.len() < min {
            let reason = format!("`{}` is empty", self.field());
            self.note(Code::WrongLength, &node.span, reason, "give at least one entry");
        }
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.push(Segment::Index(index));
            out.push(self.value(item, of));
            self.path.pop();
        }
        Json::Array(out)
    }

    fn map(&mut self, entries: &[Entry<'_>], of: &Shape) -> Json {
        let mut out = Map::with_capacity(entries.len());
        for entry in entries {
            let before = self.findings.len();
            self.path.push(Segment::Key(entry.key.to_string()));
            let value = self.value(&entry.node, of);
            self.path.pop();
            if self.findings.len() == before {
                out.insert(entry.key.to_string(), value);
            }
        }
        Json::Object(out)
    }

    fn table(&mut self, entries: &[Entry<'_>], table: &Table, node: &Node<'_>) -> Json {
        let mut out = Map::with_capacity(entries.len());
        let mut meant = Vec::new();
        let free: Vec<&str> = table
            .keys
            .iter()
            .map(|(key, _)| key.as_str())
            .filter(|key| !entries.iter().any(|it| it.key == *key))
            .collect();
        for entry in entries {
            match table.get(&entry.key) {
                Some(shape) => self.entry(entry, &entry.key, shape, table, &mut out),
                None => meant.extend(self.unknown_key(entry, table, &free).map(|key| (entry, key))),
            }
        }
        // What stands under a misspelt key is looked at too, as if it had been spelt right.
        for (entry, key) in &meant {
            if let Some(shape) = table.get(key).filter(|shape| fits(&entry.node.value, &shape.is)) {
                self.entry(entry, key, shape, table, &mut out);
            }
        }
        for key in &table.required {
            let given = entries.iter().any(|it| it.key == key.as_str()) || meant.iter().any(|(_, it)| it == key);
            if !given {
                self.missing(key, table, node);
            }
            if let (false, Some(shape)) = (out.contains_key(key), table.get(key)) {
                out.insert(key.clone(), placeholder(shape));
            }
        }
        Json::Object(out)
    }

    /// Checks the value of one key. A wrong optional value is left out of what the rules see.
    fn entry(&mut self, entry: &Entry<'_>, key: &str, shape: &Shape, table: &Table, out: &mut Map<String, Json>) {
        let before = self.findings.len();
        self.path.push(Segment::Key(key.to_owned()));
        let value = self.value(&entry.node, shape);
        self.path.pop();
        let scalar = !matches!(shape.is, Is::List { .. } | Is::Table(_) | Is::Map(_));
        let wrong = self.findings.len() > before;
        if !wrong || table.required.iter().any(|it| it == key) || !scalar {
            out.insert(key.to_owned(), value);
        }
    }

    /// Reports an unknown key and returns the one that was meant.
    fn unknown_key(&mut self, entry: &Entry<'_>, table: &Table, free: &[&str]) -> Option<String> {
        // A file of nothing but mistakes must not cost more than a look: beyond those shown, nobody guesses what was meant.
        if self.findings.len() > MOST {
            return self.stray(entry, "remove it; `piccolo explain` lists all keys");
        }
        let known = || table.keys.iter().map(|(key, _)| key.as_str());
        // The nearest key is another thing: its answers are signed by nobody.
        if entry.key == "nts" && known().any(|key| key == "ntp") {
            return self
                .stray(entry, "remove it; nothing here asks for the time by NTS, and answers to `ntp` are not signed");
        }
        let near = spell::nearest(&entry.key, free.iter().copied());
        let taken = spell::nearest(&entry.key, known());
        let home = spell::home(&entry.key, self.root);
        let help = match (near, taken, &home) {
            (Some(near), ..) => format!("did you mean `{near}`?"),
            (None, Some(taken), _) => format!("`{taken}` is given already: remove this one"),
            (None, None, Some(home)) if home.segments().is_empty() => {
                "it stands at the top, before any [table]; one file holds one manifest".to_owned()
            }
            (None, None, Some(home)) => format!("`{}` belongs in `{home}`", entry.key),
            (None, None, None) if table.keys.len() > 12 => "remove it; `piccolo explain` lists all keys".to_owned(),
            (None, None, None) => format!("the keys here are {}", listed(&known().collect::<Vec<_>>())),
        };
        let near = near.map(str::to_owned);
        self.astray.extend(home.filter(|_| near.is_none()).map(|home| home.key(&entry.key)));
        self.stray(entry, &help);
        near
    }

    /// Notes an unknown key.
    fn stray(&mut self, entry: &Entry<'_>, help: &str) -> Option<String> {
        let place = if self.path.segments().is_empty() { "a manifest".to_owned() } else { format!("`{}`", self.path) };
        self.path.push(Segment::Key(entry.key.to_string()));
        let reason = format!("unknown key `{}` in {place}", short(&entry.key));
        self.note(Code::UnknownKey, &entry.key_span, reason, help);
        self.path.pop();
        None
    }

    fn missing(&mut self, key: &str, table: &Table, node: &Node<'_>) {
        let place =
            if self.path.segments().is_empty() { "the manifest".to_owned() } else { format!("`{}`", self.path) };
        let help = match table.get(key).map(|shape| (&shape.is, shape)) {
            _ if key == "apiVersion" => format!("begin the file with `apiVersion = \"{API_VERSION}\"`"),
            _ if key == "kind" => "write `kind = \"Container\"` or another kind".to_owned(),
            _ if key == "metadata" => "add `metadata.name = \"…\"`".to_owned(),
            Some((Is::Table(_), _)) => format!("add a table `[{key}]`"),
            Some((Is::Text(_), shape)) => format!("add `{key} = \"…\"`: {}", lower(&shape.about)),
            Some((_, shape)) => format!("add `{key} = …`: {}", lower(&shape.about)),
            None => format!("add `{key}`"),
        };
        self.path.push(Segment::Key(key.to_owned()));
        self.note(Code::MissingKey, &node.span, format!("`{key}` is missing in {place}"), &help);
        self.path.pop();
    }

    fn wrong_type(&mut self, node: &Node<'_>, shape: &Shape) {
        let reason = format!("`{}`: expected {}, found {}", self.field(), shape.is.noun(), node.value.noun());
        let help = self.conversion(node, shape);
        self.note(Code::WrongType, &node.span, reason, &help);
    }

    /// Says how the value that was found is written in the type that is wanted.
    fn conversion(&self, node: &Node<'_>, shape: &Shape) -> String {
        match (&shape.is, &node.value) {
            (Is::Text(text), _) if !text.words.is_empty() => {
                format!("write one of {}", listed(&text.words.iter().map(String::as_str).collect::<Vec<_>>()))
            }
            (Is::Text(Text { example: Some(example), .. }), _) => format!("write a text like `\"{example}\"`"),
            (Is::Text(_), Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Date) => {
                "put it in quotes".to_owned()
            }
            (Is::Text(_), Value::List(_)) => "give one text, not a list".to_owned(),
            (Is::Number { .. }, Value::Text(text)) if text.trim().parse::<f64>().is_ok() => {
                format!("write it without quotes: `{}`", short(text.trim()))
            }
            (Is::Number { whole: true, .. }, Value::Float(_)) => "write a whole number, without a point".to_owned(),
            (Is::Bool, Value::Text(text)) if matches!(text.as_ref(), "true" | "false") => {
                format!("write it without quotes: `{text}`")
            }
            (Is::Bool, _) => "write `true` or `false`".to_owned(),
            (Is::List { of, .. }, Value::Table(_)) if matches!(of.is, Is::Table(_)) => {
                format!("write `[[{}]]`, in double brackets, once for each entry", self.path)
            }
            (Is::List { of, .. }, _) if matches!(of.is, Is::Text(_)) => {
                "put it in brackets, each part in quotes: `[\"…\", \"…\"]`".to_owned()
            }
            (Is::List { .. }, _) => format!("write a block `[[{}]]` for each entry", self.path),
            (Is::Table(_), _) if self.path.segments().len() == 1 => {
                format!("write its keys under a header `[{}]`", self.path)
            }
            (Is::Table(table), _) => match table.required.as_slice() {
                [] => format!("write its keys under a header `[{}]`", self.path),
                keys => format!(
                    "write `{{ {} }}`",
                    keys.iter().map(|key| format!("{key} = …")).collect::<Vec<_>>().join(", ")
                ),
            },
            (Is::Map(_), _) => "write a table of names and texts: `{ NAME = \"value\" }`".to_owned(),
            _ => lower(&shape.about),
        }
    }

    fn note(&mut self, code: Code, span: &Range<usize>, reason: String, help: &str) {
        let help = Some(help.to_owned()).filter(|help| !help.is_empty());
        self.findings.push(Finding { code, path: self.path.clone(), span: span.clone(), reason, help });
    }

    fn field(&self) -> String {
        self.path.to_string()
    }
}

/// Returns something harmless of the wanted type.
fn placeholder(shape: &Shape) -> Json {
    match &shape.is {
        Is::Text(text) => Json::String(text.words.first().cloned().unwrap_or_default()),
        Is::Number { .. } => Json::from(0),
        Is::Bool => Json::Bool(false),
        Is::List { .. } => Json::Array(Vec::new()),
        Is::Map(_) => Json::Object(Map::new()),
        Is::Table(table) => {
            let required = table.required.iter().filter_map(|key| Some((key.clone(), placeholder(table.get(key)?))));
            Json::Object(required.collect())
        }
        Is::Anything => Json::Null,
    }
}

const fn fits(value: &Value<'_>, is: &Is) -> bool {
    matches!(
        (value, is),
        (Value::Text(_), Is::Text(_))
            | (Value::Integer(_), Is::Number { .. })
            | (Value::Float(_), Is::Number { whole: false, .. })
            | (Value::Bool(_), Is::Bool)
            | (Value::List(_), Is::List { .. })
            | (Value::Table(_), Is::Table(_) | Is::Map(_))
    )
}

fn meant(text: &str, words: &[&str]) -> String {
    match spell::nearest(text, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", listed(words)),
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn range(min: f64, max: f64) -> String {
    format!("give a number from {min} to {max}")
}

fn name_help(text: &str) -> String {
    let rule = "use at most 63 lower-case letters, digits and `-`, not `-` at the ends";
    let plain: String =
        text.chars().take(63).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    match plain.trim_matches('-') {
        "" => rule.to_owned(),
        name => format!("{rule}: `{name}`"),
    }
}

/// Returns a person's text as a message can repeat it: not too long, and on one line.
pub(super) fn short(text: &str) -> String {
    let mut out: String = text.chars().take(QUOTED).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(QUOTED).is_some() {
        out.push('…');
    }
    out
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
