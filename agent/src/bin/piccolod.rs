//! `piccolod`, the daemon: reads its options, listens for signals, runs. The hooks of its repository run it as well, as
//! `piccolod hook`: then it asks the daemon. Timers of systemd run it as `piccolod net-restore`, without a daemon. On a
//! stick systemd runs it as `piccolod installer`, with rights that the daemon has not, and as `piccolod disks` for a daemon
//! that is kept from devices. The start that resets its machine runs it as `piccolod reset`.

use std::process::ExitCode;

use clap::Parser;
use piccolo_agent::{
    cli,
    daemon::{self, Options},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args_os().nth(1).is_some_and(|word| word == "hook") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return Ok(runtime.block_on(cli::run(std::env::args_os())));
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == "net-restore") {
        log();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return Ok(runtime.block_on(daemon::restore(std::env::args_os().skip(2))));
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == "installer") {
        log();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return Ok(runtime.block_on(daemon::installer()));
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == "reset") {
        log();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return Ok(runtime.block_on(daemon::reset_now()));
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == "disks") {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(4).enable_all().build()?;
        return runtime.block_on(daemon::answer_for_disks(std::env::args_os().nth(2)));
    }
    let options = Options::parse();
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_name("piccolod")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let ended = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            ended.cancel();
        });
        daemon::run(options, shutdown).await.map(|()| ExitCode::SUCCESS)
    })
}

/// Logs to the journal under systemd, to standard error elsewhere. `RUST_LOG` chooses what.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = under_systemd.then(|| tracing_journald::layer().ok()).flatten();
    let terminal = journal.is_none().then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr));
    tracing_subscriber::registry().with(journal.map(Layer::boxed)).with(terminal.map(Layer::boxed)).with(filter).init();
}
