//! Where an image is asked for before its own registry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Credentials;

/// A registry that has the same images as that of the reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// The registry, or a place in it, that takes the place of the registry in the reference: with `mirror.lan:5000/hub`
    /// `nginx:1.27` is asked for as `mirror.lan:5000/hub/library/nginx:1.27`.
    #[schemars(extend("examples" = ["mirror.lan:5000", "mirror.lan:5000/hub"]))]
    pub at: String,
    /// The login for it. That of the reference's registry is never sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}
