//! References to images: `nginx`, `nginx:1.27`, `registry.lan:5000/app@sha256:…`.

use std::fmt;

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";

/// The longest name, domain and path together.
const LONGEST_NAME: usize = 255;
/// The longest tag.
const LONGEST_TAG: usize = 128;

/// A reference to an image, taken apart.
///
/// `Display` is the familiar form by which the engine lists an image: `docker.io/library/nginx` is `nginx:latest`, and a
/// reference by digest does without the tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Takes a reference apart.
    ///
    /// # Errors
    /// One sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(check_digest(digest)?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it belongs to the port of the registry.
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[slash..].find(':') {
            Some(colon) => (&rest[..slash + colon], Some(check_tag(&rest[slash + colon + 1..])?)),
            None => (rest, None),
        };
        let (domain, path) = split_name(name);
        check_domain(&domain)?;
        path.split('/').try_for_each(check_component)?;
        if domain.len() + 1 + path.len() > LONGEST_NAME {
            return Err(format!("the name has more than {LONGEST_NAME} characters"));
        }
        if domain == DEFAULT_DOMAIN && path.strip_prefix(OFFICIAL).is_some_and(|it| it.len() == 64 && is_hex(it)) {
            return Err("64 hex digits are the identifier of an image, not its name".to_owned());
        }
        Ok(Self { domain, path, tag, digest })
    }

    /// Returns the registry, `docker.io` when the reference names none.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the path in the registry, `library/nginx`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the same image at a mirror, `mirror.lan:5000/hub`, which takes the place of the registry.
    ///
    /// # Errors
    /// One sentence when that is no place at a registry.
    pub fn through(&self, mirror: &str) -> Result<Self, String> {
        let there = Self::parse(&format!("{mirror}/{}", self.path))?;
        if there.tag.is_some() || there.digest.is_some() {
            return Err(format!("`{mirror}` has a tag or a digest"));
        }
        Ok(Self { tag: self.tag.clone(), digest: self.digest.clone(), ..there })
    }

    /// Returns the registry and the path together, which all images of one repository share.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Returns the tag as it was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the same name with this digest, whatever its tag.
    ///
    /// # Errors
    /// One sentence when it is no digest.
    pub fn at(&self, digest: &str) -> Result<Self, String> {
        Ok(Self { tag: None, digest: Some(check_digest(digest)?), ..self.clone() })
    }

    /// Returns the digest, `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain == DEFAULT_DOMAIN {
            // `docker.io/library/a/b` keeps its prefix: without it another image would be meant.
            let short = self.path.strip_prefix(OFFICIAL).filter(|it| !it.contains('/'));
            f.write_str(short.unwrap_or(&self.path))?;
        } else {
            write!(f, "{}/{}", self.domain, self.path)?;
        }
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, tag) => write!(f, ":{}", tag.as_deref().unwrap_or("latest")),
        }
    }
}

/// Splits a name into registry and path and fills in what the engine would.
fn split_name(name: &str) -> (String, String) {
    let is_domain =
        |it: &str| it.contains(['.', ':']) || it == "localhost" || it.chars().any(|c| c.is_ascii_uppercase());
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if is_domain(first) => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    (domain.to_owned(), if official { format!("{OFFICIAL}{path}") } else { path.to_owned() })
}

fn check_domain(domain: &str) -> Result<(), String> {
    let bad = || format!("`{domain}` is not a registry like `registry.lan:5000`");
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let good_port = port.is_none_or(|it| it.parse::<u16>().is_ok_and(|port| port > 0));
    let good_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if good_port && host.split('.').all(good_part) { Ok(()) } else { Err(bad()) }
}

/// Words of lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn check_component(part: &str) -> Result<(), String> {
    if part.is_empty() {
        return Err("a part of the name is empty".to_owned());
    }
    if part.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(format!("`{part}` has upper-case letters"));
    }
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good_joint = |joint: &str| matches!(joint, "" | "." | "_" | "__") || joint.chars().all(|c| c == '-');
    let ends = part.starts_with(is_word) && part.ends_with(is_word);
    if ends && part.split(is_word).all(good_joint) {
        Ok(())
    } else {
        Err(format!("`{part}` is not a part of a name like `my-app`"))
    }
}

fn check_tag(tag: &str) -> Result<String, String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = tag.starts_with(is_word) && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'));
    if good && tag.len() <= LONGEST_TAG { Ok(tag.to_owned()) } else { Err(format!("`{tag}` is not a tag like `1.27`")) }
}

fn check_digest(digest: &str) -> Result<String, String> {
    let good = match digest.split_once(':') {
        Some(("sha256", hex)) => hex.len() == 64 && is_hex(hex),
        Some(("sha512", hex)) => hex.len() == 128 && is_hex(hex),
        _ => false,
    };
    if good { Ok(digest.to_owned()) } else { Err("the digest is not `sha256:` and 64 hex digits".to_owned()) }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
