//! What comes along with the system: who the machine is, and its manifests.

use std::path::Path;

use piccolo_schema::install::Keep;

use super::{
    LONG, SHORT, Stick,
    live::{MAPPED, entries, left_behind},
    run,
};
use crate::host::HostError;

/// What of `/etc` is the owner's.
const OWN: &str = "var/lib/piccolo-etc/upper";
/// What the machine remembers, without the store, which is a cache. Tickets of the installer are not in it: they lie in memory.
const MEMORY: &str = "var/lib/piccolo";

impl Stick {
    /// Copies it into a state that is being made.
    pub(super) async fn copy(&self, state: &str, keep: Keep) -> Result<(), HostError> {
        run("cryptsetup", ["open", "--key-file", &self.key(), state, MAPPED], SHORT).await?;
        let at = self.mount(&format!("/dev/mapper/{MAPPED}"), "state", "rw").await?;
        let (own, memory) = left_behind(keep);
        for (from, not) in [(OWN, own), (MEMORY, memory)] {
            let to = at.join(from);
            let sources = entries(&Path::new("/").join(from), &not)?;
            run("mkdir", ["-p", &to.display().to_string()], SHORT).await?;
            if !sources.is_empty() {
                let words = ["-a".to_owned(), "-t".to_owned(), to.display().to_string(), "--".to_owned()];
                run("cp", words.into_iter().chain(sources), LONG).await?;
            }
        }
        // What can't be written shows here, and not only when nobody looks any more.
        run("sync", ["--file-system", &at.display().to_string()], LONG).await.map(drop)
    }
}
