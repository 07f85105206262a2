//! How far a pull has come, added up over its layers. Pure.

use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;
use piccolo_schema::{Progress, quantity::Bytes};

/// How many layers are counted; images have at most 127.
const MOST: usize = 1024;

/// What the engine has told of the layers of one image.
#[derive(Debug, Default)]
pub(super) struct Tally {
    layers: BTreeMap<String, Layer>,
    /// The highest share that was told.
    percent: u8,
}

#[derive(Debug, Default)]
struct Layer {
    done: u64,
    total: Option<u64>,
    has_come: bool,
    unpacked: bool,
}

impl Tally {
    /// Takes in a word of the engine. Returns true if it speaks of a layer.
    pub(super) fn hear(&mut self, word: &CreateImageInfo) -> bool {
        let (Some(id), Some(status)) = (&word.id, &word.status) else { return false };
        let known = self.layers.contains_key(id);
        // Beside layers the engine names the tag and the repository so.
        let begins = matches!(status.as_str(), "Pulling fs layer" | "Already exists" | "Downloading" | "Waiting");
        if !known && (!begins || self.layers.len() >= MOST) {
            return false;
        }
        let count = |count: Option<i64>| count.and_then(|it| u64::try_from(it).ok());
        let detail = word.progress_detail.as_ref();
        let total = detail.and_then(|it| count(it.total)).filter(|total| *total > 0);
        self.layers.entry(id.clone()).or_default().hear(status, detail.and_then(|it| count(it.current)), total);
        true
    }

    /// Returns how far it has come; none as long as nothing is known of what has to come.
    pub(super) fn progress(&mut self) -> Option<Progress> {
        let all = || self.layers.values();
        let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0, u64::saturating_add);
        let (layers, layers_done) = (all().count(), all().filter(|layer| layer.unpacked).count());
        let done = sum(&mut all().map(|layer| layer.done));
        let known = sum(&mut all().filter_map(|layer| layer.total));
        let sized = all().filter(|layer| layer.total.is_some_and(|total| total > 0)).count();
        let unknown = all().filter(|layer| layer.total.is_none()).count();
        let average = known.checked_div(sized as u64).unwrap_or_default();
        let expected = known.saturating_add(average.saturating_mul(unknown as u64));
        let share = match (expected, unknown) {
            // What was here before says nothing of what has to come.
            (0, 0) => share(
                all().filter(|it| it.unpacked && !it.was_here()).count() as u64,
                all().filter(|it| !it.was_here()).count() as u64,
            ),
            _ => share(done, expected),
        };
        self.percent = self.percent.max(share);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        all().any(|layer| !layer.was_here()).then(|| Progress {
            percent: self.percent,
            done: Bytes::new(done),
            total: (unknown == 0).then_some(Bytes::new(known)),
            layers_done: count(layers_done),
            layers: count(layers),
            ..Progress::default()
        })
    }
}

impl Layer {
    const fn was_here(&self) -> bool {
        self.unpacked && !self.has_come
    }

    fn hear(&mut self, status: &str, current: Option<u64>, total: Option<u64>) {
        match status {
            "Downloading" => {
                self.total = total.or(self.total);
                self.done = current.unwrap_or(self.done).min(self.total.unwrap_or(u64::MAX));
            }
            "Download complete" | "Verifying Checksum" | "Extracting" => self.has_come = true,
            "Pull complete" => (self.has_come, self.unpacked) = (true, true),
            // It was here before, so nothing of it has to come.
            "Already exists" => (self.total, self.unpacked) = (Some(0), true),
            // It is begun anew after a failure.
            "Pulling fs layer" => self.done = 0,
            _ => {}
        }
        if self.has_come {
            // Of a small layer the engine never tells the size.
            let total = self.total.unwrap_or(self.done);
            (self.done, self.total) = (total, Some(total));
        }
    }
}

fn share(done: u64, all: u64) -> u8 {
    let percent = (u128::from(done) * 100).checked_div(u128::from(all)).unwrap_or_default();
    u8::try_from(percent.min(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn hear(tally: &mut Tally, id: &str, status: &str, counts: Option<(i64, i64)>) -> bool {
        let progress_detail =
            counts.map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) });
        tally.hear(&CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail,
            error_detail: None,
        })
    }

    fn told(tally: &mut Tally) -> Option<(u8, u64, Option<u64>, u32, u32)> {
        let it = tally.progress()?;
        Some((it.percent, it.done.get(), it.total.map(Bytes::get), it.layers_done, it.layers))
    }

    #[test]
    fn layers_are_added_up() {
        let mut tally = Tally::default();
        assert!(!hear(&mut tally, "1", "Pulling from app", None), "a tag is no layer");
        assert_eq!(told(&mut tally), None);
        hear(&mut tally, "a", "Already exists", None);
        assert_eq!(told(&mut tally), None, "what has to come was not told yet");
        hear(&mut tally, "b", "Pulling fs layer", None);
        hear(&mut tally, "c", "Pulling fs layer", None);
        assert_eq!(told(&mut tally), Some((0, 0, None, 1, 3)));
        hear(&mut tally, "b", "Downloading", Some((50, 100)));
        assert_eq!(told(&mut tally), Some((25, 50, None, 1, 3)), "the other is taken to be as large");
        hear(&mut tally, "c", "Downloading", Some((0, 300)));
        assert_eq!(told(&mut tally), Some((25, 50, Some(400), 1, 3)), "it never goes back");
        hear(&mut tally, "c", "Downloading", Some((300, 300)));
        assert_eq!(told(&mut tally), Some((87, 350, Some(400), 1, 3)));
        hear(&mut tally, "b", "Download complete", None);
        hear(&mut tally, "b", "Extracting", Some((7, 100)));
        hear(&mut tally, "b", "Pull complete", None);
        hear(&mut tally, "c", "Pull complete", None);
        assert_eq!(told(&mut tally), Some((100, 400, Some(400), 3, 3)));
    }

    #[test]
    fn a_layer_too_small_to_tell_of_has_come_whole() {
        let mut tally = Tally::default();
        hear(&mut tally, "a", "Pulling fs layer", None);
        hear(&mut tally, "a", "Download complete", None);
        assert_eq!(told(&mut tally), Some((0, 0, Some(0), 0, 1)));
        hear(&mut tally, "a", "Pull complete", None);
        assert_eq!(told(&mut tally), Some((100, 0, Some(0), 1, 1)));
    }

    #[test]
    fn counts_that_make_no_sense_break_nothing() {
        let mut tally = Tally::default();
        hear(&mut tally, "a", "Downloading", Some((-1, -1)));
        hear(&mut tally, "b", "Downloading", Some((i64::MAX, 1)));
        hear(&mut tally, "c", "Downloading", Some((i64::MAX, i64::MAX)));
        assert!(tally.progress().is_some_and(|it| it.percent <= 100));
        for layer in 0..5000 {
            hear(&mut tally, &format!("layer {layer}"), "Waiting", None);
        }
        assert_eq!(tally.progress().map(|it| it.layers), Some(1024));
    }
}
