//! Images that are built here, by the engine's own builder.

mod source;
mod words;

use std::{collections::HashMap, time::Duration};

use bollard::{auth::DockerCredentials, body_try_stream, query_parameters::BuildImageOptionsBuilder};
use futures_util::stream;
use piccolo_schema::{
    ImageSpec,
    image::{Build, Reference},
};
use tokio::sync::mpsc;

use self::source::Source;
use super::{BUILD_LABEL, IMAGE_LABEL, SOURCE_LABEL, context::pack::Packer, docker::Docker, images::whole};
use crate::host::{Built, HostError, Reason};

/// How long a build may take in all.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// Pieces that wait for the engine to take them.
const PIECES: usize = 8;
/// What engines call the registry that is meant where none is named.
const HUB: (&str, &str) = ("docker.io", "https://index.docker.io/v1/");

impl Docker {
    /// Builds the image of a manifest. Dropped half-way, the engine gives it up.
    pub(super) async fn build_declared(&self, name: &str, spec: &ImageSpec, built: &Built) -> Result<(), HostError> {
        let Some(build) = &spec.build else { return Ok(()) };
        let work = self.build_from(name, spec, build, built);
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
            let message = format!("The build took longer than {} hours", PATIENCE.as_secs() / 3600);
            Err(HostError::new(Reason::TimedOut, message))
        })
    }

    async fn build_from(&self, name: &str, spec: &ImageSpec, build: &Build, built: &Built) -> Result<(), HostError> {
        let room = self.builds_dir.join(name).display().to_string();
        let opened = Source::open(build, built, room).await;
        let source = opened.inspect_err(|error| {
            if error.reason == Reason::Gone {
                self.sources.doubt(&build.place());
            }
        })?;
        let logins = self.logins_of(spec).await?;
        let labels = labels(name, built);
        let mut options = BuildImageOptionsBuilder::new()
            .t(&whole(&spec.reference))
            .dockerfile(source.containerfile())
            .rm(true)
            .forcerm(true)
            .labels(&labels);
        if !build.args.is_empty() {
            options = options.buildargs(&build.args.clone().into_iter().collect::<HashMap<_, _>>());
        }
        if let Some(target) = &build.target {
            options = options.target(target);
        }
        let (queue, mut pieces) = mpsc::channel(PIECES);
        let packing = tokio::task::spawn_blocking(move || {
            let mut packer = Packer::new(queue.clone());
            let packed = source.pack(&mut packer).and_then(|()| packer.finish());
            packed.inspect_err(|error| {
                // What ends too early must not be taken for all there is.
                drop(queue.blocking_send(Err(std::io::Error::other(error.to_string()))));
            })
        });
        let client = self.client().await?.with_timeout(PATIENCE);
        let body = body_try_stream(stream::poll_fn(move |context| pieces.poll_recv(context)));
        let heard = client.build_image(options.build(), Some(logins), Some(body));
        let pull = self.pulls.begin();
        let tell = |progress| {
            pull.tell(&whole(&spec.reference), progress);
            self.images_hint.notify_one();
        };
        let ended = words::follow(heard, tell).await;
        // A builder that has failed may have heard less than everything, which is no failure of its own.
        match packing.await {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(HostError::new(Reason::SourceUnavailable, format!("`{}`: {error}", build.place())))
            }
            _ => {
                ended?;
                self.remember(&spec.reference).await;
                Ok(())
            }
        }
    }

    /// Returns the login of a manifest for the registry of its reference, as builders take it.
    async fn logins_of(&self, spec: &ImageSpec) -> Result<HashMap<String, DockerCredentials>, HostError> {
        let (Some(it), Ok(reference)) = (&spec.credentials, Reference::parse(&spec.reference)) else {
            return Ok(HashMap::new());
        };
        let login = self.vault.login(&it.secret, reference.domain()).await?;
        let registry = if reference.domain() == HUB.0 { HUB.1 } else { reference.domain() };
        Ok(HashMap::from([(registry.to_owned(), login)]))
    }
}

fn labels<'a>(name: &'a str, built: &'a Built) -> HashMap<&'static str, &'a str> {
    HashMap::from([(IMAGE_LABEL, name), (BUILD_LABEL, &built.recipe), (SOURCE_LABEL, &built.source)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_says_what_it_was_built_from() {
        let built = Built { recipe: "r".into(), source: "s".into() };
        let labels = labels("app", &built);
        assert_eq!((labels[IMAGE_LABEL], labels[BUILD_LABEL], labels[SOURCE_LABEL]), ("app", "r", "s"));
    }
}
