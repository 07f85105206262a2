//! From the engine's errors to named causes and sentences that say what to do. Pure.

use bollard::errors::Error;

use crate::{
    host::{HostError, Reason},
    words::told,
};

/// How much of what an engine says is told.
const MOST_WORDS: usize = 400;

/// What an engine writes when something is the matter, and what that means to us. First come, first served.
const SIGNS: &[(&str, Reason, &str)] = &[
    ("no space left on device", Reason::DiskFull, "The disk is full; free some space"),
    ("disk quota exceeded", Reason::DiskFull, "The disk quota is used up; free some space"),
    ("port is already allocated", Reason::PortTaken, "Another container publishes the port; choose another hostPort"),
    ("address already in use", Reason::PortTaken, "Another program holds the port; stop it or choose another hostPort"),
    (
        "bind source path does not exist",
        Reason::MountSourceMissing,
        "A hostPath does not exist; make it or mend the path",
    ),
    (
        "failed to mount local volume",
        Reason::MountSourceMissing,
        "The directory of a volume is not there; is its disk mounted?",
    ),
    ("volume is in use", Reason::InUse, "Containers still use the volume"),
    ("marked for removal", Reason::Gone, "It is being removed"),
    ("no such image", Reason::ImageMissing, "The image is not here; it is pulled again"),
    ("is already in use by container", Reason::NameTaken, "A container that is not ours has the name"),
    ("active endpoints", Reason::InUse, "Containers are still attached"),
    ("pool overlaps", Reason::Refused, "Another network uses these addresses; choose another subnet"),
    (
        "cannot assign requested address",
        Reason::Failed,
        "The machine does not have the address of a hostIp; mend it, or wait for the network",
    ),
    ("container process: exec: ", Reason::Refused, "The program can't be run; is it in the image? Mend the command"),
    ("process caused: exec: ", Reason::Refused, "The program can't be run; is it in the image? Mend the command"),
    ("unable to find user", Reason::Refused, "The image has no such user; mend `user`, or write it as a number"),
    ("unable to find group", Reason::Refused, "The image has no such group; mend `user`, or write it as a number"),
    ("mount a directory onto a file", Reason::Refused, "One side of a mount is a file, the other a directory; mend it"),
    ("is paused", Reason::InUse, "It is paused; `docker unpause` lets it go on"),
    ("is not running", Reason::InUse, "It does not run at present; `piccolo describe` says why"),
    ("is restarting", Reason::InUse, "It is being started again; try again in a moment"),
    ("no such container", Reason::Gone, "The container is gone; `piccolo describe` says what becomes of it"),
    ("permission denied", Reason::PermissionDenied, "The engine may not do this"),
    ("operation not permitted", Reason::PermissionDenied, "The engine may not do this"),
];

/// What to do where a registry wants to know who asks.
const LOGIN: &str = "The registry wants another login for this image; mend the `credentials` of its Image manifest";

/// What stands in a failed pull, and what that means.
const PULL_SIGNS: &[(&str, Reason, &str)] = &[
    ("no space left on device", Reason::DiskFull, "The disk is full; free some space"),
    ("connection refused", Reason::ImageMissing, "The registry does not answer; is it running and the address right?"),
    ("no such host", Reason::ImageMissing, "The registry's name is not known; mend the name or the network"),
    ("i/o timeout", Reason::ImageMissing, "The registry does not answer; is there a network?"),
    ("unauthorized", Reason::PermissionDenied, LOGIN),
    ("no basic auth credentials", Reason::PermissionDenied, LOGIN),
    ("access denied", Reason::ImageMissing, "The registry has no such image, or wants a login for it"),
    ("manifest unknown", Reason::ImageMissing, "The registry has no such image; check name and tag"),
    ("not found", Reason::ImageMissing, "The registry has no such image; check name and tag"),
    ("toomanyrequests", Reason::ImageMissing, "The registry limits how often you may pull; it is tried again later"),
];

/// What to do where a registry does not let this login write.
const WRITER: &str =
    "The registry does not take it with this login; mend the `credentials` in `push` of its Image manifest";

/// What stands in a failed push, and what that means.
const PUSH_SIGNS: &[(&str, Reason, &str)] = &[
    ("unauthorized", Reason::PermissionDenied, WRITER),
    ("authentication required", Reason::PermissionDenied, WRITER),
    ("no basic auth credentials", Reason::PermissionDenied, WRITER),
    ("denied", Reason::PermissionDenied, WRITER),
    ("connection refused", Reason::PushFailed, "The registry does not answer; is it running and the address right?"),
    ("no such host", Reason::PushFailed, "The registry's name is not known; mend the name or the network"),
    ("i/o timeout", Reason::PushFailed, "The registry does not answer; is there a network?"),
    (
        "http response to https",
        Reason::PushFailed,
        "The registry speaks HTTP only; name it in `insecure-registries` of the engine",
    ),
];

/// Names the cause of a failed push.
pub(super) fn push(to: &str, error: &Error) -> HostError {
    let text = match error {
        Error::DockerResponseServerError { message, .. } => message,
        Error::DockerStreamError { error } => error,
        other => return translate(other),
    };
    let (reason, hint) = sign(PUSH_SIGNS, text).unwrap_or((Reason::PushFailed, "The push failed"));
    HostError::new(reason, format!("{hint} ({to}: {})", clean(text)))
}

/// Names the cause of an error of any call but a pull.
pub(super) fn translate(error: &Error) -> HostError {
    match error {
        Error::DockerResponseServerError { status_code, message } => answered(*status_code, message),
        Error::SocketNotFoundError(path) => unavailable(&format!("there is no socket {path}")),
        Error::RequestTimeoutError => HostError::new(Reason::TimedOut, "The engine did not answer in time"),
        Error::IOError { err } if err.kind() == std::io::ErrorKind::PermissionDenied => denied(),
        other => broken(other),
    }
}

/// Names the cause of a failed pull.
pub(super) fn pull(image: &str, error: &Error) -> HostError {
    match error {
        Error::DockerResponseServerError { message, .. } => pull_text(image, message),
        Error::DockerStreamError { error } => pull_text(image, error),
        other => translate(other),
    }
}

/// Names the cause of a failed pull by what the engine wrote.
pub(super) fn pull_text(image: &str, text: &str) -> HostError {
    let (reason, hint) = sign(PULL_SIGNS, text).unwrap_or((Reason::ImageMissing, "The pull failed"));
    HostError::new(reason, format!("{hint} ({image}: {})", clean(text)))
}

/// Takes "it is so already" as done.
pub(super) fn done_is_fine(result: Result<(), Error>) -> Result<(), HostError> {
    match result {
        Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
        other => other.map_err(|error| translate(&error)),
    }
}

/// Takes "it is gone already" as done.
pub(super) fn gone_is_fine(result: Result<(), HostError>) -> Result<(), HostError> {
    match result {
        Err(error) if error.reason == Reason::Gone || error.message.contains("already in progress") => Ok(()),
        other => other,
    }
}

/// Names the cause of an answer that says no.
pub(super) fn answered(status: u16, text: &str) -> HostError {
    if let Some((reason, hint)) = sign(SIGNS, text) {
        return HostError::new(reason, format!("{hint} ({})", clean(text)));
    }
    match status {
        404 => HostError::new(Reason::Gone, format!("It is gone meanwhile ({})", clean(text))),
        409 => HostError::new(Reason::InUse, format!("The engine can't do this now ({})", clean(text))),
        400 => HostError::new(Reason::Refused, format!("The engine refuses what the manifest asks ({})", clean(text))),
        _ => HostError::new(Reason::Failed, format!("The engine failed ({})", clean(text))),
    }
}

/// An error below the engine's own answers: the connection.
fn broken(error: &Error) -> HostError {
    let mut causes = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::PermissionDenied
        {
            return denied();
        }
        causes.push(error.to_string());
        cause = error.source();
    }
    causes.dedup();
    unavailable(&causes.join(": "))
}

/// Says that the engine can't be reached, and why.
pub(super) fn unavailable(why: &str) -> HostError {
    let hint = "The container engine can't be reached; is Docker installed and running?";
    HostError::new(Reason::EngineUnavailable, format!("{hint} ({})", clean(why)))
}

fn denied() -> HostError {
    let hint = "The daemon may not use the engine's socket; run it as root or add it to the group docker";
    HostError::new(Reason::PermissionDenied, hint)
}

fn sign(signs: &[(&str, Reason, &'static str)], text: &str) -> Option<(Reason, &'static str)> {
    let text = text.to_lowercase();
    signs.iter().find(|(sign, ..)| text.contains(sign)).map(|(_, reason, hint)| (*reason, *hint))
}

/// Keeps one line, a bounded length, and nobody's password.
pub(super) fn clean(text: &str) -> String {
    told(text, MOST_WORDS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    fn reason(status: u16, text: &str) -> Reason {
        translate(&Error::DockerResponseServerError { status_code: status, message: text.to_owned() }).reason
    }

    #[test]
    fn causes_are_told_apart() {
        assert_eq!(
            reason(500, "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated"),
            Reason::PortTaken
        );
        assert_eq!(reason(500, "listen tcp4 0.0.0.0:80: bind: address already in use"), Reason::PortTaken);
        assert_eq!(reason(500, "write /var/lib/docker/x: no space left on device"), Reason::DiskFull);
        assert_eq!(
            reason(400, "invalid mount config for type \"bind\": bind source path does not exist: /x"),
            Reason::MountSourceMissing
        );
        assert_eq!(
            reason(409, "Conflict. The container name \"/web\" is already in use by container \"1f\""),
            Reason::NameTaken
        );
        assert_eq!(reason(404, "No such image: nginx:9"), Reason::ImageMissing);
        assert_eq!(reason(404, "No such container: 1f"), Reason::Gone);
        assert_eq!(reason(400, "invalid CPU"), Reason::Refused);
        let start = "unable to start container process: exec: \"/etc/passwd\": permission denied: unknown";
        assert_eq!(reason(400, start), Reason::Refused);
        assert_eq!(reason(500, "bind: cannot assign requested address"), Reason::Failed);
        assert_eq!(translate(&Error::SocketNotFoundError("/x".into())).reason, Reason::EngineUnavailable);
    }

    #[test]
    fn a_failed_pull_says_what_to_check() {
        let error = pull_text("localhost:5000/x:1", "manifest for localhost:5000/x:1 not found: manifest unknown");
        assert_eq!(error.reason, Reason::ImageMissing);
        assert!(error.message.contains("check name and tag"), "{error}");
        let refused = pull_text("x", "dial tcp 127.0.0.1:5000: connect: connection refused");
        assert!(refused.message.contains("is it running"), "{refused}");
    }

    #[test]
    fn passwords_and_floods_are_cut() {
        let said = format!("Get \"https://me:sec\u{1}ret@registry.lan/v2/\": \n denied{}", "x".repeat(5000));
        for error in [answered(500, &said), pull_text("app", &said), unavailable(&said)] {
            let told = &error.message;
            assert!(!told.contains("me:sec") && told.contains("registry.lan/v2/\": denied"), "{told}");
            assert!(told.chars().count() < 500, "{told}");
        }
    }

    const SAID: &str =
        "Get \"https://me:secret@registry.lan/v2/app@sha256:1f\": dial tcp: lookup registry.lan: no such host";

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_words_break_it(said in malformed(SAID), status in any::<u16>()) {
            let to_registry = Error::DockerStreamError { error: said.clone() };
            for error in [answered(status, &said), pull_text("app", &said), push("app", &to_registry)] {
                prop_assert!(error.message.chars().count() < 600, "{:?}", error);
                prop_assert!(!error.message.contains(char::is_control), "{:?}", error);
            }
        }
    }
}
