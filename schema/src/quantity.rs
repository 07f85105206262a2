//! Amounts of memory as people write them: `256Mi`, `1Gi`, `500M`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The form that [`Bytes`] is written in.
///
/// The number of digits is bounded by the unit, so that whatever has this form can be counted in 64 bits.
pub const PATTERN: &str = r"^([0-9]{1,16}(Ki|k)?|[0-9]{1,13}(Mi|M)|[0-9]{1,10}(Gi|G)|[0-9]{1,7}(Ti|T))$";

const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

/// A number of bytes. `Ki`, `Mi`, `Gi`, `Ti` count in 1024, `k`, `M`, `G`, `T` in 1000, as in Kubernetes quantities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// Returns this many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A text that is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBytes;

impl fmt::Display for BadBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an amount of memory like `256Mi`, `1Gi` or `500M`")
    }
}

impl std::error::Error for BadBytes {}

impl FromStr for Bytes {
    type Err = BadBytes;

    fn from_str(text: &str) -> Result<Self, BadBytes> {
        let (number, unit) =
            UNITS.iter().find_map(|(word, unit)| Some((text.strip_suffix(word)?, *unit))).unwrap_or((text, 1));
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadBytes);
        }
        number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).map(Self).ok_or(BadBytes)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((word, unit)) => write!(f, "{}{word}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "examples": ["256Mi", "1Gi"] })
    }
}
