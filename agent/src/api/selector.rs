//! Which objects a client asks for.

use serde_json::Value;

use super::{fault::Fault, params::Params};

/// What an object must be like to be shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`; only these fields can be selected by.
    pub(super) fn read(params: &Params, fields: &[&str]) -> Result<Self, Fault> {
        let labels = parse("labelSelector", params)?;
        let wanted = parse("fieldSelector", params)?;
        let known = |it: &&Requirement| !fields.contains(&it.key.as_str()) || !it.test.compares();
        if let Some(unknown) = wanted.iter().find(known) {
            let detail = format!("fieldSelector: can't select by `{}`", unknown.key);
            return Err(Fault::bad_request(detail).help(format!("select by one of {}", fields.join(", "))));
        }
        Ok(Self { labels, fields: wanted })
    }

    /// Returns true if the object is asked for.
    pub(super) fn takes(&self, object: &Value) -> bool {
        self.labels.iter().all(|it| it.test.holds(object["metadata"]["labels"][&it.key].as_str()))
            && self.fields.iter().all(|it| {
                let field = it.key.split('.').fold(object, |object, key| &object[key]);
                // An absent field is an empty one, as in the Kubernetes API.
                it.test.holds(Some(field.as_str().unwrap_or_default()))
            })
    }
}

impl Test {
    fn compares(&self) -> bool {
        matches!(self, Self::In(_) | Self::NotIn(_))
    }

    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|value| values.iter().any(|it| it == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|it| it != value)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }
}

fn parse(which: &str, params: &Params) -> Result<Vec<Requirement>, Fault> {
    let refuse = |part: &str| Fault::bad_request(format!("{which}: can't understand `{part}`"));
    let parts = split(params.text(which).unwrap_or_default());
    parts.into_iter().map(|part| requirement(part).ok_or_else(|| refuse(part))).collect()
}

/// Splits at the commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let parts = text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, test) = if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Test::In(one(value)))
    } else if let Some((key, values)) = part.split_once(" notin ") {
        (key, Test::NotIn(set(values)?))
    } else if let Some((key, values)) = part.split_once(" in ") {
        (key, Test::In(set(values)?))
    } else if let Some(key) = part.strip_prefix('!') {
        (key, Test::Absent)
    } else {
        (part, Test::Exists)
    };
    let key = key.trim();
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    plain.then(|| Requirement { key: key.to_owned(), test })
}

fn set(values: &str) -> Option<Vec<String>> {
    let inner = values.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]
    use serde_json::json;

    use super::*;

    fn takes(selector: &str) -> bool {
        let labels = split(selector).into_iter().map(|part| requirement(part).unwrap()).collect();
        let object = json!({ "metadata": { "labels": { "tier": "web", "piccolo.example/a": "1" } } });
        Selection { labels, fields: Vec::new() }.takes(&object)
    }

    #[test]
    fn labels_are_selected_as_the_kubernetes_api_does() {
        for yes in
            ["tier=web", "tier==web", "tier!=db", "x!=y", "tier in (web, db),!x", "x notin (a)", "piccolo.example/a"]
        {
            assert!(takes(yes), "{yes}");
        }
        for no in ["tier=db", "tier!=web", "tier in (db)", "tier notin (web,db)", "x", "!tier", "tier=web,x"] {
            assert!(!takes(no), "{no}");
        }
        assert_eq!(requirement("a b"), None);
        assert_eq!(requirement("a in web"), None);
    }
}
