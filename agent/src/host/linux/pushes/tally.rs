//! How far a push has come, added up over its layers. Pure.

use bollard::models::PushImageInfo;
use piccolo_schema::Progress;

/// What the engine has told of the layers of one image. It does not say which layer it speaks of.
#[derive(Debug, Default)]
pub(super) struct Tally {
    layers: u32,
    done: u32,
    digest: Option<String>,
}

impl Tally {
    /// Takes in a word of the engine. Returns true if something has come further.
    pub(super) fn hear(&mut self, word: &PushImageInfo) -> bool {
        let status = word.status.as_deref().unwrap_or_default();
        if status == "Preparing" {
            self.layers = self.layers.saturating_add(1);
        } else if matches!(status, "Pushed" | "Layer already exists") || status.starts_with("Mounted from") {
            self.done = self.done.saturating_add(1);
        } else {
            // `1: digest: sha256:… size: 528`
            let digest = status.split_once("digest: ").and_then(|(_, rest)| rest.split_whitespace().next());
            self.digest = digest.map(str::to_owned).or_else(|| self.digest.take());
            return false;
        }
        true
    }

    /// Returns how far it has come.
    pub(super) fn progress(&self) -> Progress {
        let done = self.done.min(self.layers);
        let percent = u64::from(done) * 100 / u64::from(self.layers).max(1);
        let percent = u8::try_from(percent).unwrap_or_default();
        Progress { percent, layers_done: done, layers: self.layers, ..Progress::default() }
    }

    /// Returns the digest that the registry gave it, once it has all of it.
    pub(super) fn digest(self) -> Option<String> {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    #[test]
    fn layers_are_counted_and_the_last_word_is_the_digest() {
        let mut tally = Tally::default();
        let words = [
            ("The push refers to repository [lan:5000/app]", (0, 0)),
            ("Preparing", (0, 1)),
            ("Preparing", (0, 2)),
            ("Waiting", (0, 2)),
            ("Pushing", (0, 2)),
            ("Layer already exists", (1, 2)),
            ("Mounted from other", (2, 2)),
            ("1: digest: sha256:0a size: 528", (2, 2)),
        ];
        for (status, (done, layers)) in words {
            tally.hear(&PushImageInfo { status: Some(status.to_owned()), ..PushImageInfo::default() });
            let told = tally.progress();
            assert_eq!((told.layers_done, told.layers), (done, layers), "{status}");
        }
        assert_eq!(tally.progress().percent, 100);
        assert_eq!(tally.digest().as_deref(), Some("sha256:0a"));
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_words_break_it(words in prop::collection::vec(
            prop_oneof![Just("Preparing".to_owned()), malformed("Mounted from other"), malformed("1: digest: sha256:0a size: 528")],
            0..9,
        )) {
            let mut tally = Tally::default();
            for status in words {
                tally.hear(&PushImageInfo { status: Some(status), ..PushImageInfo::default() });
                prop_assert!(tally.progress().percent <= 100);
            }
            prop_assert!(tally.digest().is_none_or(|it| !it.contains(char::is_whitespace)));
        }
    }
}
