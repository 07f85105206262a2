//! Rules of where an image is pushed to.

use std::collections::BTreeMap;

use super::{Reference, note, reference};
use crate::{
    image::ImageSpec,
    parse::{Code, Path, Violation},
};

pub(super) fn check(spec: &ImageSpec, out: &mut Vec<Violation>) {
    let mut seen = BTreeMap::new();
    for (index, push) in spec.push.iter().enumerate() {
        let path = Path::spec("push").index(index).key("to");
        let Ok(to) = Reference::parse(&push.to) else {
            reference(&push.to, path, out);
            continue;
        };
        if to.digest().is_some() {
            let reason = "a registry finds out the digest by itself".to_owned();
            note(out, Code::Conflict, path, reason, "give it a tag: `registry.lan:5000/app:1`");
        } else if let Some(earlier) = seen.insert(to.to_string(), index) {
            let reason = format!("`{to}` is `spec.push[{earlier}]` already");
            note(out, Code::Duplicate, path, reason, "remove one of the two");
        }
    }
}
