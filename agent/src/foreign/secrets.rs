/// Returns true if the name of a variable tells that its value should not be seen.
pub(crate) fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if name.ends_with("_FILE") || name.ends_with("_PATH") {
        return false;
    }
    let parts = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "CREDENTIAL"];
    let ends = ["_KEY", "_PASS", "_PW", "_AUTH"];
    parts.iter().any(|part| name.contains(part)) || ends.iter().any(|end| name.ends_with(end))
}
