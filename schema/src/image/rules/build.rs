//! Rules of what an image is built from.

use super::{Reference, note};
use crate::{
    image::{Build, ImageSpec, Repository},
    parse::{Code, Path, Violation},
    volume::{machines_own, plain},
};

pub(super) fn check(spec: &ImageSpec, out: &mut Vec<Violation>) {
    let Some(build) = &spec.build else { return };
    if Reference::parse(&spec.reference).is_ok_and(|reference| reference.digest().is_some()) {
        let reason = "an image that is built here has no digest beforehand".to_owned();
        note(out, Code::Conflict, Path::spec("reference"), reason, "give it a tag: `app:1`");
    }
    let path = Path::spec("build");
    match (&build.context, &build.git) {
        (Some(_), Some(_)) => {
            let reason = "an image is built either from a `context` or from `git`, not from both".to_owned();
            note(out, Code::Conflict, path.clone().key("git"), reason, "remove one of the two");
        }
        (None, None) => {
            let help = "add `context = \"/…\"` for a directory of the machine, or `git = { url = \"https://…\" }`";
            note(out, Code::MissingKey, path.clone(), "nothing says what it is built from".to_owned(), help);
        }
        (Some(context), None) => directory(context, path.clone().key("context"), out),
        (None, Some(git)) => repository(git, &path.clone().key("git"), out),
    }
    inner(build.containerfile.as_deref(), "containerfile", &path, out);
    arguments(build, &path, out);
}

fn directory(context: &str, path: Path, out: &mut Vec<Violation>) {
    let reason = if context.split('/').any(|part| part == "..") {
        Some(("`context` goes up with `..`".to_owned(), "write the plain absolute path"))
    } else if context.contains(char::is_control) {
        Some(("`context` holds a character that can't be seen".to_owned(), "use another directory"))
    } else {
        let help = "choose a directory that holds nothing else, such as `/srv/app`";
        machines_own(&plain(context)).map(|reason| (reason, help))
    };
    if let Some((reason, help)) = reason {
        note(out, Code::BadPath, path, reason, help);
    }
}

fn repository(git: &Repository, path: &Path, out: &mut Vec<Violation>) {
    let host = git.url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    if host.contains('@') {
        let help = "let it be read without a login, or keep a clone on this machine and name that as the `context`";
        note(out, Code::WrongForm, path.clone().key("url"), "the address holds a login".to_owned(), help);
    }
    if git.reference.as_deref().is_some_and(|it| it.contains("..") || it.contains("//")) {
        let reason = "no branch, tag or commit is called like that".to_owned();
        note(out, Code::WrongForm, path.clone().key("ref"), reason, "write a name such as `main` or `v1.2`");
    }
    inner(git.path.as_deref(), "path", path, out);
}

/// Checks a path that must stay within what is built from.
fn inner(text: Option<&str>, key: &str, path: &Path, out: &mut Vec<Violation>) {
    let Some(text) = text else { return };
    let reason = if text.starts_with('/') {
        "begins with `/`"
    } else if text.split('/').any(|part| part == "..") {
        "goes up with `..`"
    } else if text.contains(char::is_control) || text.is_empty() || text.starts_with('-') {
        "is no plain path"
    } else {
        return;
    };
    let help = "write a path within what the image is built from, such as `docker/app`";
    note(out, Code::BadPath, path.clone().key(key), format!("`{key}` {reason}"), help);
}

fn arguments(build: &Build, path: &Path, out: &mut Vec<Violation>) {
    let is_word = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    for (name, value) in &build.args {
        let path = path.clone().key("args").key(name);
        if !is_word(name) {
            let reason = format!("`{name}` can't be the name of an `ARG`");
            let help = "use letters, digits and `_`, and no digit first".to_owned();
            out.push(Violation { code: Code::ForbiddenCharacter, path, on_key: true, reason, help });
        } else if value.contains('\0') {
            note(out, Code::ForbiddenCharacter, path, "the value holds a NUL".to_owned(), "write plain text");
        }
    }
}
