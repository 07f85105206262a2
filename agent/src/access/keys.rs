//! How often somebody may try keys of a disk. Whoever was let in may still not guess at them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Access, AccessError};

/// How many wrong keys one after the other cost nothing, for people mistype.
const FREE: u32 = 4;
/// How long the first pause is after that; each further wrong key makes it twice as long.
const FIRST: Duration = Duration::from_secs(4);
/// How long a pause is at most.
const LONGEST: Duration = Duration::from_secs(60);
/// After how long wrong keys are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// How many disks are remembered before those are forgotten that are quiet.
const MANY: usize = 256;

/// The keys that were tried in vain, by disk.
#[derive(Default)]
pub(super) struct Keys(Mutex<HashMap<String, Tried>>);

/// What was tried on one disk since its last right key.
struct Tried {
    wrong: u32,
    last: Instant,
}

impl Tried {
    /// Returns when the next key may be tried.
    fn next(&self) -> Instant {
        match self.wrong.checked_sub(FREE + 1) {
            Some(more) => self.last + FIRST.saturating_mul(1 << more.min(16)).min(LONGEST),
            None => self.last,
        }
    }
}

impl Keys {
    /// Takes a key for wrong until it is said to be right, so that several at once are no way around; or says how long to wait.
    fn begin(&self, disk: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.all();
        all.retain(|_, it| now.saturating_duration_since(it.last) < FORGOTTEN);
        if !all.contains_key(disk) && all.len() >= MANY {
            return Err(LONGEST);
        }
        let tried = all.entry(disk.to_owned()).or_insert(Tried { wrong: 0, last: now });
        let wait = tried.next().saturating_duration_since(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        (tried.wrong, tried.last) = (tried.wrong.saturating_add(1), now);
        Ok(())
    }

    fn right(&self, disk: &str) {
        self.all().remove(disk);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Tried>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Access {
    /// Begins to try a key that somebody typed for a disk.
    ///
    /// # Errors
    /// When too many were wrong just before.
    pub fn try_key(&self, disk: &str, now: Instant) -> Result<(), AccessError> {
        self.keys.begin(disk, now).map_err(AccessError::TooMany)
    }

    /// Takes down that the key was right: those before it were mistyped.
    pub fn key_is_right(&self, disk: &str) {
        self.keys.right(disk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_wrong_keys_are_free_and_each_further_one_costs_twice_the_time() {
        let (keys, mut now) = (Keys::default(), Instant::now());
        for _ in 0..FREE {
            assert_eq!(keys.begin("disk/films", now), Ok(()));
        }
        assert_eq!(keys.begin("disk/films", now), Ok(()), "the one that makes it wait");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let wait = keys.begin("disk/films", now).unwrap_err();
            assert_eq!(keys.begin("disk/films", now), Err(wait), "asking costs nothing more");
            pauses.push(wait.as_secs());
            now += wait;
            assert_eq!(keys.begin("disk/films", now), Ok(()));
        }
        assert_eq!(pauses, [4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(keys.begin("state", now), Ok(()), "another disk has tries of its own");
        keys.right("disk/films");
        assert_eq!(keys.begin("disk/films", now), Ok(()));
    }

    #[test]
    fn who_tries_often_in_a_day_finds_out_little() {
        let (keys, start) = (Keys::default(), Instant::now());
        let day = 24 * 60 * 60;
        let tried = (0..day).filter(|second| keys.begin("disk/films", start + Duration::from_secs(*second)).is_ok());
        assert!(tried.count() <= 24 * 60 + 10);
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_is_forgotten() {
        let (keys, now) = (Keys::default(), Instant::now());
        let many = (0..MANY * 2).filter(|it| keys.begin(&format!("disk/{it}"), now).is_ok()).count();
        assert_eq!((many, keys.all().len()), (MANY, MANY));
        assert_eq!(keys.begin("disk/another", now + FORGOTTEN), Ok(()));
        assert_eq!(keys.all().len(), 1);
    }
}
