//! Where an image is pushed to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Credentials;

/// A registry that is given the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Push {
    /// The name that the image is to have there, `registry.lan:5000/app:1`. What has this name there is replaced.
    #[schemars(extend("examples" = ["registry.lan:5000/app:1"]))]
    pub to: String,
    /// The login for that registry. It must be allowed to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}
