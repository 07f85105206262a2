//! Signing with a person's SSH key, by their own `ssh-keygen`: it knows their agent, their devices and their passphrases.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use super::failure::Failure;

const PROGRAM: &str = "ssh-keygen";

/// Signs a text for a purpose. The key is a file of a private one, or of a public one whose private half an agent has.
#[allow(clippy::disallowed_methods, reason = "the key is the person's, and so is the program, on the person's side")]
pub(super) async fn sign(key: &Path, purpose: &'static str, text: String) -> Result<String, Failure> {
    let path = key.to_owned();
    let run = move || -> io::Result<Option<String>> {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["-Y", "sign", "-q", "-n", purpose, "-f"]).arg(&path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // One that has refused the key reads nothing, and says why itself.
            let _ = input.write_all(text.as_bytes());
        }
        let answer = child.wait_with_output()?;
        Ok(answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned()))
    };
    let unsigned = |why: &str| Failure::Usage(format!("nothing was signed with {}: {why}", key.display()));
    match tokio::task::spawn_blocking(run).await {
        Ok(Ok(Some(signature))) => Ok(signature),
        Ok(Ok(None)) => Err(unsigned("ssh-keygen says why")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            Err(unsigned("the program `ssh-keygen` is not installed; it comes with OpenSSH"))
        }
        Ok(Err(source)) => Err(Failure::File { path: PathBuf::from(PROGRAM), source }),
        Err(error) => Err(unsigned(&error.to_string())),
    }
}
