//! A link without a wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyFrom, LinkSpec};
use crate::parse::{Code, Path, Violation};

/// The most bytes that the name of a network without wires has.
const LONGEST_SSID: usize = 32;
/// How long a password may be.
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=63;
/// How many hexadecimal digits a key has that was made of a password and a name.
const KEY_DIGITS: usize = 64;

/// The network without wires that a port joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wifi {
    /// Its name, as it is shown where one chooses it. At most 32 bytes.
    #[schemars(length(min = 1, max = 32))]
    pub ssid: String,
    /// The secret that holds its password: 8 to 63 characters, or for `wpa2` the 64 hexadecimal digits of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<KeyFrom>,
    /// How it is protected.
    #[serde(default)]
    pub security: Security,
    /// Whether it does not tell its name, so that it has to be called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// The country where the machine is, two capital letters: it decides which channels may be used. Without it only those
    /// are used that are allowed everywhere, which on 5 GHz may be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Z]{2}$"),
        extend("patternErrorMessage" = "write the two capital letters of a country: `DE`")
    )]
    pub country: Option<String>,
}

/// How a network without wires is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Security {
    /// By the better of both that its access points know.
    #[default]
    #[serde(rename = "wpa2-wpa3")]
    Wpa2Wpa3,
    /// By WPA3 alone.
    #[serde(rename = "wpa3")]
    Wpa3,
    /// By WPA2 alone.
    #[serde(rename = "wpa2")]
    Wpa2,
    /// Not at all: everybody near can read along and join.
    #[serde(rename = "open")]
    Open,
}

impl Security {
    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wpa2Wpa3 => "wpa2-wpa3",
            Self::Wpa3 => "wpa3",
            Self::Wpa2 => "wpa2",
            Self::Open => "open",
        }
    }

    /// Returns true if a password can be one of such a network.
    #[must_use]
    pub fn takes(self, password: &[u8]) -> bool {
        let is_key = password.len() == KEY_DIGITS && password.iter().all(u8::is_ascii_hexdigit);
        let is_text = PASSWORD.contains(&password.len()) && password.iter().all(|byte| (b' '..=b'~').contains(byte));
        is_text || (is_key && self == Self::Wpa2)
    }
}

/// Checks what goes beyond the shape of single fields.
pub(super) fn check(spec: &LinkSpec, out: &mut Vec<Violation>) {
    let Some(wifi) = &spec.wifi else { return };
    let path = |key: &str| Path::spec("wifi").key(key);
    let mut note = |code, path, reason: &str, help: &str| {
        out.push(Violation { code, path, on_key: false, reason: reason.to_owned(), help: help.to_owned() });
    };
    if spec.select.is_none() {
        let reason = "only a port that the machine has joins a network without wires, none that is made";
        note(Code::Conflict, Path::spec("wifi"), reason, "say by `match` which port it is");
    }
    if !(1..=LONGEST_SSID).contains(&wifi.ssid.len()) {
        let reason = format!("the name of such a network has 1 to {LONGEST_SSID} bytes, this one {}", wifi.ssid.len());
        note(Code::WrongLength, path("ssid"), &reason, "write it as it is shown where one chooses it");
    }
    match (&wifi.psk, wifi.security) {
        (None, Security::Open) => {}
        (Some(_), Security::Open) => {
            let reason = "a network that is open has no password";
            note(Code::Conflict, path("psk"), reason, "remove `psk`, or `security = \"open\"`");
        }
        (None, _) => {
            let reason = "a network that is protected has a password";
            let help = "add `psk = { secret = \"wifi\", key = \"password\" }`, or `security = \"open\"` if it has none";
            note(Code::MissingKey, Path::spec("wifi"), reason, help);
        }
        (Some(_), _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_form() {
        let key = "0f".repeat(32);
        for (password, wpa2, wpa3) in [
            ("1234567", false, false),
            ("12345678", true, true),
            ("quotes \" and \\ and #", true, true),
            ("a\nb\nc\nd\ne", false, false),
            ("pässword", false, false),
            (&"x".repeat(63), true, true),
            (&"x".repeat(64), false, false),
            (&key, true, false),
            ("", false, false),
        ] {
            assert_eq!(Security::Wpa2.takes(password.as_bytes()), wpa2, "{password:?}");
            assert_eq!(Security::Wpa3.takes(password.as_bytes()), wpa3, "{password:?}");
            assert_eq!(Security::Wpa2Wpa3.takes(password.as_bytes()), wpa3, "{password:?}");
        }
    }
}
