//! Pulls under way: how far they have come, told at most once a second and never too late.

mod tally;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::models::CreateImageInfo;
use futures_util::{Stream, StreamExt};
use piccolo_schema::Progress;
use tokio::time::{Instant, timeout_at};

use self::tally::Tally;
use super::error;
use crate::host::{HostError, Reason};

/// How long a pull may go without a word from the registry.
const PATIENCE: Duration = Duration::from_secs(120);
/// The least time between two words on how far a pull has come: each becomes a status, which is stored.
const REST: Duration = Duration::from_secs(1);

/// The pulls under way.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    begun: u64,
    told: BTreeMap<u64, (String, Progress)>,
}

/// One pull. Dropped, it is not under way any more.
pub(super) struct Pull<'a> {
    pulls: &'a Pulls,
    number: u64,
}

impl Pulls {
    /// Begins a pull, of which nothing is known yet.
    pub(super) fn begin(&self) -> Pull<'_> {
        let mut table = self.lock();
        table.begun += 1;
        Pull { pulls: self, number: table.begun }
    }

    /// Returns how far the pull of each image has come. Of several of one image the furthest counts.
    pub(super) fn seen(&self) -> BTreeMap<String, Progress> {
        let mut seen: BTreeMap<String, Progress> = BTreeMap::new();
        for (image, progress) in self.lock().told.values() {
            if seen.get(image).is_none_or(|it| it.percent <= progress.percent) {
                seen.insert(image.clone(), progress.clone());
            }
        }
        seen
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pull<'_> {
    /// Tells how far the pull of this image has come.
    pub(super) fn tell(&self, image: &str, progress: Progress) {
        self.pulls.lock().told.insert(self.number, (image.to_owned(), progress));
    }
}

impl Drop for Pull<'_> {
    fn drop(&mut self) {
        self.pulls.lock().told.remove(&self.number);
    }
}

/// Reads to its end what the engine says of a pull, and tells how far that has come.
pub(super) async fn follow<E>(
    image: &str,
    words: impl Stream<Item = Result<CreateImageInfo, E>>,
    failed: impl Fn(&E) -> HostError,
    tell: impl Fn(Progress),
) -> Result<(), HostError> {
    let mut words = std::pin::pin!(words);
    let mut tally = Tally::default();
    let (mut told, mut due) = (None, None);
    let mut given_up = Instant::now() + PATIENCE;
    loop {
        match timeout_at(due.map_or(given_up, |due| given_up.min(due)), words.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(failed(&error)),
            Ok(Some(Ok(word))) => {
                if let Some(detail) = word.error_detail {
                    return Err(error::pull_text(image, &detail.message.unwrap_or_default()));
                }
                given_up = Instant::now() + PATIENCE;
                if tally.hear(&word) {
                    due.get_or_insert_with(|| told.map_or_else(Instant::now, |told: Instant| told + REST));
                }
            }
            Err(_) if Instant::now() >= given_up => {
                let message = format!("The registry sent nothing of {image} for {} s", PATIENCE.as_secs());
                return Err(HostError::new(Reason::TimedOut, message));
            }
            Err(_) => {}
        }
        let now = Instant::now();
        if due.take_if(|due| *due <= now).is_some()
            && let Some(progress) = tally.progress()
        {
            told = Some(now);
            tell(progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, convert::Infallible};

    use bollard::models::ProgressDetail;
    use futures_util::stream;

    use super::*;

    const MIB: i64 = 1 << 20;

    fn word(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        let detail = ProgressDetail { current: Some(current), total: Some(total) };
        let (id, status) = (Some(id.to_owned()), Some(status.to_owned()));
        CreateImageInfo { id, status, progress_detail: Some(detail), error_detail: None }
    }

    /// Follows words, each after a time in milliseconds, and returns what was told and when.
    async fn told(words: Vec<(u64, CreateImageInfo)>) -> (Vec<(u128, u8)>, Result<(), HostError>) {
        let (told, start) = (RefCell::new(Vec::new()), Instant::now());
        let words = stream::iter(words).then(|(after, word)| async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            Ok::<_, Infallible>(word)
        });
        let failed = |_: &Infallible| HostError::new(Reason::Failed, "no");
        let tell = |it: Progress| told.borrow_mut().push((start.elapsed().as_millis(), it.percent));
        let result = follow("app:1", words, failed, tell).await;
        (told.into_inner(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_ticks_is_told_once_a_second() {
        let ticks = (0..=1000).map(|tick| (10, word("a", "Downloading", tick * MIB, 1000 * MIB))).collect();
        let (told, _) = told(ticks).await;
        assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 1000), "{told:?}");
        assert!((10..=11).contains(&told.len()), "{told:?}");
        assert!(told.windows(2).all(|pair| pair[0].1 < pair[1].1), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_tick_before_a_silence_is_told_too() {
        let ticks = vec![
            (0, word("a", "Downloading", 10 * MIB, 100 * MIB)),
            (300, word("a", "Downloading", 90 * MIB, 100 * MIB)),
            (90_000, word("a", "Download complete", 0, 0)),
        ];
        let (told, _) = told(ticks).await;
        assert_eq!(told, [(0, 10), (1000, 90), (90_300, 100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_for_too_long_is_a_failure() {
        let (told, result) =
            told(vec![(0, word("a", "Downloading", 1, 2)), (121_000, word("a", "Downloading", 2, 2))]).await;
        assert_eq!(told, [(0, 50)]);
        assert_eq!(result.err().map(|error| error.reason), Some(Reason::TimedOut));
    }

    #[test]
    fn what_is_over_is_seen_no_more() {
        let pulls = Pulls::default();
        let progress = |percent| Progress { percent, ..Progress::default() };
        let (one, other) = (pulls.begin(), pulls.begin());
        one.tell("app:1", progress(20));
        other.tell("app:1", progress(10));
        assert_eq!(pulls.seen()["app:1"].percent, 20);
        drop(one);
        assert_eq!(pulls.seen()["app:1"].percent, 10);
        drop(other);
        assert!(pulls.seen().is_empty());
    }
}
