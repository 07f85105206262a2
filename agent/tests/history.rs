//! The history of the manifests: every accepted change a commit with its author, and nothing else.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test plays the person at the files")]

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use piccolo_agent::{
    history::{Digests, History, Hooks, Resolved, Revision},
    manifests::{By, Door, Expect, Manifests, Who},
};
use piccolo_schema::Kind;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A directory of manifests with its history.
struct House {
    dir: TempDir,
    manifests: Manifests,
    history: History,
    /// What containers run.
    digests: watch::Sender<Digests>,
    /// How often the recorder said how it is, and what it said last.
    told: watch::Receiver<(u64, bool, String)>,
    stop: CancellationToken,
    recording: tokio::task::JoinHandle<()>,
}

impl House {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("piccolo")).unwrap();
        Self::open(dir).await
    }

    async fn open(dir: TempDir) -> Self {
        let (changes, queue) = mpsc::channel(64);
        let (digests, told_digests) = watch::channel(Digests::new());
        let (tell, told) = watch::channel((0, true, String::new()));
        let report = move |well, words| tell.send_modify(|it| *it = (it.0 + 1, well, words));
        let root = dir.path().join("piccolo");
        let hooks = Hooks { program: "/bin/false".into(), socket: dir.path().join("api.sock") };
        let (history, recorder) =
            History::open(dir.path().join("config.git"), root.clone(), hooks, queue, told_digests, Box::new(report));
        let stop = CancellationToken::new();
        let recording = tokio::spawn(recorder.run(stop.clone()));
        let manifests = Manifests::open_recorded(root, changes).await;
        Self { dir, manifests, history, digests, told, stop, recording }
    }

    /// Ends everything and begins again on the same disk.
    async fn restart(self) -> Self {
        let Self { dir, manifests, stop, recording, .. } = self;
        drop(manifests);
        stop.cancel();
        recording.await.unwrap();
        Self::open(dir).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("piccolo").join(name)
    }

    /// Writes a file as an editor does and has the directory looked at.
    async fn save(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
        self.look().await;
    }

    async fn look(&self) {
        self.manifests.consent([].into()).await;
    }

    /// Waits until these digests are noted on a revision.
    async fn until_noted(&self, revision: &str, digests: &Digests) {
        let noted = async { while self.history.digests(revision).await.unwrap() != *digests {} };
        tokio::time::timeout(Duration::from_secs(30), noted).await.unwrap();
    }

    /// Counts how often something was noted.
    fn notes(&self) -> usize {
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(self.dir.path().join("config.git")).args(["rev-list", "--count", "refs/notes/digests"]);
        String::from_utf8(git.output().unwrap().stdout).unwrap().trim().parse().unwrap()
    }

    /// Waits until the history has this many revisions, and returns them.
    async fn revisions(&mut self, many: usize) -> Vec<Revision> {
        let wait = async {
            loop {
                self.told.borrow_and_update();
                let revisions = self.history.log(1000).await.unwrap();
                if revisions.len() >= many {
                    return revisions;
                }
                self.told.changed().await.unwrap();
            }
        };
        let revisions = tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
        assert_eq!(revisions.len(), many, "{revisions:#?}");
        revisions
    }
}

fn container(name: &str, image: &str) -> String {
    format!(
        "# Mine.\napiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Container\"\nmetadata.name = \"{name}\"\nspec.image = \"{image}\"\n"
    )
}

fn told(revisions: &[Revision]) -> Vec<(&str, &str)> {
    revisions.iter().map(|it| (&*it.message, &*it.body)).collect()
}

#[tokio::test]
async fn every_change_by_a_hand_is_a_commit() {
    let mut house = House::new().await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    house.save("web.toml", &container("web", "nginx:2")).await;
    fs::create_dir(house.file("sub")).unwrap();
    fs::rename(house.file("web.toml"), house.file("sub/a \"b\"\n.toml")).unwrap();
    house.look().await;
    fs::remove_file(house.file("sub/a \"b\"\n.toml")).unwrap();
    house.look().await;
    let revisions = house.revisions(4).await;
    let hand = "Door: file";
    let messages = ["remove", "move", "change", "add"].map(|verb| format!("{verb} container/web"));
    assert_eq!(told(&revisions), messages.iter().map(|it| (&**it, hand)).collect::<Vec<_>>());
    assert!(revisions.iter().all(|it| it.author == revisions[0].author && !it.author.is_empty()));
    let diff = house.history.diff("main~3", "main~2").await.unwrap();
    assert!(diff.contains("\n-spec.image = \"nginx:1\"\n+spec.image = \"nginx:2\"\n"), "{diff}");
}

/// Returns a container `web` of this image and digest.
fn web(image: &str, digest: &str) -> Digests {
    Digests::from([("web".to_owned(), Resolved { image: image.to_owned(), digest: digest.to_owned() })])
}

#[tokio::test]
async fn what_ran_is_noted_with_the_revision() {
    let mut house = House::new().await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    house.revisions(1).await;
    for digest in ["sha256:a", "sha256:b"] {
        house.digests.send_replace(web("nginx:1", digest));
        house.until_noted("main", &web("nginx:1", digest)).await;
    }
    house.save("web.toml", &container("web", "nginx:2")).await;
    house.revisions(2).await;
    house.digests.send_replace(web("nginx:2", "sha256:c"));
    house.until_noted("main", &web("nginx:2", "sha256:c")).await;
    assert_eq!(house.history.digests("main~1").await.unwrap(), web("nginx:1", "sha256:b"), "it has had its time");
    let diff = house.history.diff("main~1", "main").await.unwrap();
    let images = "diff digests\n--- a/digests\n+++ b/digests\n-container/web nginx:1 sha256:b\n+container/web nginx:2 sha256:c\n";
    assert!(diff.ends_with(images) && diff.contains("+spec.image"), "{diff}");
    let notes = house.notes();
    let mut house = house.restart().await;
    house.digests.send_replace(web("nginx:2", "sha256:c"));
    house.save("other.toml", &container("other", "a:1")).await;
    house.revisions(3).await;
    house.until_noted("main", &web("nginx:2", "sha256:c")).await;
    assert_eq!(house.notes(), notes + 1, "what is noted already is not noted again");
}

#[tokio::test]
async fn a_writer_answers_for_its_own_change_alone() {
    let mut house = House::new().await;
    let web = container("web", "nginx:1");
    // Unheard of when the write begins.
    fs::write(house.file("db.toml"), container("db", "postgres:1")).unwrap();
    let by = By { door: Door::Api, who: Who::User(4_000_000) };
    let api = house.manifests.by(by);
    api.put_text(Kind::Container, "web", &web, Expect::Absent).await.unwrap();
    api.delete(Kind::Container, "web", Expect::Present).await.unwrap();
    let revisions = house.revisions(3).await;
    let all =
        [("remove container/web", "Door: api"), ("add container/web", "Door: api"), ("add container/db", "Door: file")];
    assert_eq!(told(&revisions), all);
    assert_eq!(revisions[0].author, "uid 4000000");
}

#[tokio::test]
async fn looking_makes_no_commit_and_neither_does_a_restart() {
    let mut house = House::new().await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    let first = house.revisions(1).await;
    for _ in 0..100 {
        house.look().await;
        fs::write(house.file("web.toml"), container("web", "nginx:1")).unwrap();
    }
    let mut house = house.restart().await;
    house.told.changed().await.unwrap();
    assert_eq!(house.revisions(1).await, first);
}

#[tokio::test]
async fn the_last_good_text_stays_while_a_file_is_broken() {
    let house = House::new().await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    house.save("web.toml", "kind = ").await;
    house.save("db.toml", &container("db", "postgres:1")).await;
    let mut house = house.restart().await;
    house.save("db.toml", &container("db", "postgres:2")).await;
    house.save("web.toml", &container("web", "nginx:2")).await;
    let revisions = house.revisions(4).await;
    let messages: Vec<_> = revisions.iter().map(|it| &*it.message).collect();
    assert_eq!(messages, ["change container/web", "change container/db", "add container/db", "add container/web"]);
}

#[tokio::test]
async fn what_changed_while_nobody_looked_is_found_at_the_start() {
    let mut house = House::new().await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    house.revisions(1).await;
    let path = house.file("web.toml");
    house.stop.cancel();
    (&mut house.recording).await.unwrap();
    fs::write(&path, container("web", "nginx:2")).unwrap();
    let mut house = House::open(house.dir).await;
    assert_eq!(house.revisions(2).await[0].message, "change container/web");
}

#[tokio::test]
async fn nothing_in_the_repository_is_run() {
    let mut house = House::new().await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    house.revisions(1).await;
    let (hooks, ran) = (house.dir.path().join("config.git/hooks"), house.dir.path().join("ran"));
    fs::create_dir_all(&hooks).unwrap();
    for hook in ["reference-transaction", "post-commit", "post-update", "pre-receive"] {
        fs::write(hooks.join(hook), format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(hooks.join(hook), executable).unwrap();
    }
    house.save("web.toml", &container("web", "nginx:2")).await;
    house.revisions(2).await;
    assert!(!ran.exists());
}

#[tokio::test]
async fn a_history_that_cannot_be_kept_is_told_and_stops_nothing() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("piccolo")).unwrap();
    fs::write(dir.path().join("config.git"), "in the way").unwrap();
    let mut house = House::open(dir).await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    let unwell = house.told.wait_for(|it| it.0 >= 2 && !it.1).await.unwrap().2.clone();
    assert!(unwell.starts_with("changes are not recorded"), "{unwell}");
    assert_eq!(house.manifests.snapshot().declared.len(), 1);
    fs::remove_file(house.dir.path().join("config.git")).unwrap();
    house.save("db.toml", &container("db", "postgres:1")).await;
    drop(house.told.wait_for(|it| it.1).await.unwrap());
    assert_eq!(house.revisions(1).await[0].message, "add container/db, add container/web");
}

#[tokio::test]
async fn a_revision_is_never_taken_for_an_option() {
    let mut house = House::new().await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    house.revisions(1).await;
    for name in ["--output=/tmp/x", "-p", "", "main:web.toml", "a b", "nobody", "main@{1}", "\0", &"a".repeat(200)] {
        let error = house.history.diff(name, "main").await.unwrap_err().to_string();
        assert!(error.contains("has no revision"), "{name}: {error}");
    }
}

#[tokio::test]
async fn many_writers_lose_nothing_and_are_all_told() {
    let mut house = House::new().await;
    let house_ref = Arc::new(house.manifests.clone());
    let writers = (0..60).map(|n| {
        let manifests = house_ref.by(By { door: Door::Api, who: Who::Unknown });
        tokio::spawn(async move {
            let name = format!("c{n}");
            manifests.put_text(Kind::Container, &name, &container(&name, "nginx:1"), Expect::Absent).await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let revisions = house.revisions(60).await;
    assert!(revisions.iter().all(|it| it.author == "api" && it.body == "Door: api"));
}

#[tokio::test]
async fn an_old_revision_comes_back_as_a_new_one() {
    let mut house = House::new().await;
    house.save("web.toml", &container("web", "nginx:1")).await;
    house.save("web.toml", &container("web", "nginx:2")).await;
    house.save("db.toml", &container("db", "postgres:1")).await;
    let first = house.revisions(3).await[2].revision.clone();
    let (name, texts) = house.history.texts("main~2").await.unwrap();
    assert_eq!(name, first);
    let api = house.manifests.by(By { door: Door::Api, who: Who::Unknown });
    api.replace(texts, house.manifests.snapshot()).await.unwrap();
    assert_eq!(fs::read_to_string(house.file("web.toml")).unwrap(), container("web", "nginx:1"));
    assert!(!house.file("db.toml").exists());
    let revisions = house.revisions(4).await;
    assert_eq!(told(&revisions)[0], ("change container/web, remove container/db", "Door: api"));
    assert_eq!(house.history.diff(&first, "main").await.unwrap(), "");
}
