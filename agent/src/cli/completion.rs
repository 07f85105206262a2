//! `piccolo completion`: what shells complete.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, failure::Failure, screen::Screen};

/// Prints completions for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo completion bash > /etc/bash_completion.d/piccolo\n  piccolo completion fish | source"
)]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &Args, screen: &Screen) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "piccolo", &mut script);
    screen.data(&script)
}
