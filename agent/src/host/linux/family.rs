//! The processes of a program in a container: itself, and all that it started and that stayed in its session.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::task::spawn_blocking;

/// A program and what it started.
#[derive(Clone, Debug)]
pub(super) struct Family {
    /// The container's identifier, which its control group carries.
    container: String,
    /// The program. The engine begins a session for each.
    head: Pid,
}

impl Family {
    pub(super) fn new(container: &str, head: Pid) -> Self {
        Self { container: container.to_owned(), head }
    }

    /// Sends a signal to each. Whoever has the number of one that ended is not touched.
    pub(super) async fn send(&self, signal: Signal) {
        self.with_members(move |family, members| members.into_iter().for_each(|pid| family.send_one(pid, signal)))
            .await;
    }

    /// Returns true when all have ended.
    pub(super) async fn is_gone(&self) -> bool {
        self.with_members(|_, members| members.is_empty()).await.unwrap_or_default()
    }

    /// Looks for the members on a thread that may wait; none if the daemon ends meanwhile.
    async fn with_members<T: Send + 'static>(
        &self,
        then: impl FnOnce(&Self, Vec<Pid>) -> T + Send + 'static,
    ) -> Option<T> {
        let family = self.clone();
        let looked = spawn_blocking(move || then(&family, processes().filter(|pid| family.has(*pid)).collect()));
        looked.await.ok()
    }

    fn send_one(&self, pid: Pid, signal: Signal) {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        // The number may have passed to another before it was held. One that has just ended can't be sent anything.
        if self.has(pid) {
            let _ = pidfd_send_signal(&process, signal);
        }
    }

    fn has(&self, pid: Pid) -> bool {
        let read = |file| fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default();
        let head = self.head.as_raw_nonzero().get();
        let of_session = session(&read("stat")).is_some_and(|it| it == head || pid == self.head);
        of_session && read("cgroup").contains(&self.container)
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
}

/// Reads the session of a process out of its `stat`; none if it has ended and nobody has taken note, 0 if who began it
/// is outside our process namespace. The name of its program stands in brackets and may have any characters.
fn session(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let ended = matches!(words.next()?, "Z" | "X");
    words.nth(2)?.parse().ok().filter(|_| !ended)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    #[test]
    fn a_session_is_read_whatever_the_name_of_the_program() {
        assert_eq!(session("7 (sh) S 1 6 5 34816 7 4194304"), Some(5));
        assert_eq!(session("7 (a) b) Z (c) R 1 6 5 0"), Some(5));
        assert_eq!(session("7 (sh) S 1 6 0 0"), Some(0));
        for none in ["7 (sh) Z 1 6 5 0", "7 (sh) S 1 6", ""] {
            assert_eq!(session(none), None, "{none:?}");
        }
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_text_breaks_it(stat in malformed("7 (sh) S 1 6 5 34816 7 4194304")) {
            prop_assert!(session(&stat).is_none() || stat.contains(')'), "{:?}", stat);
        }
    }

    #[tokio::test]
    async fn what_is_in_no_container_is_not_ours_to_end() {
        let own = rustix::process::getpid();
        assert!(!Family::new("0123456789abcdef", own).has(own));
        assert!(Family::new("", own).has(own), "the same without the question");
        assert!(Family::new("0123456789abcdef", own).is_gone().await);
    }
}
