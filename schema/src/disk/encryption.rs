use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a disk is encrypted (LUKS2), and what opens it when the machine starts: its TPM, a server in the network, a passphrase, or
/// several of these.
///
/// Of two disks that hold the same (`mirror`) each is encrypted for itself, and all that is said here holds for both. So is each
/// of several partitions that is not `plain`; swap among them gets a new key at each start.
///
/// Whether a disk is encrypted is decided when it is made, and never changes while its data stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Encryption {
    /// The TPM of this machine opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm2: Option<Tpm2>,
    /// Whether a recovery key is asked for, which opens it when nothing else does. `piccolo disk recovery-key` makes one and
    /// shows it once; until it was confirmed the status says so, and no other key of the disk is taken away.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub recovery: bool,
    /// A passphrase opens it, which also does on another machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Passphrase>,
    /// A server in the network opens it, for as long as the machine reaches that. By the programs of Debian's package `clevis`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tang: Option<Tang>,
}

/// A Tang server. It never learns the key: the machine works out with it what opens the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tang {
    /// Where it is: `http://tang.lan`. Nothing that is asked of it has to be kept secret.
    #[schemars(
        regex(pattern = r"^https?://[A-Za-z0-9._~:\[\]-]{1,253}(/[A-Za-z0-9._~/-]{0,200})?$"),
        extend("patternErrorMessage" = "write where the server is, without a name or password: `http://tang.lan`")
    )]
    pub url: String,
    /// The thumbprint of the key by which it is known, as `tang-show-keys` on the server says it. A server with another key is
    /// not believed.
    #[schemars(
        regex(pattern = r"^([A-Za-z0-9_-]{27}|[A-Za-z0-9_-]{43})$"),
        extend("patternErrorMessage" = "write the thumbprint as `tang-show-keys` says it on the server: 27 or 43 letters, digits, `_` and `-`")
    )]
    pub thumbprint: String,
}

/// How the TPM opens a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tpm2 {
    /// The registers that have to be as they are now: 7 tells how Secure Boot is set up. With none it opens whatever was
    /// started.
    #[serde(default = "secure_boot")]
    #[schemars(length(max = 24), inner(range(min = 0, max = 23)))]
    pub pcrs: Vec<u8>,
    /// Whether register 11, the kernel's image, has to be one that its maker signed, each of them: an update then needs no new
    /// slot. The system brings the key along (`/run/systemd/tpm2-pcr-public-key.pem`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not", rename = "signedPcr11")]
    pub signed_pcr11: bool,
}

/// A passphrase in a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Passphrase {
    /// The name of its Secret manifest.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub secret: String,
    /// The value of it that is the passphrase, as text.
    #[serde(default = "passphrase")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9._-]{1,128}$"),
        extend("patternErrorMessage" = "write the name of one value of the secret: `passphrase`")
    )]
    pub key: String,
}

impl Default for Encryption {
    fn default() -> Self {
        Self { tpm2: None, recovery: true, passphrase: None, tang: None }
    }
}

impl Default for Tpm2 {
    fn default() -> Self {
        Self { pcrs: secure_boot(), signed_pcr11: false }
    }
}

impl Default for Passphrase {
    fn default() -> Self {
        Self { secret: String::new(), key: passphrase() }
    }
}

impl std::fmt::Display for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.secret, self.key)
    }
}

const fn yes() -> bool {
    true
}

fn secure_boot() -> Vec<u8> {
    vec![7]
}

fn passphrase() -> String {
    "passphrase".to_owned()
}
