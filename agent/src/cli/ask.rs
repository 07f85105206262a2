//! Questions to the person at the terminal.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
};

use zeroize::Zeroizing;

use super::failure::Failure;
use crate::secrets::Plain;

/// Asks for a line of text. Fails where nobody can answer, naming the option that says it instead.
pub(super) fn line(question: &str, option: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("nobody is there to be asked: say it by {option}")));
    }
    let mut err = io::stderr().lock();
    write!(err, "{question} ").and_then(|()| err.flush()).map_err(Failure::Output)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(Failure::Output)?;
    Ok(answer.trim().to_owned())
}

/// Asks whether something is so; only a clear yes is one.
pub(super) fn is_so(question: &str, option: &str) -> Result<bool, Failure> {
    let answer = line(&format!("{question} [y/N]"), option)?;
    Ok(["y", "yes"].contains(&answer.to_ascii_lowercase().as_str()))
}

/// Asks twice for something secret, unseen; where nobody can be asked it is the one line of the standard input.
pub(super) fn secret(question: &str) -> Result<Plain, Failure> {
    if !io::stdin().is_terminal() {
        return from_pipe();
    }
    let no_terminal = |source| Failure::File { path: PathBuf::from("/dev/tty"), source };
    let read =
        |words: String| rpassword::prompt_password(words).map(|it| Plain::new(it.into_bytes())).map_err(no_terminal);
    let value = read(format!("{question} "))?;
    if value.expose().is_empty() {
        return Err(Failure::Usage("the value is empty; nothing was changed".to_owned()));
    }
    if read("Once more: ".to_owned())? != value {
        return Err(Failure::Usage("the two differ; nothing was changed".to_owned()));
    }
    Ok(value)
}

/// Asks once for a key that exists already, unseen; where nobody can be asked it is the one line of the standard input.
pub(super) fn key(question: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = if io::stdin().is_terminal() {
        let no_terminal = |source| Failure::File { path: PathBuf::from("/dev/tty"), source };
        rpassword::prompt_password(format!("{question} ")).map(Zeroizing::new).map_err(no_terminal)?
    } else {
        let text = from_pipe()?;
        let text = std::str::from_utf8(text.expose()).map_err(|_| Failure::Usage("a key is text here".to_owned()))?;
        Zeroizing::new(text.to_owned())
    };
    if typed.is_empty() {
        return Err(Failure::Usage("the key is empty; nothing was changed".to_owned()));
    }
    Ok(typed)
}

fn from_pipe() -> Result<Plain, Failure> {
    let whole = Plain::read(io::stdin().lock(), usize::MAX)
        .map_err(|source| Failure::File { path: PathBuf::from("<stdin>"), source })?;
    let text = whole.expose();
    let line = text.strip_suffix(b"\n").map_or(text, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if line.is_empty() {
        return Err(Failure::Usage("there is no value on standard input".to_owned()));
    }
    Ok(Plain::new(line.to_vec()))
}
