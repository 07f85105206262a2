//! The repository as it has to be: its settings and its hooks are the daemon's, whoever comes in by git.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use crate::git::{Git, GitError};

/// What everybody is held to who opens the repository, also over a path or ssh. Of a push all of it is checked, no ref is
/// written by git itself, and nothing large is held in memory.
const SETTINGS: &str = "\
# Written by piccolod whenever it starts.
[core]
\trepositoryFormatVersion = 0
\tbare = true
\thooksPath = hooks
\tattributesFile = /dev/null
\tfsync = all
\tfsyncMethod = batch
\tbigFileThreshold = 1m
\tdeltaBaseCacheLimit = 32m
\tpackedGitLimit = 256m
[gc]
\tauto = 0
[http]
\treceivePack = true
\tgetAnyFile = false
[pack]
\tthreads = 1
[receive]
\tadvertisePushOptions = true
\tautoGc = false
\tmaxInputSize = 64m
\tprocReceiveRefs = refs
\tshallowUpdate = false
[receive \"fsck\"]
\tbadFilemode = error
[transfer]
\tfsckObjects = true
\thideRefs = refs/piccolo
";

/// The hooks, which are the names of what the program is asked.
const HOOKS: [&str; 2] = ["pre-receive", "proc-receive"];

/// What the hooks of the repository run.
#[derive(Clone, Debug)]
pub struct Hooks {
    /// The program, whose subcommand `hook` asks the daemon.
    pub program: PathBuf,
    /// The socket on which the daemon answers it.
    pub socket: PathBuf,
}

/// Makes the repository if it is missing, and puts its settings and hooks right.
pub(super) async fn open(git: &Git, hooks: &Hooks) -> Result<(), GitError> {
    if !git.is_there() {
        make(git).await?;
    }
    prepare(git.directory(), hooks).map_err(|source| GitError::NotRun { command: "init".to_owned(), source })
}

/// Makes an empty repository, which is there whole or not at all.
async fn make(git: &Git) -> Result<(), GitError> {
    let directory = git.directory().to_owned();
    let new = directory.with_extension("git.new");
    let not_made = |source| GitError::NotRun { command: "init".to_owned(), source };
    if new.exists() {
        // Left behind by an agent that was killed.
        fs::remove_dir_all(&new).map_err(not_made)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&new).map_err(not_made)?;
    let arguments = ["init", "--quiet", "--bare", "--template=", "--initial-branch=main"];
    Git::new(new.clone()).run(&arguments, b"").await?;
    fs::rename(&new, &directory).map_err(not_made)
}

fn prepare(directory: &Path, hooks: &Hooks) -> io::Result<()> {
    let place = directory.join("hooks");
    DirBuilder::new().recursive(true).mode(0o700).create(&place)?;
    for hook in HOOKS {
        put(&place.join(hook), &script(hook, hooks), 0o700)?;
    }
    put(&directory.join("config"), SETTINGS.as_bytes(), 0o600)
}

/// A script that becomes the program.
fn script(hook: &str, hooks: &Hooks) -> Vec<u8> {
    let mut script = b"#!/bin/sh\nexec ".to_vec();
    script.extend(quoted(&hooks.program));
    script.extend_from_slice(format!(" hook {hook} --host unix://").as_bytes());
    script.extend(quoted(&hooks.socket));
    script.push(b'\n');
    script
}

/// Writes a path so that a shell takes it for one word.
fn quoted(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let inner = bytes.iter().flat_map(|byte| if *byte == b'\'' { br"'\''".to_vec() } else { vec![*byte] });
    std::iter::once(b'\'').chain(inner).chain([b'\'']).collect()
}

/// Puts a file in place, whole or not at all; one that is so already is left alone. A hook that can't be run would not be
/// asked.
fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let has_mode = fs::symlink_metadata(path).is_ok_and(|now| now.is_file() && now.mode() & 0o777 == mode);
    if has_mode && fs::read(path).is_ok_and(|now| now == bytes) {
        return Ok(());
    }
    let new = path.with_extension("new");
    // Left behind by an agent that was killed.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_breaks_out_of_a_hook() {
        let hooks = Hooks { program: "/opt/it's \"$(x)\"/piccolod".into(), socket: "/run/a b.sock".into() };
        let script = String::from_utf8(script("pre-receive", &hooks)).unwrap();
        let words = "exec '/opt/it'\\''s \"$(x)\"/piccolod' hook pre-receive --host unix://'/run/a b.sock'\n";
        assert_eq!(script, format!("#!/bin/sh\n{words}"));
    }
}
