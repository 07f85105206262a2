//! `piccolo rollback`: back to what was before.

use hyper::Method;
use piccolo_schema::Kind;

use super::{client::Client, failure::Failure, screen::Screen, subject};

/// Goes back to what was before: a container to the image that it ran before its last update, and to the data of then
/// where a snapshot was taken of it. It is a trial like any update, and the image that it goes back from is never tried
/// again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo describe container db\n  piccolo rollback container/db")]
pub(super) struct Args {
    /// What goes back: `container/NAME`.
    what: String,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let (kind, name) = subject::subject(std::slice::from_ref(&args.what))?;
    if kind != Kind::Container {
        return Err(Failure::Usage("only a container can go back: container/NAME".to_owned()));
    }
    let path = format!("{}/rollback", subject::path(kind, &name));
    let answer = client.json(&client.send(Method::POST, &path, &[], "").await?)?;
    screen.line(format!("container/{name} goes back to {}", answer["digest"].as_str().unwrap_or_default()))
}
