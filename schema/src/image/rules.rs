//! Rules of an image that a pattern can't say.

mod archive;
mod build;
mod mirror;
mod push;

use super::{Image, Reference};
use crate::parse::{Code, Path, Violation};

impl Image {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        reference(&self.spec.reference, Path::spec("reference"), &mut out);
        build::check(&self.spec, &mut out);
        push::check(&self.spec, &mut out);
        archive::check(&self.spec, &mut out);
        mirror::check(&self.spec, &mut out);
        out
    }
}

fn reference(text: &str, path: Path, out: &mut Vec<Violation>) {
    if let Err(why) = Reference::parse(text) {
        let help = "write it like `nginx:1.27` or `registry.lan:5000/app:1`";
        note(out, Code::BadImage, path, format!("not an image: {why}"), help);
    }
}

fn note(out: &mut Vec<Violation>, code: Code, path: Path, reason: String, help: &str) {
    out.push(Violation { code, path, on_key: false, reason, help: help.to_owned() });
}
