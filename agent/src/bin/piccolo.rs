//! The command line of Piccolo.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    piccolo_agent::cli::run(std::env::args_os()).await
}
