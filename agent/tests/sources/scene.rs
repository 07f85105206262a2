//! A machine and a repository that it follows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use piccolo_agent::{
    host::{SourceSeen, Sources as _},
    manifests::{Change, Manifests, Who},
    reconcile::{
        Plan, Reconciler as _,
        source::{SourceStep, Sources},
    },
    sources::{Logins, Puller},
};
use piccolo_schema::{ConfigSource, Desired, Manifest};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    dir: TempDir,
    pub(crate) manifests: Manifests,
    pub(crate) puller: Arc<Puller>,
    changes: mpsc::Receiver<Change>,
    running: Option<(CancellationToken, JoinHandle<()>)>,
    /// Another one each time, so that the repository is asked at once.
    interval: u32,
}

/// A key, and what git has to be told to sign with it.
pub(crate) struct Key {
    pub(crate) public: String,
    settings: Vec<String>,
    home: PathBuf,
}

/// Knows one login, and the key `client` in its directory.
struct OneLogin(PathBuf);

/// What its secret `known` makes.
pub(crate) const LOGIN: &str = "Basic Y2FuYXJ5Omxlc3M=";

impl Logins for OneLogin {
    fn authorization<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<Zeroizing<String>, String>> {
        let known = secret == "known";
        Box::pin(async move {
            if known { Ok(LOGIN.to_owned().into()) } else { Err(format!("there is no secret `{secret}`")) }
        })
    }

    fn key<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<PathBuf, String>> {
        Box::pin(async move { Ok(self.0.join(secret)) })
    }
}

pub(crate) fn container(name: &str, image: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Container\"\nmetadata.name = \"{name}\"\nspec.image = \"{image}\"\n"
    )
}

pub(crate) fn labelled(name: &str, key: &str, value: &str) -> String {
    container(name, "x:1") + &format!("metadata.labels = {{ {key} = \"{value}\" }}\n")
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for place in ["piccolo", "work"] {
            fs::create_dir(dir.path().join(place)).unwrap();
        }
        let (send, changes) = mpsc::channel(1024);
        let manifests = Manifests::open_recorded(dir.path().join("piccolo"), send).await;
        let puller =
            Puller::open(dir.path().join("state"), manifests.clone(), Arc::new(OneLogin(dir.path().to_owned())))
                .unwrap();
        let mut scene = Self { dir, manifests, puller, changes, running: None, interval: 3600 };
        scene.git(&["init", "--quiet", "--initial-branch=main"]);
        scene.run();
        scene
    }

    fn run(&mut self) {
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&self.puller).run(stop.clone()));
        self.running = Some((stop, task));
    }

    /// Ends it and begins again on the same disk.
    pub(crate) async fn restart(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            task.await.unwrap();
        }
        self.puller = Puller::open(
            self.dir.path().join("state"),
            self.manifests.clone(),
            Arc::new(OneLogin(self.dir.path().to_owned())),
        )
        .unwrap();
        self.run();
    }

    pub(crate) fn remote(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join("state").join(name)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("piccolo").join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    pub(crate) fn by_hand(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// Returns all files of the manifests' directory and what they say.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        walk(&self.file(""), Path::new(""), &mut all);
        all.sort();
        all
    }

    pub(crate) fn without_source(&self) -> Vec<(String, String)> {
        self.all().into_iter().filter(|(path, _)| path != "home.toml").collect()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        self.all().into_iter().map(|(path, _)| path).collect()
    }

    /// Writes the manifest of the source with these lines more, and waits until its repository was asked.
    pub(crate) async fn ask(&mut self, more: &str) {
        let url = format!("file://{}", self.remote().display());
        self.ask_at(&url, more).await;
    }

    /// Asks a repository elsewhere.
    pub(crate) async fn ask_at(&mut self, url: &str, more: &str) {
        self.interval += 1;
        let interval = format!("{}s", self.interval);
        self.by_hand(
            "home.toml",
            &format!(
                "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"ConfigSource\"\nmetadata.name = \"home\"\n\n[spec]\nurl = \"{url}\"\ninterval = \"{interval}\"\n{more}\n"
            ),
        );
        let snapshot = self.manifests.look().await.unwrap();
        assert!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
        let wanted = Duration::from_secs(self.interval.into());
        let asked = async {
            loop {
                let view = self.puller.sources().await.unwrap();
                let seen = view.sources.get("home").filter(|seen| seen.asked.interval().get() == wanted);
                if seen.is_some_and(|seen| seen.checked.is_some() || seen.failure.is_some()) {
                    return;
                }
                self.puller.changed().await;
            }
        };
        timeout(PATIENCE, asked).await.unwrap();
    }

    pub(crate) async fn until_forgotten(&self) {
        self.manifests.look().await.unwrap();
        let forgotten = async {
            while !self.puller.sources().await.unwrap().sources.is_empty() || self.state("home.git").exists() {
                self.puller.changed().await;
            }
        };
        timeout(PATIENCE, forgotten).await.unwrap();
    }

    pub(crate) async fn seen(&self) -> SourceSeen {
        self.puller.sources().await.unwrap().sources.remove("home").unwrap()
    }

    async fn plan(&self) -> Plan<SourceStep> {
        let snapshot = self.manifests.look().await.unwrap();
        let source = |manifest: &Manifest| match manifest {
            Manifest::ConfigSource(it) => Some(ConfigSource::clone(it)),
            _ => None,
        };
        let manifests = snapshot.declared.values().filter_map(|it| source(&it.manifest)).collect();
        let desired = Desired { manifests, ..Desired::default() };
        Sources::<Puller>::plan(&desired, &self.puller.sources().await.unwrap())
    }

    /// Returns what keeps the source out, and the sentence.
    pub(crate) async fn waiting(&self) -> Option<(String, String)> {
        self.plan().await.waiting.pop().map(|it| (it.reason, it.message))
    }

    /// Returns what would be changed.
    pub(crate) async fn step(&self) -> Option<String> {
        self.plan().await.steps.pop().map(|it| it.changes.join(", "))
    }

    /// Takes what is planned to be taken, and returns its revision, or what keeps it out.
    pub(crate) async fn take(&self) -> Result<String, String> {
        let mut plan = self.plan().await;
        if let Some(waiting) = plan.waiting.pop() {
            return Err(waiting.message);
        }
        let step = plan.steps.pop().ok_or("there is nothing to take")?;
        self.puller.take("home", &step.revision).await.map_err(|error| error.message)?;
        Ok(step.revision)
    }

    /// Returns who changed the directory through the repository so far.
    pub(crate) async fn authors(&mut self) -> Vec<String> {
        let mut authors = Vec::new();
        while let Ok(change) = self.changes.try_recv() {
            if let Who::Committer { author, .. } = change.by.who {
                authors.push(author.to_string());
            }
        }
        authors
    }

    pub(crate) fn git(&self, words: &[&str]) -> String {
        self.git_with(&[], words)
    }

    fn git_with(&self, variables: &[(&str, &Path)], words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(self.remote()).args(words).stdin(Stdio::null());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Anna").env(format!("GIT_{role}_EMAIL"), "anna@example.org");
        }
        let said = command.envs(variables.iter().copied()).output().unwrap();
        assert!(said.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn remove(&self, name: &str) {
        self.git(&["rm", "--quiet", name]);
    }

    fn stage(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.remote().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
    }

    pub(crate) fn commit(&self, files: &[(&str, &str)]) {
        self.stage(files);
        self.git(&["commit", "--quiet", "--message", "A change"]);
    }

    pub(crate) fn commit_signed(&self, files: &[(&str, &str)], key: &Key) {
        self.stage(files);
        let mut words: Vec<&str> = key.settings.iter().flat_map(|setting| ["-c", setting]).collect();
        words.extend(["commit", "--quiet", "--gpg-sign", "--message", "A signed change"]);
        self.git_with(&[("GNUPGHOME", &key.home)], &words);
    }

    pub(crate) fn ssh_key(&self, name: &str) -> Key {
        let path = self.dir.path().join(name);
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned();
        let settings = vec!["gpg.format=ssh".to_owned(), format!("user.signingKey={}", path.display())];
        Key { public, settings, home: self.dir.path().to_owned() }
    }

    pub(crate) fn openpgp_key(&self, name: &str) -> Key {
        let home = self.dir.path().join(format!("gnupg-{name}"));
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let address = format!("{name}@example.org");
        let gpg = |words: &[&str]| {
            let said =
                Command::new("gpg").env("GNUPGHOME", &home).args(["--batch", "--quiet"]).args(words).output().unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            String::from_utf8(said.stdout).unwrap()
        };
        gpg(&["--passphrase", "", "--quick-generate-key", &address, "ed25519", "sign", "never"]);
        let public = gpg(&["--armor", "--export", &address]);
        Key { public, settings: vec![format!("user.signingKey={address}")], home }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("gnupg-") {
                // The agent that holds the key would stay.
                drop(Command::new("gpgconf").env("GNUPGHOME", entry.path()).args(["--kill", "all"]).status());
            }
        }
    }
}

fn walk(root: &Path, inside: &Path, all: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(inside)).unwrap() {
        let path = inside.join(entry.unwrap().file_name());
        let metadata = fs::symlink_metadata(root.join(&path)).unwrap();
        if metadata.is_dir() {
            walk(root, &path, all);
        } else {
            let text = fs::read(root.join(&path)).unwrap_or_default();
            all.push((path.display().to_string(), String::from_utf8_lossy(&text).into_owned()));
        }
    }
}
