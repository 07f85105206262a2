//! Questions to the person at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use super::failure::Failure;

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
