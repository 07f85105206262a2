//! What a command speaks of: a kind, and perhaps a name.

use piccolo_schema::Kind;

use super::failure::Failure;

const BASE: &str = "/apis/piccolo.os/v1alpha1";

/// Reads `container`, `containers` or `ct`.
pub(super) fn kind(word: &str) -> Result<Kind, Failure> {
    Kind::from_word(word).ok_or_else(|| {
        let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.singular()).collect();
        Failure::Usage(format!("there is no kind `{word}`; there are: {}", kinds.join(", ")))
    })
}

/// Reads `KIND NAME…` or `KIND/NAME…`.
pub(super) fn subjects(words: &[String]) -> Result<Vec<(Kind, String)>, Failure> {
    let slashed = words.iter().filter_map(|word| word.split_once('/'));
    let slashed: Vec<_> = slashed.map(|(word, name)| Ok((kind(word)?, name.to_owned()))).collect::<Result<_, _>>()?;
    match words {
        _ if !slashed.is_empty() && slashed.len() == words.len() => Ok(slashed),
        [word, names @ ..] if !names.is_empty() && slashed.is_empty() => {
            let kind = kind(word)?;
            Ok(names.iter().map(|name| (kind, name.clone())).collect())
        }
        _ => Err(Failure::Usage("say which one: KIND NAME or KIND/NAME".to_owned())),
    }
}

/// Reads exactly one of them.
pub(super) fn subject(words: &[String]) -> Result<(Kind, String), Failure> {
    match subjects(words)?.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(Failure::Usage("one at a time".to_owned())),
    }
}

/// Returns the path of a kind.
pub(super) fn list_path(kind: Kind) -> String {
    format!("{BASE}/{}", kind.plural())
}

/// Returns the path of a manifest.
pub(super) fn path(kind: Kind, name: &str) -> String {
    format!("{BASE}/{}/{}", kind.plural(), escape(name))
}

/// Writes a text so that it can stand in a path or query.
pub(super) fn escape(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
