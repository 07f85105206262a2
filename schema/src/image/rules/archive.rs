//! Rules of the archive that an image comes from.

use super::note;
use crate::{
    image::ImageSpec,
    parse::{Code, Path, Violation},
};

pub(super) fn check(spec: &ImageSpec, out: &mut Vec<Violation>) {
    let Some(archive) = &spec.archive else { return };
    if spec.build.is_some() {
        let reason = "an image is either built or loaded from an `archive`, not both".to_owned();
        note(out, Code::Conflict, Path::spec("archive"), reason, "remove one of the two");
    }
    if let Some(why) = unclear(archive) {
        let help = "write the plain absolute path of the file, like `/srv/images/app.tar`";
        note(out, Code::BadPath, Path::spec("archive"), format!("`archive` {why}"), help);
    }
}

/// Says why a reader can't see at once which file is meant.
fn unclear(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("is not absolute")
    } else if path.split('/').any(|part| part == "..") {
        Some("goes up with `..`")
    } else if path.ends_with('/') {
        Some("is a directory")
    } else if path.contains(['\0', '\n', '\r']) {
        Some("holds a NUL or a line break")
    } else {
        None
    }
}
