use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DiskSpec, Selector, Ticket};

/// A second disk on which everything is kept as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// The properties by which the second disk is known.
    pub select: Selector,
    /// The ticket by which all that is on the second disk may be erased once. `piccolo disk wipe-ticket` makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Ticket>")]
    pub wipe: Option<String>,
    /// Mounts it also while one of the two is missing, if both were there before. What is stored then is kept once.
    ///
    /// Without it the disk waits for the missing one, unless a new one is there in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
}

impl DiskSpec {
    /// Returns what is asked of the second disk, as if it were one alone.
    pub fn second(&self) -> Option<Self> {
        let mirror = self.mirror.as_ref()?;
        Some(Self { select: mirror.select.clone(), wipe: mirror.wipe.clone(), ..self.clone() })
    }

    /// Returns how each disk is chosen that this asks for.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        [Some(&self.select), self.mirror.as_ref().map(|it| &it.select)].into_iter().flatten()
    }
}
