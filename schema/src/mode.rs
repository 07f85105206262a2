use std::{fmt, str::FromStr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::parse::{Code, Path, Violation};

/// Whether a manifest is kept so, or only planned. Written as the annotation [`Mode::ANNOTATION`], since it speaks of
/// how the manifest is handled and not of what is wanted, and every kind has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// What is planned is done.
    #[default]
    Enforce,
    /// What is planned is said and not done.
    Observe,
}

/// A word that is no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMode;

impl Mode {
    /// The annotation that says it.
    pub const ANNOTATION: &'static str = "piccolo.os/mode";
    /// Every word.
    pub const WORDS: [&'static str; 2] = ["enforce", "observe"];

    /// Returns what the metadata of a manifest says. A word that is none is refused before a manifest gets here; should
    /// one come through, nothing is done rather than something that was not meant.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::written(metadata).map_or(Self::Enforce, |word| word.parse().unwrap_or(Self::Observe))
    }

    /// Finds a word that is no mode, and annotations that look as if they meant something here.
    pub(crate) fn validate(metadata: &ObjectMeta) -> Vec<Violation> {
        let ours = metadata.annotations.iter().flatten().filter(|(key, _)| key.starts_with("piccolo.os/"));
        ours.filter_map(|(key, word)| {
            let (code, reason, help) = if key != Self::ANNOTATION {
                let help = format!("write `{}`, the only one there is, or remove it", Self::ANNOTATION);
                (Code::UnknownKey, format!("unknown annotation `{key}`"), help)
            } else if word.parse::<Self>().is_err() {
                let help = "write `enforce`, or `observe` for a manifest that is planned and never applied";
                (Code::UnknownWord, format!("`{word}` is not a mode"), help.to_owned())
            } else {
                return None;
            };
            let path = Path::default().key("metadata").key("annotations").key(key);
            Some(Violation { code, path, on_key: code == Code::UnknownKey, reason, help })
        })
        .collect()
    }

    fn written(metadata: &ObjectMeta) -> Option<&str> {
        metadata.annotations.as_ref()?.get(Self::ANNOTATION).map(String::as_str)
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        match word {
            "enforce" => Ok(Self::Enforce),
            "observe" => Ok(Self::Observe),
            _ => Err(UnknownMode),
        }
    }
}

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a mode: `enforce` or `observe`")
    }
}

impl std::error::Error for UnknownMode {}
