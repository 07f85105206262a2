//! Names of things in the form that manifests want. Pure.

/// The longest name of a manifest.
const LONGEST: usize = 63;

/// Returns the nearest name of a manifest: lower-case letters, digits and `-`. Empty if nothing of it can be used.
pub(crate) fn valid_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if !name.ends_with('-') && !name.is_empty() => name.push('-'),
            _ => {}
        }
    }
    name.truncate(LONGEST);
    name.trim_end_matches('-').to_owned()
}

/// Returns the name of a part of a project: `shop-web` for `web`, but `shop` for `shop` itself.
pub(crate) fn name_within(project: &str, part: &str) -> String {
    let part = valid_name(part);
    let stands_alone = project.is_empty() || part == project || part.starts_with(&format!("{project}-"));
    if stands_alone { part } else { valid_name(&format!("{project}-{part}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_those_of_manifests() {
        assert_eq!(valid_name("My_App.2"), "my-app-2");
        assert_eq!(valid_name("__x__"), "x");
        assert_eq!(valid_name("ä"), "");
        assert_eq!(name_within("shop", "web"), "shop-web");
        assert_eq!(name_within("shop", "shop"), "shop");
        assert_eq!(name_within("shop", "shop_web"), "shop-web");
        assert_eq!(name_within("", "web"), "web");
    }
}
