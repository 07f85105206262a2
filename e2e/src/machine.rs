//! A machine with a daemon of its own: directories, socket, process.

use std::{
    fs,
    future::Future,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

use crate::{PATIENCE, http};

/// A daemon on directories of its own. The process is killed when this is dropped; containers stay.
#[derive(Debug)]
pub struct Machine {
    dir: TempDir,
    /// Where secrets lie: in memory, as a test's directory need not be.
    memory: TempDir,
    docker: String,
    launcher: Vec<String>,
    /// Where its API answers networks.
    listen: &'static str,
    daemon: Option<Child>,
    /// Moves with every line of the journal and every change of an object.
    heard: watch::Sender<u64>,
    ears: Vec<JoinHandle<()>>,
}

impl Machine {
    /// Makes the directories; starts nothing.
    ///
    /// # Errors
    /// When there is no engine or no room.
    pub fn new() -> anyhow::Result<Self> {
        Self::on(&std::env::var("DOCKER_HOST").context("DOCKER_HOST is not set: run e2e/test")?)
    }

    /// The same with another engine.
    ///
    /// # Errors
    /// When there is no room.
    pub fn on(docker: &str) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("piccolo-story-")?;
        fs::create_dir(dir.path().join("etc"))?;
        let memory = TempDir::with_prefix_in("piccolo-story-", "/dev/shm")?;
        let (docker, launcher) = (docker.to_owned(), Vec::new());
        Ok(Self {
            dir,
            memory,
            docker,
            launcher,
            listen: "127.0.0.1:0",
            daemon: None,
            heard: watch::Sender::new(0),
            ears: Vec::new(),
        })
    }

    /// Starts the daemon by another program, which is given the daemon's command and becomes it.
    #[must_use]
    pub fn launched_by(self, launcher: &[&str]) -> Self {
        Self { launcher: launcher.iter().map(|&word| word.to_owned()).collect(), ..self }
    }

    /// The same, with more words in front of it.
    #[must_use]
    pub fn launched_also_by(mut self, more: &[&str]) -> Self {
        self.launcher.extend(more.iter().map(|&word| word.to_owned()));
        self
    }

    /// The same, but its API answers networks too.
    #[must_use]
    pub fn open_to_networks(self) -> Self {
        Self { listen: "0.0.0.0:0", ..self }
    }

    /// Returns the path of a manifest.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join("etc").join(file)
    }

    /// Returns the socket of the API.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }

    /// Returns the directory of the store.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Returns the directory of decrypted secrets.
    pub fn memory(&self) -> &Path {
        self.memory.path()
    }

    /// Returns all that the daemon has written to its log.
    pub fn whole_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Writes a manifest as an editor does: to another file first, then in its place.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let temporary = self.path(&format!(".{file}.tmp"));
        fs::write(&temporary, text)?;
        Ok(fs::rename(temporary, self.path(file))?)
    }

    /// Removes a manifest.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, file: &str) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path(file))?)
    }

    /// Prepares the command line of a person at this machine. Killed when it is dropped.
    ///
    /// # Errors
    /// When it was not built.
    pub fn piccolo(&self, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program()?.with_file_name("piccolo"));
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(words).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Sets a value of a secret as a person does.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn set_secret(&self, secret: &str, key: &str, value: &str) -> anyhow::Result<()> {
        let mut child = self.piccolo(&["secret", "set", secret, key])?.stdout(Stdio::null()).spawn()?;
        child.stdin.take().context("stdin")?.write_all(format!("{value}\n").as_bytes()).await?;
        if !child.wait().await?.success() {
            bail!("secret set {secret} {key} failed");
        }
        Ok(())
    }

    /// Starts the daemon, waits until it answers, and listens to what it says.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.start_unheard().await?;
        for path in ["/journal?follow=true", "/apis/piccolo.os/v1alpha1/containers?watch=true"] {
            self.ears.push(tokio::spawn(listen(self.socket(), path, self.heard.clone())));
        }
        Ok(())
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_unheard(&mut self) -> anyhow::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log"))?;
        let mut words = self.launcher.iter().map(PathBuf::from).chain([program()?]);
        let child = Command::new(words.next().context("a program")?)
            .args(words)
            .args(["--config-dir".as_ref(), self.path("").as_os_str()])
            .args(["--state-dir".as_ref(), self.state().as_os_str()])
            .args(["--socket".as_ref(), self.socket().as_os_str()])
            .args(["--issue".as_ref(), self.dir.path().join("issue").as_os_str()])
            .args(["--secrets-dir".as_ref(), self.memory.path().as_os_str()])
            .args(["--listen", self.listen, "--docker", &self.docker])
            .stdin(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("can't start piccolod")?;
        self.daemon = Some(child);
        // There is no event for "a process listens"; a refused connection costs nothing.
        let answers = async {
            while http::send(&self.socket(), "GET", "/livez").await.is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.context("piccolod does not answer")
    }

    /// Returns the process id of the daemon.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref()?.id()
    }

    /// Kills the daemon as a power cut would.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.daemon.take().context("the daemon does not run")?;
        self.ears.drain(..).for_each(|ear| ear.abort());
        Ok(child.kill().await?)
    }

    /// Stops the daemon politely, and expects it to end well.
    ///
    /// # Errors
    /// When it does not.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let mut child = self.daemon.take().context("the daemon does not run")?;
        self.ears.drain(..).for_each(|ear| ear.abort());
        let pid = child.id().context("the daemon has ended")?;
        Command::new("kill").arg(pid.to_string()).status().await?;
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.context("piccolod does not stop")??;
        if !status.success() {
            bail!("piccolod ended with {status}: {}", self.log());
        }
        Ok(())
    }

    /// Gets a document of the API.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        http::get(&self.socket(), path).await
    }

    /// Returns a container's status.
    pub async fn status(&self, name: &str) -> Value {
        let object = self.get(&format!("/apis/piccolo.os/v1alpha1/containers/{name}")).await;
        object.map(|object| object["status"].clone()).unwrap_or_default()
    }

    /// Returns the reason of a container's `Ready` condition.
    pub async fn reason(&self, name: &str) -> String {
        self.status(name).await["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until every container that is declared is ready and nothing is planned.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_settled(&self) -> anyhow::Result<()> {
        self.until("everything settled", async || {
            let Ok(plan) = self.get("/plan").await else { return false };
            let Ok(list) = self.get("/apis/piccolo.os/v1alpha1/containers").await else { return false };
            let plans = plan["plans"].as_array().cloned().unwrap_or_default();
            let quiet = !plans.is_empty()
                && plans.iter().all(|it| {
                    it["steps"].as_array().is_some_and(Vec::is_empty)
                        && it["waiting"].as_array().is_some_and(Vec::is_empty)
                });
            let ready = |object: &Value| {
                let status = &object["status"];
                status["conditions"][0]["status"] == "True"
                    && status["observedGeneration"] == object["metadata"]["generation"]
            };
            let items = list["items"].as_array().cloned().unwrap_or_default();
            quiet && items.len() == containers(&self.path("")) && items.iter().all(ready)
        })
        .await
    }

    /// Waits until this holds, looking again whenever the daemon says something, and once a second for what it can't say.
    ///
    /// # Errors
    /// When that takes too long, with the journal.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let mut heard = self.heard.subscribe();
        let waits = async {
            while !holds().await {
                drop(tokio::time::timeout(Duration::from_secs(1), heard.changed()).await);
            }
        };
        if tokio::time::timeout(PATIENCE, waits).await.is_ok() {
            return Ok(());
        }
        let journal = self.get("/journal?limit=30").await.unwrap_or_default();
        bail!("never came: {what}\n{journal:#}\n{}", self.log())
    }

    /// Returns the end of the daemon's log.
    pub fn log(&self) -> String {
        let log = self.whole_log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// Counts the manifests of containers below a directory: the daemon may not have heard of the last one yet.
fn containers(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.map(|path| if path.is_dir() { containers(&path) } else { usize::from(is_container(&path)) }).sum()
}

fn is_container(path: &Path) -> bool {
    let text = path.extension().filter(|it| *it == "toml").and_then(|_| fs::read_to_string(path).ok());
    text.is_some_and(|text| text.contains("kind = \"Container\""))
}

/// Moves `heard` with each part of a stream.
async fn listen(socket: PathBuf, path: &'static str, heard: watch::Sender<u64>) {
    let Ok(response) = http::send(&socket, "GET", path).await else { return };
    let mut body = response.into_body();
    while let Some(Ok(_)) = body.frame().await {
        heard.send_modify(|count| *count += 1);
    }
}

/// Returns all that stands in the files below a directory.
///
/// # Errors
/// When one can't be read.
pub fn all_files(directory: &Path) -> anyhow::Result<String> {
    let mut all = String::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            all.push_str(&all_files(&path)?);
            continue;
        }
        match fs::read(&path) {
            Ok(bytes) => all.push_str(&String::from_utf8_lossy(&bytes)),
            // A daemon that runs writes and takes away meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

/// Returns the daemon's program.
///
/// # Errors
/// When it was not built.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Ok(path) = std::env::var("PICCOLOD") {
        return Ok(path.into());
    }
    let here = std::env::current_exe()?;
    let target =
        here.ancestors().find(|path| path.ends_with("deps") || path.ends_with("debug") || path.ends_with("release"));
    let folder = target.map(|path| if path.ends_with("deps") { path.parent().unwrap_or(path) } else { path });
    let program = folder.unwrap_or(Path::new(".")).join("piccolod");
    if !program.exists() {
        bail!("{} is not built: run cargo build", program.display());
    }
    Ok(program)
}

/// Runs a story and cleans up after it, whatever came of it.
///
/// # Errors
/// Those of the story.
pub async fn story(engine: &crate::Engine, tell: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    engine.clear().await?;
    crate::traffic::remove_rules().await?;
    // A story is long, and so is its future.
    let told = Box::pin(tell).await;
    engine.clear().await?;
    crate::traffic::remove_rules().await?;
    told
}
