//! How a repository is reached over ssh: with one key, from one machine, and with nothing that anybody has set up here.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::put;
use crate::git::GitError;

/// What ssh is told besides. It asks nobody, hands nothing on, starts nothing, and gives up on a machine that says nothing.
const SETTINGS: &str = "\
BatchMode yes
CheckHostIP no
ClearAllForwardings yes
ConnectTimeout 20
ControlMaster no
ForwardAgent no
ForwardX11 no
GlobalKnownHostsFile /dev/null
HostKeyAlias repository
IdentitiesOnly yes
IdentityAgent none
LogLevel ERROR
PermitLocalCommand no
PreferredAuthentications publickey
ProxyCommand none
ServerAliveCountMax 3
ServerAliveInterval 10
StrictHostKeyChecking yes
UpdateHostKeys no
";

/// Writes what ssh is told of a source, and returns the file. `place` is that of the source, without an ending.
pub(super) fn write(place: &Path, key: &Path, host_keys: &[String]) -> io::Result<PathBuf> {
    let (hosts, settings) = (place.with_extension("hosts"), place.with_extension("ssh"));
    put(&hosts, &known(host_keys))?;
    put(&settings, &format!("{SETTINGS}UserKnownHostsFile {}\nIdentityFile {}\n", quoted(&hosts)?, quoted(key)?))?;
    Ok(settings)
}

/// Returns the one machine that is known, by these keys.
fn known(host_keys: &[String]) -> String {
    host_keys.iter().map(|key| format!("repository {}\n", key.trim())).collect()
}

/// Returns a path as one word in a configuration of ssh, in which a `%` means something.
fn quoted(path: &Path) -> io::Result<String> {
    let plain = |path: &&str| !path.contains(['"', '\\']) && !path.chars().any(char::is_control);
    let path = path.to_str().filter(plain);
    let path = path.ok_or_else(|| io::Error::other("ssh can't be told of a path with such letters"))?;
    Ok(format!("\"{}\"", path.replace('%', "%%")))
}

/// Says in few words what ssh says in many.
pub(super) fn in_short(error: GitError) -> GitError {
    const OTHER_MACHINE: [&str; 3] =
        ["HOST IDENTIFICATION HAS CHANGED", "host key is known for", "Host key verification failed"];
    match error {
        GitError::Failed { command, complaint } if OTHER_MACHINE.iter().any(|words| complaint.contains(words)) => {
            GitError::Failed { command, complaint: "who answers has none of the keys in `hostKeys`".to_owned() }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted(Path::new("/a b/50%")).unwrap(), "\"/a b/50%%\"");
        for odd in ["/a\"b", "/a\nIdentityFile /b", "/a\\"] {
            assert!(quoted(Path::new(odd)).is_err(), "{odd}");
        }
    }

    #[test]
    fn only_the_keys_that_are_named_are_known() {
        let keys = ["ssh-ed25519 AAAA ".to_owned(), "ssh-rsa BBBB old".to_owned()];
        assert_eq!(known(&keys), "repository ssh-ed25519 AAAA\nrepository ssh-rsa BBBB old\n");
    }
}
