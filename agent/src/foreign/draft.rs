use serde_json::{Map, Value as Json};

use super::report::{Outcome, Row};

/// A spec that is being put together, and what is said about each part on the way.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The name of the manifest.
    pub name: String,
    /// The spec in the words of manifests.
    pub spec: Map<String, Json>,
    /// What became of each part so far.
    pub rows: Vec<Row>,
    /// What it is called in the report.
    subject: String,
    pub(crate) key: String,
}

impl Draft {
    /// Returns an empty draft of a manifest of this name, of which the report speaks as `subject`.
    pub fn new(subject: String, name: String) -> Self {
        Self { name, subject, ..Self::default() }
    }

    /// Speaks of another key from now on, in place of a plain "kept".
    pub fn at(&mut self, key: &str) {
        self.rows.retain(|row| row.key != key || row.outcome != Outcome::Kept || !row.note.is_empty());
        key.clone_into(&mut self.key);
    }

    /// Says that a part of the key is kept, with advice.
    pub fn kept(&mut self, part: &str, note: impl Into<String>) {
        self.row(part, Outcome::Kept, note.into());
    }

    /// Says that a part of the key is there, but not as it was.
    pub fn changed(&mut self, part: &str, note: impl Into<String>) {
        self.row(part, Outcome::Changed, note.into());
    }

    /// Says that a part of the key is lost.
    pub fn lost(&mut self, part: &str, note: impl Into<String>) {
        self.row(part, Outcome::Unsupported, note.into());
    }

    fn row(&mut self, part: &str, outcome: Outcome, note: String) {
        self.rows.push(Row { subject: self.subject.clone(), key: format!("{}{part}", self.key), outcome, note });
    }

    /// Puts a field of the spec.
    pub fn put(&mut self, field: &str, value: impl Into<Json>) {
        self.spec.insert(field.to_owned(), value.into());
    }

    /// Adds to a list of the spec.
    pub fn push(&mut self, field: &str, value: impl Into<Json>) {
        let list = self.spec.entry(field).or_insert_with(|| Json::Array(Vec::new()));
        if let Json::Array(list) = list {
            list.push(value.into());
        }
    }

    /// Returns a map of the spec to add to.
    pub fn map(&mut self, field: &str) -> Option<&mut Map<String, Json>> {
        self.spec.entry(field).or_insert_with(|| Json::Object(Map::new())).as_object_mut()
    }

    /// Says that the values of these variables should not be seen; says nothing of the values.
    pub fn advise_secrets(&mut self, names: &[String]) {
        if !names.is_empty() {
            let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            self.kept("", format!("{names} can be read by all who read the manifest: a Secret is the better place"));
        }
    }

    /// Names the grants without which the container would be refused, and says so loudly; `who` needs them.
    pub fn grant(&mut self, who: &str) {
        let needed = super::grants_needed(&self.spec);
        if needed.is_empty() {
            return;
        }
        self.put("grants", needed.iter().map(|grant| grant.as_str()).collect::<Vec<_>>());
        self.at("grants");
        for grant in needed {
            self.changed("", format!("`{}` is granted, as {who} needs it: {}", grant.as_str(), grant.danger()));
        }
    }
}
