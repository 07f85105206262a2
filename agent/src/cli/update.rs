//! `piccolo update`: consent to an update.

use std::time::Duration;

use hyper::{Method, header};
use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::{client::Client, failure::Failure, screen::Screen, subject, wait};

/// Updates a container to the image that its tag names by now. It returns to the old image, and the old data, if the new
/// one does not do well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo get containers -o wide\n  piccolo update container/db --wait")]
pub(super) struct Args {
    /// The name of the container.
    name: String,
    /// Waits until the new image has done well on trial, or was given up.
    #[arg(long)]
    wait: bool,
    /// How many seconds to wait.
    #[arg(long, default_value_t = 600, requires = "wait")]
    timeout: u32,
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
    screen.line(format!("container/{name} is updated to {digest}"))?;
    if !args.wait {
        return Ok(());
    }
    let came = wait::until(Kind::Container, name, client, screen, |object| came_of(object, digest));
    match tokio::time::timeout(Duration::from_secs(args.timeout.into()), came).await {
        Ok(Ok(Ok(()))) => screen.line(format!("container/{name} ready")),
        Ok(Ok(Err(why))) => Err(Failure::Unsettled(format!("container/{name}: {why}"))),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::Unsettled(format!("container/{name} is not updated within {} s", args.timeout))),
    }
}

/// Says what came of the update to this digest, once something did.
fn came_of(object: &Value, digest: &str) -> Option<Result<(), String>> {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let message = |it: &Value| it["message"].as_str().unwrap_or_default().to_owned();
    let given_up = conditions.iter().filter(|it| it["type"] == "UpdateFailed").map(message);
    if let Some(why) = given_up.into_iter().find(|it| it.contains(digest)) {
        return Some(Err(why));
    }
    let is_ready = wait::ready(object).is_some_and(|it| it["status"] == "True");
    (is_ready && object["status"]["imageDigest"] == digest).then_some(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(ready: &str, digest: &str, more: &Value) -> Value {
        let ready = json!({ "type": "Ready", "status": ready, "reason": "", "message": "" });
        json!({ "status": { "imageDigest": digest, "conditions": [ready, more] } })
    }

    #[test]
    fn an_update_is_made_once_the_new_image_is_ready_and_not_before() {
        let none = Value::Null;
        assert_eq!(came_of(&object("True", "sha256:old", &none), "sha256:new"), None);
        assert_eq!(came_of(&object("False", "sha256:new", &none), "sha256:new"), None, "it is on trial");
        assert_eq!(came_of(&object("True", "sha256:new", &none), "sha256:new"), Some(Ok(())));
    }

    #[test]
    fn what_was_given_up_is_told_with_its_reason() {
        let failed = |digest| json!({ "type": "UpdateFailed", "status": "True", "message": format!("The image {digest} was given up") });
        assert_eq!(came_of(&object("True", "sha256:old", &failed("sha256:older")), "sha256:new"), None);
        let told = came_of(&object("True", "sha256:old", &failed("sha256:new")), "sha256:new");
        assert_eq!(told, Some(Err("The image sha256:new was given up".to_owned())));
    }
}
