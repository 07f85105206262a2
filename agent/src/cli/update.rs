//! `piccolo update`: consent to an update.

use hyper::{Method, header};
use piccolo_schema::Kind;
use serde_json::json;

use super::{client::Client, failure::Failure, screen::Screen, subject};

/// Updates a container to the image that its tag names by now. It returns to the old image, and the old data, if the new
/// one does not do well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo get containers -o wide\n  piccolo update container/db")]
pub(super) struct Args {
    /// The name of the container.
    name: String,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let name = args.name.strip_prefix("container/").unwrap_or(&args.name);
    let container = client.get(&subject::path(Kind::Container, name)).await?;
    let Some(digest) = container["status"]["updateAvailable"].as_str() else {
        return screen.line(format!("container/{name} has no update"));
    };
    let body = json!({ "container": name, "digest": digest }).to_string();
    let answer = client.send(Method::POST, "/update", &[(header::CONTENT_TYPE, "application/json")], body).await?;
    client.json(&answer)?;
    screen.line(format!("container/{name} is updated to {digest}"))
}
