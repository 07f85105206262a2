//! A login for a registry, taken from the values of a secret.

use std::{collections::HashMap, io, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Inner, Vault, files};
use crate::{
    host::{HostError, Reason},
    secrets::Plain,
};

/// The names under which a secret may hold what `docker login` writes.
const CONFIGURATIONS: [&str; 2] = ["config.json", ".dockerconfigjson"];
/// What the configuration calls the registry that is meant where none is named.
const HUB: &str = "docker.io";

/// What `docker login` writes.
#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    auths: HashMap<String, Entry>,
}

/// The login for one registry.
#[derive(Deserialize)]
struct Entry {
    /// User and password, joined by a colon, in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Vault {
    /// Returns the login of a secret for a registry. For the engine alone: nobody else is to see it.
    pub(in crate::host::linux) async fn login(
        &self,
        secret: &str,
        registry: &str,
    ) -> Result<DockerCredentials, HostError> {
        let (secret, registry) = (secret.to_owned(), registry.to_owned());
        self.run(move |inner| inner.login(&secret, &registry)).await
    }
}

impl Vault {
    /// Returns the login of a secret as the value of a header `Authorization`. For the server alone: nobody else is to see
    /// it.
    pub async fn authorization(&self, secret: &str) -> Result<Zeroizing<String>, HostError> {
        let secret = secret.to_owned();
        self.run(move |inner| inner.authorization(&secret)).await
    }

    /// Returns one value of a secret; none if it is not here. For who needs it at once alone.
    pub(in crate::host::linux) async fn value(&self, secret: &str, key: &str) -> Result<Option<Plain>, HostError> {
        let path = self.0.values(secret).join(key);
        self.run(move |inner| match files::read(&path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(inner.unusable(&error)),
        })
        .await
    }

    /// Returns the file in memory that holds the private key of a secret. For ssh alone: nobody else is to read it.
    pub async fn private_key(&self, secret: &str) -> Result<PathBuf, HostError> {
        let secret = secret.to_owned();
        self.run(move |inner| inner.private_key(&secret)).await
    }
}

impl Inner {
    fn authorization(&self, secret: &str) -> Result<Zeroizing<String>, HostError> {
        let value = |key: &str| match files::read(&self.values(secret).join(key)) {
            Ok(value) => Ok(text(&value).map(Zeroizing::new)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unusable(&error)),
        };
        let (Some(username), Some(password)) = (value("username")?, value("password")?) else {
            let help = format!("piccolo secret set {secret} password");
            let message = format!("The secret `{secret}` holds no `username` and `password`: {help}");
            return Err(HostError::new(Reason::Refused, message));
        };
        let pair = Zeroizing::new(format!("{}:{}", username.as_str(), password.as_str()));
        Ok(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
    }

    fn private_key(&self, secret: &str) -> Result<PathBuf, HostError> {
        let help = format!("piccolo secret set {secret} key --from ~/.ssh/nas");
        let refuse = |why: &str| HostError::new(Reason::Refused, format!("The secret `{secret}` {why}: {help}"));
        let path = self.values(secret).join("key");
        match files::read(&path) {
            // Without the end of its last line ssh does not take it for one.
            Ok(key) if key.expose().starts_with(b"-----BEGIN ") && key.expose().ends_with(b"-----\n") => Ok(path),
            Ok(_) => Err(refuse("has in `key` no private key as `ssh-keygen` writes it, to the end of its last line")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(refuse("holds no `key`")),
            Err(error) => Err(self.unusable(&error)),
        }
    }

    fn login(&self, secret: &str, registry: &str) -> Result<DockerCredentials, HostError> {
        let refuse = |why: &str| HostError::new(Reason::Refused, format!("The secret `{secret}` {why}"));
        let value = |key: &str| match files::read(&self.values(secret).join(key)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unusable(&error)),
        };
        if let (Some(username), Some(password)) = (value("username")?, value("password")?) {
            let (Some(username), Some(password)) = (text(&username), text(&password)) else {
                return Err(refuse("holds a login that is no text"));
            };
            return carried(credentials(username, password, registry), secret);
        }
        for key in CONFIGURATIONS {
            let Some(value) = value(key)? else { continue };
            // What is wrong with it is not told: that would repeat a part of it.
            let configuration: Configuration = serde_json::from_slice(value.expose())
                .map_err(|_| refuse(&format!("has in `{key}` no configuration as `docker login` writes it")))?;
            let entry = configuration.auths.into_iter().find(|(name, _)| host(name) == registry);
            let login = entry.and_then(|(_, entry)| entry.login(registry));
            let login = login.ok_or_else(|| refuse(&format!("has in `{key}` no login for `{registry}`")))?;
            return carried(login, secret);
        }
        Err(refuse("holds no login: it needs `username` and `password`, or `config.json`"))
    }
}

impl Entry {
    fn login(self, registry: &str) -> Option<DockerCredentials> {
        let identitytoken = self.identitytoken.filter(|token| !token.is_empty());
        let pair = self.username.zip(self.password).or_else(|| {
            let both = Zeroizing::new(STANDARD.decode(self.auth.as_deref()?.trim()).ok()?);
            let (username, password) = std::str::from_utf8(&both).ok()?.split_once(':')?;
            Some((username.to_owned(), password.to_owned()))
        });
        match (pair, identitytoken) {
            (_, Some(token)) => Some(DockerCredentials {
                identitytoken: Some(token),
                ..credentials(String::new(), String::new(), registry)
            }),
            (Some((username, password)), None) => Some(credentials(username, password, registry)),
            (None, None) => None,
        }
    }
}

fn credentials(username: String, password: String, registry: &str) -> DockerCredentials {
    DockerCredentials {
        username: Some(username),
        password: Some(password),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }
}

/// Passes a login that reaches the engine. It is sent in plain base64, of which an engine reads the variant for addresses
/// and takes anything else for no login at all; so a login in which the two differ must not be tried.
fn carried(login: DockerCredentials, secret: &str) -> Result<DockerCredentials, HostError> {
    let sent = Zeroizing::new(serde_json::to_vec(&login).unwrap_or_default());
    let sent = Zeroizing::new(STANDARD.encode(&*sent));
    if !sent.contains(['+', '/']) {
        return Ok(login);
    }
    let message = format!(
        "The login of the secret `{secret}` can't be handed to the engine whole; take a password without `>`, `?`, `~` \
         and letters beyond ASCII, or move one of these by a place"
    );
    Err(HostError::new(Reason::Refused, message))
}

fn text(value: &Plain) -> Option<String> {
    let text = std::str::from_utf8(value.expose()).ok()?;
    Some(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Returns the registry that a configuration means by `https://registry.lan/v2/`.
fn host(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    let name = name.split('/').next().unwrap_or_default();
    if matches!(name, "index.docker.io" | "registry-1.docker.io") { HUB } else { name }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]
mod tests {
    use super::*;

    fn of(registry: &str) -> Option<(String, String)> {
        // `c29tZW9uZTphOmI=` is `someone:a:b`, which has a colon in the password.
        let written = r#"{ "auths": {
            "https://index.docker.io/v1/": { "auth": "c29tZW9uZTphOmI=" },
            "registry.lan:5000": { "username": "one", "password": "two" },
            "token.lan": { "identitytoken": "three" },
            "helper.lan": {}
        } }"#;
        let configuration: Configuration = serde_json::from_str(written).unwrap();
        let (_, entry) = configuration.auths.into_iter().find(|(name, _)| host(name) == registry)?;
        let login = entry.login(registry)?;
        Some((login.username.unwrap(), login.password.filter(|it| !it.is_empty()).or(login.identitytoken).unwrap()))
    }

    #[test]
    fn what_docker_login_writes_is_read() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of("docker.io"), pair("someone", "a:b"));
        assert_eq!(of("registry.lan:5000"), pair("one", "two"));
        assert_eq!(of("token.lan"), pair("", "three"));
        assert_eq!(of("helper.lan"), None);
        assert_eq!(of("registry.lan"), None, "another port is another registry");
    }

    #[test]
    fn a_login_that_an_engine_would_misread_is_refused_without_telling_it() {
        let login = |password: &str| credentials("someone".to_owned(), password.to_owned(), "registry.lan");
        assert!(carried(login("plain-password_1"), "registry").is_ok());
        // One of three places makes a `/` or a `+` of it.
        let refused = ["???", "~~~~", "ÿÿÿÿ"].map(|it| carried(login(it), "registry").map(drop).unwrap_err());
        assert!(refused.iter().all(|error| error.reason == Reason::Refused && !error.message.contains("???")));
    }
}
