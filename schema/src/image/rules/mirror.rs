//! Rules of where an image is asked for before its own registry.

use std::collections::BTreeMap;

use super::{Reference, note};
use crate::{
    image::ImageSpec,
    parse::{Code, Path, Violation},
};

pub(super) fn check(spec: &ImageSpec, out: &mut Vec<Violation>) {
    if !spec.mirrors.is_empty() && (spec.build.is_some() || spec.archive.is_some()) {
        let reason = "an image that is made here is pulled from nowhere, so no mirror is asked".to_owned();
        note(out, Code::Conflict, Path::spec("mirrors"), reason, "remove `mirrors`, or what it is made from");
    }
    let mut seen = BTreeMap::new();
    for (index, mirror) in spec.mirrors.iter().enumerate() {
        let path = Path::spec("mirrors").index(index).key("at");
        // A first word that is no registry would be taken for a part of a name at the default one.
        let named = Reference::parse("any").and_then(|any| any.through(&mirror.at));
        let is_first = |named: &Reference| mirror.at.split('/').next() == Some(named.domain());
        let why = match &named {
            Err(why) => Some(why.clone()),
            Ok(named) if !is_first(named) => Some(format!("`{}` does not begin with a registry", mirror.at)),
            Ok(_) => None,
        };
        if let Some(why) = why {
            let help = "write it like `mirror.lan:5000` or `mirror.lan:5000/hub`";
            note(out, Code::BadImage, path, format!("not a mirror: {why}"), help);
        } else if let Some(earlier) = seen.insert(&mirror.at, index) {
            let reason = format!("`{}` is `spec.mirrors[{earlier}]` already", mirror.at);
            note(out, Code::Duplicate, path, reason, "remove one of the two");
        }
    }
}
