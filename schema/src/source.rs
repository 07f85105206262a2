//! `ConfigSource`: manifests that are fetched from a git repository.

mod rules;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, duration::Duration};

/// The directory below the manifests' one in which every source has its own.
pub const DIRECTORY: &str = "sources";
/// The branch that is followed when none is named.
const BRANCH: &str = "main";
/// The time between two looks at a repository when none is given, in milliseconds.
const INTERVAL: u64 = 5 * 60 * 1000;

/// Manifests that are fetched from a branch of a git repository and put in force in `sources/NAME`.
///
/// Only what follows the revision that is in force is taken. What does not come in stays as it was, and the condition
/// `Ready` says why. Removing a source removes no manifest that came with it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "ConfigSource",
    plural = "configsources",
    singular = "configsource",
    shortname = "cs",
    category = "all",
    derive = "PartialEq",
    status = "ConfigSourceStatus",
    doc = "Manifests that are fetched from a branch of a git repository.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision"),
    printcolumn(name = "Checked", type_ = "date", json_path = ".status.checked"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigSourceSpec {
    /// Where the repository is: `https://…`, `ssh://git@…`, `http://…`, or `file:///…` for one on this machine. A login
    /// never stands in it, but in `credentials`. With `ssh` it needs `hostKeys`; with `http` nobody knows who answers, so
    /// it needs `signers`.
    #[schemars(extend("examples" = ["https://git.example.org/home.git"]))]
    pub url: String,
    /// The branch that is followed, `main` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The directory in the repository whose manifests are taken, `machines/nas`. All of it when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The time between two looks, `5m` when left out. A request to `/webhooks/NAME` has it looked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// The login for the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Login>,
    /// The public keys by which the machine of an `ssh` address is known, `ssh-ed25519 AAAA…`, as `ssh-keyscan` prints them
    /// behind its name. Another machine in its place is told nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<String>,
    /// Who may sign: the public keys, `ssh-ed25519 AAAA…` or an OpenPGP one from `-----BEGIN` to `-----END`, one of which
    /// must have signed a revision for it to come in. What others signed, or nobody, is looked at and told of, and
    /// changes nothing. When left out, whoever may write to the repository decides what this machine does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// Which manifests this machine takes, by their labels: those that have all of these. All when left out, so that
    /// machines that share a repository each find their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// The one revision that may be taken although it does not follow the one in force, or although it leaves nothing over:
    /// the 40 digits that the condition names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-9a-f]{40}$"),
        extend("patternErrorMessage" = "write all 40 digits of the revision, as the condition names them")
    )]
    pub accept: Option<String>,
}

/// Where a login comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// The name of a Secret manifest with the values `username` and `password`; a token is a password. For `ssh` with the
    /// value `key`, a private key without a passphrase.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub secret: String,
}

/// How a source stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSourceStatus {
    /// The revision whose manifests are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The revision that the repository has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
    /// Who signed that, as the public key's fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// When the repository answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<String>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl ConfigSourceSpec {
    /// Returns the branch that is followed.
    pub fn branch(&self) -> &str {
        self.branch.as_deref().unwrap_or(BRANCH)
    }

    /// Returns the time between two looks.
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_millis(INTERVAL))
    }

    /// Returns true if it is reached over ssh.
    pub fn is_ssh(&self) -> bool {
        self.url.starts_with("ssh://")
    }

    /// Returns true if this machine takes what has this metadata.
    pub fn takes(&self, metadata: &ObjectMeta) -> bool {
        let has = |(key, value)| metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value);
        self.selector.iter().all(has)
    }
}
