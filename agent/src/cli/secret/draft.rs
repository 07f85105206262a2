//! The manifest of a secret while it is changed, at the daemon or in a file.

use std::path::{Path, PathBuf};

use hyper::{Method, StatusCode, header};
use piccolo_schema::{
    Kind, Manifest, Secret, SecretSpec,
    parse::{self, Rejected},
};
use serde_json::json;

use crate::{
    cli::{
        client::Client,
        failure::Failure,
        local,
        reach::{Changed, Reach},
        screen::Screen,
        subject,
    },
    manifests::save,
};

/// Where the manifest is.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Works on this file instead of the daemon's manifest.
    #[arg(short, long, value_name = "MANIFEST")]
    file: Option<PathBuf>,
}

/// A manifest that is being changed.
pub(super) struct Draft {
    pub(super) secret: Secret,
    /// True if there was none.
    pub(super) is_new: bool,
    /// The fingerprint of the daemon's file, so that nobody's change is lost.
    etag: Option<String>,
}

impl Place {
    /// Reads the manifest, or begins a new one.
    pub(super) async fn read(&self, name: &str, client: &Client, screen: &Screen) -> Result<Draft, Failure> {
        match &self.file {
            Some(path) => from_file(path, name, screen),
            None => from_daemon(name, client).await,
        }
    }

    /// Sees to it that the machine is still reached: a Link that stands on one of these values is set up anew with it. What was
    /// written into a file has changed nothing yet.
    pub(super) async fn reached(
        &self,
        reach: &Reach,
        name: &str,
        keys: &[&str],
        client: &Client,
        screen: &Screen,
    ) -> Result<(), Failure> {
        if self.file.is_some() {
            return Ok(());
        }
        let links = client.get(&subject::list_path(Kind::Link)).await.unwrap_or_default();
        let mut changed = Changed::default();
        keys.iter().for_each(|key| changed.secret(name, key, &links));
        reach.confirm(&changed, client, screen).await.map(drop)
    }

    /// Writes the manifest where it was read. Comments stay.
    pub(super) async fn write(&self, draft: Draft, client: &Client) -> Result<(), Failure> {
        let name = draft.secret.metadata.name.clone().unwrap_or_default();
        if let Some(path) = &self.file {
            let saved = save(path, &Manifest::Secret(Box::new(draft.secret)));
            return saved.map_err(|error| Failure::Save { path: path.clone(), source: Box::new(error) });
        }
        let unchanged = match &draft.etag {
            Some(etag) => (header::IF_MATCH, etag.as_str()),
            None => (header::IF_NONE_MATCH, "*"),
        };
        let headers = [(header::CONTENT_TYPE, "application/json"), unchanged];
        let path = subject::path(Kind::Secret, &name);
        client.send(Method::PUT, &path, &headers, json!(draft.secret).to_string()).await.map(drop)
    }
}

fn from_file(path: &Path, name: &str, screen: &Screen) -> Result<Draft, Failure> {
    if !path.exists() {
        return Ok(Draft::new(name));
    }
    let manifest = local::read(&[path.to_owned()], screen)?.pop().and_then(|local| parse::parse(&local.text).ok());
    match manifest {
        Some(Manifest::Secret(secret)) if secret.metadata.name.as_deref() == Some(name) => {
            Ok(Draft { secret: *secret, is_new: false, etag: None })
        }
        _ => Err(Failure::Usage(format!("{} is not the manifest of the Secret `{name}`", path.display()))),
    }
}

async fn from_daemon(name: &str, client: &Client) -> Result<Draft, Failure> {
    let answer = client.ask(&subject::path(Kind::Secret, name)).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Draft::new(name));
    }
    let object = client.json(&answer)?;
    if !answer.status.is_success() {
        return Err(Failure::Refused(object));
    }
    match parse::parse_value(&object) {
        Ok(Manifest::Secret(secret)) => Ok(Draft { secret: *secret, is_new: false, etag: answer.etag }),
        Ok(_) => Err(Failure::Usage(format!("`{name}` is not a Secret"))),
        Err(Rejected { diagnostics, .. }) => Err(Failure::Invalid { mistakes: diagnostics.len(), files: 1 }),
    }
}

impl Draft {
    fn new(name: &str) -> Self {
        Self { secret: Secret::new(name, SecretSpec::default()), is_new: true, etag: None }
    }
}
