//! Programs that people run in containers, by the engine.

use std::time::Duration;

use bollard::{Docker as Client, exec::CreateExecOptions};
use futures_util::{Stream, future, stream};
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{attach, docker::Docker, error, hangup};
use crate::{
    console::{Input, Output, Program},
    host::{HostError, Reason, Shells},
};

/// How long the engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the end of all programs may take.
const END: Duration = Duration::from_secs(5);

/// The programs that run.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    tasks: TaskTracker,
    /// Tells them that the daemon ends.
    over: CancellationToken,
}

impl Shells for Docker {
    fn run(
        &self,
        id: &str,
        program: Program,
        input: mpsc::Receiver<Input>,
    ) -> impl Stream<Item = Result<Output, HostError>> + Send + 'static {
        // One at a time: who does not listen stops the program.
        let (tell, told) = mpsc::channel(1);
        let session = Session {
            client: self.known_client(),
            socket: self.socket.clone(),
            container: id.to_owned(),
            over: self.sessions.over.clone(),
        };
        // A task of its own, as the program has to be ended when nobody polls any more.
        self.sessions.tasks.spawn(async move {
            if let Err(error) = session.hold(&program, input, &tell).await {
                let _ = tell.send(Err(error)).await;
            }
        });
        stream::unfold(told, async |mut told| told.recv().await.map(|output| (output, told)))
    }

    async fn end_programs(&self) {
        self.sessions.over.cancel();
        self.sessions.tasks.close();
        if timeout(END, self.sessions.tasks.wait()).await.is_err() {
            tracing::warn!("programs that people ran may go on: the engine does not answer");
        }
    }
}

struct Session {
    client: Result<Client, HostError>,
    socket: String,
    container: String,
    over: CancellationToken,
}

impl Session {
    /// Runs a program until it ended or nobody listens.
    async fn hold(
        self,
        program: &Program,
        input: mpsc::Receiver<Input>,
        tell: &mpsc::Sender<Result<Output, HostError>>,
    ) -> Result<(), HostError> {
        let client = self.client?;
        let exec = ready(&client, &self.container, program).await?;
        // Not given up half-way, when nobody could tell whether it runs.
        let started = timeout(PATIENCE, attach::start(&self.socket, &exec, program.terminal)).await;
        let ended = match started.unwrap_or_else(late) {
            Err(error) => Err(error),
            Ok(connection) => {
                let (from, to) = tokio::io::split(connection);
                tokio::select! {
                    ended = end(&client, &exec, attach::printed(from, program.terminal, tell)) => ended,
                    () = async { attach::typed(to, input, &client, &exec).await; future::pending().await } => Ok(None),
                    () = tell.closed() => Ok(None),
                }
            }
        };
        // Told at once: whether the program still runs may take a while to find out.
        match ended.transpose() {
            Some(Ok(code)) => {
                let _ = tell.send(Ok(Output::Ended(code))).await;
                return Ok(());
            }
            Some(Err(error)) => {
                let _ = tell.send(Err(error)).await;
            }
            None => {}
        }
        hangup::hang_up(&client, &self.container, &exec, &self.over).await;
        Ok(())
    }
}

/// Waits for the end of what a program prints, and of the program.
async fn end(
    client: &Client,
    exec: &str,
    printed: impl Future<Output = std::io::Result<()>>,
) -> Result<Option<i64>, HostError> {
    // A connection that breaks is seen by the next question.
    let _ = printed.await;
    hangup::exit_code(client, exec).await.map(Some)
}

async fn ready(client: &Client, container: &str, program: &Program) -> Result<String, HostError> {
    let options = CreateExecOptions {
        attach_stdin: Some(program.input),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(program.terminal),
        cmd: Some(program.words.clone()),
        ..CreateExecOptions::default()
    };
    let made = timeout(PATIENCE, client.create_exec(container, options)).await;
    made.map_err(|_| too_late())?.map(|made| made.id).map_err(|error| error::translate(&error))
}

fn late<T>(_: Elapsed) -> Result<T, HostError> {
    Err(too_late())
}

fn too_late() -> HostError {
    HostError::new(Reason::TimedOut, "The engine did not answer in time")
}
