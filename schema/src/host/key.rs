//! Public SSH keys on one line.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The kinds of keys that count, and the fewest bytes of one. Those that can be forged by now are none of them.
const KINDS: &[(&str, usize)] = &[
    ("ssh-ed25519", 51),
    ("sk-ssh-ed25519@openssh.com", 74),
    ("ecdsa-sha2-nistp256", 104),
    ("ecdsa-sha2-nistp384", 136),
    ("ecdsa-sha2-nistp521", 172),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 127),
    // 2048 bits.
    ("ssh-rsa", 275),
];
/// The longest line.
const LONGEST: usize = 8 << 10;

/// Says what is wrong with a public key, if anything. What is said repeats nothing of it but its first word.
pub(super) fn mistake(line: &str) -> Option<String> {
    if line.len() > LONGEST || line.chars().any(char::is_control) {
        return Some("a key is one line".to_owned());
    }
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    if line.starts_with("-----BEGIN") {
        return Some("this is the beginning of a file, perhaps of a private key".to_owned());
    }
    let Some((_, least)) = KINDS.iter().find(|(word, _)| *word == kind) else {
        let shown: String = kind.chars().take(40).collect();
        return Some(if kind == "ssh-dss" {
            "keys of the kind `ssh-dss` can be forged".to_owned()
        } else {
            format!("`{shown}` is no kind of key")
        });
    };
    let Some(bytes) = words.next().and_then(|body| STANDARD.decode(body).ok()) else {
        return Some("what follows its kind is not base64".to_owned());
    };
    let length = bytes.first_chunk::<4>().map_or(0, |it| u32::from_be_bytes(*it));
    let inner = usize::try_from(length).ok().and_then(|it| bytes.get(4..it.checked_add(4)?));
    if inner != Some(kind.as_bytes()) {
        return Some(format!("it says `{kind}` and holds another kind of key"));
    }
    if bytes.len() < *least {
        let short = if kind == "ssh-rsa" { "it is an RSA key of less than 2048 bits" } else { "its end is missing" };
        return Some(short.to_owned());
    }
    None
}
