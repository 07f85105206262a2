//! Values that should not be seen. Pure.

/// Returns true if a value should not be seen, as far as its form and the name of its variable tell.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    !value.is_empty() && (looks_secret(name) || holds_password(value))
}

/// Returns true for `scheme://user:password@host`.
fn holds_password(value: &str) -> bool {
    let authority = value.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    let user = authority.and_then(|authority| authority.rsplit_once('@'));
    user.and_then(|(user, _)| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

/// Returns true if the name of a variable tells that its value should not be seen.
fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if name.ends_with("_FILE") || name.ends_with("_PATH") {
        return false;
    }
    let parts = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "CREDENTIAL"];
    let ends = ["_KEY", "_PASS", "_PW", "_AUTH"];
    parts.iter().any(|part| name.contains(part)) || ends.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_name_or_its_form() {
        for (name, value) in [("DB_PASSWORD", "x"), ("API_TOKEN", "x"), ("URL", "postgres://me:it@db/app")] {
            assert!(is_secret(name, value), "{name}");
        }
        for (name, value) in
            [("DB_PASSWORD", ""), ("PASSWORD_FILE", "/run/x"), ("URL", "http://nas:80/a@b"), ("AT", "ssh://me@nas")]
        {
            assert!(!is_secret(name, value), "{name}");
        }
    }
}
