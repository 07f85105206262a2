//! Text to manifest, with every mistake found at once.
//!
//! The text is read as TOML, compared with the shape of its kind, checked against the rules of its kind, and only then
//! turned into types. The shape is compiled from the JSON Schema that editors read.

mod code;
mod depth;
mod diagnostic;
mod finding;
mod hide;
mod path;
mod shape;
mod spell;
mod syntax;
mod text;
mod tree;
mod walk;

use serde_json::Value as Json;
use toml::de::DeTable;

pub(crate) use self::spell::nearest;
pub use self::{code::Code, diagnostic::Diagnostic, path::Path};
use self::{finding::Finding, shape::Shape, text::Text, tree::Node, walk::Walk};
use crate::{
    ConfigSource, Container, Disk, Firewall, Host, Image, Install, Kind, Link, Manifest, Network, Secret, Volume,
};

/// The largest text that is read, in bytes.
pub const LARGEST: usize = 1 << 20;

/// Metadata that the server writes and a request may carry back.
const SERVER_OWNED: &[&str] = &["uid", "generation", "resourceVersion", "creationTimestamp", "managedFields"];

/// A text that is no manifest.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The kind, if it could be read.
    pub kind: Option<Kind>,
    /// The name, if it could be read.
    pub name: Option<String>,
    /// Every mistake, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// A mistake that only shows when fields are looked at together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The stable code.
    pub code: Code,
    /// The field that should be changed.
    pub path: Path,
    /// Whether its key is meant, not its value.
    pub on_key: bool,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub help: String,
}

/// Reads one manifest.
///
/// # Errors
/// Every mistake in the text, in its order.
pub fn parse(text: &str) -> Result<Manifest, Rejected> {
    let places = Text::new(text);
    if let Err(finding) = small_enough(text) {
        return Err(Rejected { kind: None, name: None, diagnostics: finding::place(vec![finding], Some(&places)) });
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let tree = Node::from_toml(table.into_inner(), 0..0);
    let mut checked = check(&tree);
    if !errors.is_empty() {
        syntax::merge(&mut checked.findings, &errors, &places);
    }
    checked.finish(Some(&places))
}

/// Reads one manifest from the body of an API request.
///
/// The status, and what the server writes into the metadata, may stand there and are not looked at.
///
/// # Errors
/// Every mistake in the body. They have a path but no line.
pub fn parse_value(value: &Json) -> Result<Manifest, Rejected> {
    let mut tree = Node::from_json(value);
    tree.remove("status");
    if let Some(metadata) = tree.entry_mut("metadata") {
        SERVER_OWNED.iter().for_each(|key| metadata.remove(key));
    }
    check(&tree).finish(None)
}

/// Says where in the text of a manifest something stands that was found wrong only later. Without a text, as for what
/// came over the API, it has a path but no line.
pub(crate) fn locate(text: Option<&str>, code: Code, path: &Path, reason: &str, help: Option<&str>) -> Diagnostic {
    let found =
        |span| Finding { code, path: path.clone(), span, reason: reason.to_owned(), help: help.map(str::to_owned) };
    let Some(text) = text else { return finding::diagnose(found(0..0), None) };
    let places = Text::new(text);
    let (table, _) = DeTable::parse_recoverable(text);
    let span = Node::from_toml(table.into_inner(), 0..0).span_at(path.segments(), false);
    let mut found = [finding::diagnose(found(span), Some(&places))];
    if hide::declares_a_secret(&places) {
        hide::values(&mut found, &places);
    }
    hide::logins(&mut found);
    let [found] = found;
    found
}

/// What is known of a text after all checks.
struct Checked {
    kind: Option<Kind>,
    name: Option<String>,
    /// Whether it is, or is meant to be, a Secret, whose text is repeated nowhere.
    secret: bool,
    findings: Vec<Finding>,
    manifest: Option<Manifest>,
}

impl Checked {
    fn finish(self, text: Option<&Text<'_>>) -> Result<Manifest, Rejected> {
        match self.manifest {
            Some(manifest) if self.findings.is_empty() => Ok(manifest),
            _ => {
                let mut diagnostics = finding::place(self.findings, text);
                if let Some(text) = text.filter(|text| self.secret || hide::declares_a_secret(text)) {
                    hide::values(&mut diagnostics, text);
                }
                hide::logins(&mut diagnostics);
                Err(Rejected { kind: self.kind, name: self.name, diagnostics })
            }
        }
    }
}

fn check(tree: &Node<'_>) -> Checked {
    let word = tree.text("kind");
    let kind = word.and_then(|word| word.parse().ok());
    // A misspelt kind is judged as the one that was meant; without any, the envelope alone is judged.
    let likely = kind.or_else(|| Kind::from_word(nearest(word?, Kind::ALL.iter().map(|it| it.as_str()))?));
    let mut walk = Walk::new(Shape::of(likely.unwrap_or(Kind::Container)));
    let mut json = walk.check(tree);
    if let Some(whole) = json.as_object_mut() {
        whole.entry("spec").or_insert_with(|| Json::Object(serde_json::Map::new()));
    }
    let mut findings = walk.findings;
    if likely.is_none() {
        findings.retain(|finding| !finding.path.touches(&Path::default().key("spec")));
    }
    let name = tree.entry("metadata").and_then(|it| it.node.text("name")).map(str::to_owned);
    let manifest = likely.and_then(|kind| typed(kind, json, tree, &mut findings));
    Checked { kind, name, secret: likely == Some(Kind::Secret), findings, manifest }
}

/// Turns the checked tree into types and asks the kind's own rules.
fn typed(kind: Kind, json: Json, tree: &Node<'_>, findings: &mut Vec<Finding>) -> Option<Manifest> {
    let result = match kind {
        Kind::Container => serde_json::from_value::<Container>(json).map(|it| Manifest::Container(Box::new(it))),
        Kind::Network => serde_json::from_value::<Network>(json).map(|it| Manifest::Network(Box::new(it))),
        Kind::Volume => serde_json::from_value::<Volume>(json).map(|it| Manifest::Volume(Box::new(it))),
        Kind::Secret => serde_json::from_value::<Secret>(json).map(|it| Manifest::Secret(Box::new(it))),
        Kind::Image => serde_json::from_value::<Image>(json).map(|it| Manifest::Image(Box::new(it))),
        Kind::Link => serde_json::from_value::<Link>(json).map(|it| Manifest::Link(Box::new(it))),
        Kind::Host => serde_json::from_value::<Host>(json).map(|it| Manifest::Host(Box::new(it))),
        Kind::Firewall => serde_json::from_value::<Firewall>(json).map(|it| Manifest::Firewall(Box::new(it))),
        Kind::ConfigSource => {
            serde_json::from_value::<ConfigSource>(json).map(|it| Manifest::ConfigSource(Box::new(it)))
        }
        Kind::Disk => serde_json::from_value::<Disk>(json).map(|it| Manifest::Disk(Box::new(it))),
        Kind::Install => serde_json::from_value::<Install>(json).map(|it| Manifest::Install(Box::new(it))),
    };
    match result {
        Ok(manifest) => {
            let broken: Vec<_> = findings.iter().map(|it| it.path.clone()).collect();
            let new = manifest.validate().into_iter().filter(|it| !broken.iter().any(|path| path.touches(&it.path)));
            findings.extend(new.map(|violation| {
                let Violation { code, path, on_key, reason, help } = violation;
                let span = tree.span_at(path.segments(), on_key);
                Finding { code, path, span, reason, help: Some(help) }
            }));
            Some(manifest)
        }
        Err(error) if findings.is_empty() => {
            let (path, reason) = (Path::default(), error.to_string());
            findings.push(Finding { code: Code::WrongForm, path, span: tree.span.clone(), reason, help: None });
            None
        }
        Err(_) => None,
    }
}

/// Refuses what can't be a manifest before it is read, so that no text can exhaust memory or stack.
fn small_enough(text: &str) -> Result<(), Finding> {
    if text.len() > LARGEST {
        let reason = format!("the file has {} bytes, a manifest at most {LARGEST}", text.len());
        let help = Some("move it out of the directory of manifests, or split it".to_owned());
        return Err(Finding { code: Code::TooLarge, path: Path::default(), span: 0..0, reason, help });
    }
    depth::check(text)
}
