use std::collections::BTreeSet;

use super::{Conflict, Spot};
use crate::parse::{self, Diagnostic};

/// Where a manifest stands.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its file, as it is shown.
    pub file: &'a str,
    /// Its text if that is TOML: without one fields have no line.
    pub text: Option<&'a str>,
}

impl Conflict {
    /// Returns the places of the manifests that have to do with it.
    #[must_use]
    pub fn manifests(&self) -> BTreeSet<usize> {
        self.others.iter().chain([&self.at]).map(|spot| spot.manifest).collect()
    }

    /// Renders it as a compiler does, with all of its places.
    #[must_use]
    pub fn render(&self, sources: &[Source<'_>]) -> String {
        let word = if self.is_error { "error" } else { "warning" };
        let mut places = self.places(sources);
        let (file, at) = places.next().unwrap_or_else(|| ("", self.locate(&self.at, None)));
        at.render_with(word, file, &places.collect::<Vec<_>>())
    }

    /// Says it in one line, with all of its places.
    #[must_use]
    pub fn sentence(&self, sources: &[Source<'_>]) -> String {
        let places: Vec<_> = self.places(sources).map(|(file, at)| at.place(file)).collect();
        format!("{}: {} ({}); {}", self.code, self.reason, places.join(", "), self.help)
    }

    fn places<'a>(&self, sources: &[Source<'a>]) -> impl Iterator<Item = (&'a str, Diagnostic)> {
        [&self.at].into_iter().chain(&self.others).filter_map(|spot| {
            let source = sources.get(spot.manifest)?;
            Some((source.file, self.locate(spot, source.text)))
        })
    }

    fn locate(&self, spot: &Spot, text: Option<&str>) -> Diagnostic {
        parse::locate(text, self.code, &spot.path, &self.reason, Some(&self.help))
    }
}
