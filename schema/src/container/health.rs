use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// A question that is put to the container again and again. Exactly one of `command`, `http` and `tcp` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// The program and its arguments that are run in the container; exit code 0 means healthy. For a shell write
    /// `["sh", "-c", "…"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// A page that is asked for from outside of the container; an answer from 200 to 399 means healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// A port that is connected to from outside of the container; that it opens means healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpCheck>,
    /// The time between two checks, `30s` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How long one check may take, `30s` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long failures don't count after a start, `0s` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Duration>,
    /// How many failures in a row make it unhealthy, 3 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub retries: Option<u16>,
    /// What is done when it is unhealthy.
    #[serde(default, skip_serializing_if = "OnUnhealthy::is_default")]
    pub on_unhealthy: OnUnhealthy,
}

/// A page that tells whether the container does its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCheck {
    /// The port of the container.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The path of the page, with its query.
    #[serde(default = "root")]
    #[schemars(
        regex(pattern = r"^/[!-~]*$"),
        extend("patternErrorMessage" = "write a path that begins with `/` and has no spaces: `/health`")
    )]
    pub path: String,
}

/// A port that tells whether the container does its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpCheck {
    /// The port of the container.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// What is done when a container is unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnUnhealthy {
    /// It is restarted, three times in ten minutes at most; then it is left alone and reported.
    #[default]
    Restart,
    /// It is reported.
    None,
}

impl OnUnhealthy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn root() -> String {
    "/".to_owned()
}
