//! The directory of manifests: what is read, what is broken, what is kept, on real files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test plays the person at the files")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Arc,
    time::Duration,
};

use piccolo_agent::manifests::{Manifests, Snapshot, reason};
use piccolo_schema::{Container, Kind};
use tempfile::TempDir;
use tokio::sync::watch;

fn text(name: &str, image: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Container\"\n\n[metadata]\nname = \"{name}\"\n\n[spec]\nimage = \"{image}\"\n"
    )
}

fn image(snapshot: &Snapshot, name: &str) -> Option<String> {
    let desired = snapshot.desired::<Container>();
    desired.manifests.iter().find(|it| it.metadata.name.as_deref() == Some(name)).map(|it| it.spec.image.clone())
}

/// Waits until the directory says this.
async fn until(seen: &mut watch::Receiver<Arc<Snapshot>>, what: &str, wanted: impl Fn(&Snapshot) -> bool) {
    let waited =
        tokio::time::timeout(Duration::from_secs(20), seen.wait_for(|it| wanted(it))).await.map(|it| it.is_ok());
    assert!(waited == Ok(true), "{what}: {:#?}", seen.borrow());
}

/// A directory with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

async fn open(root: &Path) -> Manifests {
    Manifests::open(root.to_owned()).await
}

fn reasons(snapshot: &Snapshot) -> Vec<&'static str> {
    snapshot.problems.iter().map(|problem| problem.reason).collect()
}

#[tokio::test]
async fn manifests_are_found_at_every_depth_and_editors_files_are_not() {
    let root = tree(&[
        ("web.toml", &text("web", "a:1")),
        ("a/b/c/deep.toml", &text("deep", "a:1")),
        (".hidden.toml", "nonsense"),
        (".git/x.toml", "nonsense"),
        ("#web.toml", "nonsense"),
        ("web.toml~", "nonsense"),
        ("notes.txt", "nonsense"),
    ]);
    let snapshot = open(root.path()).await.snapshot();
    assert_eq!(snapshot.declared.len(), 2);
    assert_eq!(reasons(&snapshot), [""; 0]);
    assert!(snapshot.desired::<Container>().complete);
}

#[tokio::test]
async fn each_broken_file_is_named_and_tears_nothing_down() {
    let outside = tree(&[("x.toml", &text("outside", "a:1"))]);
    let root = tree(&[("good.toml", &text("good", "a:1")), ("half.toml", "apiVersion = \"picc"), ("empty.toml", "")]);
    fs::write(root.path().join("latin.toml"), b"# \xe9\n").unwrap();
    fs::write(root.path().join("large.toml"), vec![b'#'; 10_000_000]).unwrap();
    symlink(outside.path().join("x.toml"), root.path().join("link.toml")).unwrap();
    symlink(outside.path(), root.path().join("linked")).unwrap();
    symlink("nowhere", root.path().join("dangling.toml")).unwrap();
    symlink(".", root.path().join("loop")).unwrap();
    let snapshot = open(root.path()).await.snapshot();
    let found: Vec<_> = snapshot.problems.iter().map(|it| (it.path.to_str().unwrap(), it.reason)).collect();
    assert_eq!(
        found,
        [
            ("dangling.toml", reason::MANIFEST_UNREADABLE),
            ("empty.toml", reason::MANIFEST_INVALID),
            ("half.toml", reason::MANIFEST_INVALID),
            ("large.toml", reason::TOO_LARGE),
            ("latin.toml", reason::NOT_UTF8),
            ("link.toml", reason::OUTSIDE_TREE),
            ("linked", reason::OUTSIDE_TREE),
        ]
    );
    assert_eq!(snapshot.declared.len(), 1);
    assert!(snapshot.complete.values().all(|complete| !complete));
}

#[tokio::test]
async fn a_link_within_the_tree_is_followed() {
    let root = tree(&[(".data/web.toml", &text("web", "a:1"))]);
    symlink(".data/web.toml", root.path().join("web.toml")).unwrap();
    let snapshot = open(root.path()).await.snapshot();
    assert_eq!(image(&snapshot, "web").unwrap(), "a:1");
}

#[tokio::test]
async fn a_broken_file_of_a_known_kind_leaves_the_others_complete() {
    let broken = text("web", "a:1").replace("image =", "imagine =");
    let snapshot = open(tree(&[("web.toml", &broken)]).path()).await.snapshot();
    assert!(!snapshot.complete[&Kind::Container]);
    assert!(snapshot.complete[&Kind::Network]);
    assert_eq!(snapshot.problems[0].name.as_deref(), Some("web"));
}

#[tokio::test]
async fn the_last_good_manifest_of_a_broken_file_stays() {
    let root = tree(&[("web.toml", &text("web", "a:1"))]);
    let manifests = open(root.path()).await;
    let mut seen = manifests.subscribe();
    fs::write(root.path().join("web.toml"), "apiVersion = ").unwrap();
    until(&mut seen, "broken", |it| it.problems.len() == 1).await;
    let stale = manifests.snapshot();
    assert_eq!(image(&stale, "web").unwrap(), "a:1");
    assert!(stale.declared[&(Kind::Container, "web".to_owned())].stale.is_some());
    assert!(!stale.complete[&Kind::Container]);
    fs::rename(root.path().join("web.toml"), root.path().join("renamed.toml")).unwrap();
    until(&mut seen, "renamed", |it| it.problems.iter().any(|it| it.path == Path::new("renamed.toml"))).await;
    assert_eq!(image(&manifests.snapshot(), "web").unwrap(), "a:1");
    fs::write(root.path().join("renamed.toml"), text("web", "a:2")).unwrap();
    until(&mut seen, "repaired", |it| image(it, "web").as_deref() == Some("a:2") && it.problems.is_empty()).await;
    assert!(manifests.snapshot().complete[&Kind::Container]);
}

#[tokio::test]
async fn a_duplicate_is_an_error_on_both_and_changes_nothing() {
    let root = tree(&[("web.toml", &text("web", "a:1"))]);
    let manifests = open(root.path()).await;
    let mut seen = manifests.subscribe();
    fs::write(root.path().join("again.toml"), text("web", "a:2")).unwrap();
    until(&mut seen, "duplicate", |it| reasons(it) == [reason::DUPLICATE; 2]).await;
    let snapshot = manifests.snapshot();
    assert_eq!(image(&snapshot, "web").unwrap(), "a:1");
    assert!(!snapshot.complete[&Kind::Container]);
    let fresh = open(root.path()).await.snapshot();
    assert_eq!((fresh.declared.len(), fresh.complete[&Kind::Container]), (0, false));
    fs::remove_file(root.path().join("web.toml")).unwrap();
    until(&mut seen, "one is left", |it| image(it, "web").as_deref() == Some("a:2") && it.problems.is_empty()).await;
}

#[tokio::test]
async fn a_missing_or_unreadable_directory_is_no_wish() {
    let above = TempDir::new().unwrap();
    let root = above.path().join("not/yet/there");
    let manifests = open(&root).await;
    let mut seen = manifests.subscribe();
    assert_eq!(reasons(&manifests.snapshot()), [reason::DIRECTORY_UNREADABLE]);
    assert!(manifests.snapshot().complete.values().all(|complete| !complete));
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("web.toml"), text("web", "a:1")).unwrap();
    until(&mut seen, "made", |it| it.problems.is_empty() && image(it, "web").is_some()).await;
    fs::remove_dir_all(&root).unwrap();
    until(&mut seen, "gone", |it| reasons(it).contains(&reason::DIRECTORY_UNREADABLE)).await;
    fs::create_dir(&root).unwrap();
    fs::write(root.join("web.toml"), text("web", "a:2")).unwrap();
    until(&mut seen, "back", |it| it.problems.is_empty() && image(it, "web").as_deref() == Some("a:2")).await;
}

#[tokio::test]
async fn a_swapped_directory_is_watched_anew() {
    let above = TempDir::new().unwrap();
    let (root, next) = (above.path().join("manifests"), above.path().join("next"));
    for (directory, image) in [(&root, "a:1"), (&next, "a:2")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("web.toml"), text("web", image)).unwrap();
    }
    let manifests = open(&root).await;
    let mut seen = manifests.subscribe();
    fs::rename(&root, above.path().join("old")).unwrap();
    fs::rename(&next, &root).unwrap();
    until(&mut seen, "swapped", |it| image(it, "web").as_deref() == Some("a:2") && it.problems.is_empty()).await;
    fs::write(root.join("web.toml"), text("web", "a:3")).unwrap();
    until(&mut seen, "watched", |it| image(it, "web").as_deref() == Some("a:3")).await;
}

#[tokio::test]
async fn every_way_of_saving_is_noticed() {
    let root = tree(&[("web.toml", &text("web", "a:0"))]);
    let manifests = open(root.path()).await;
    let mut seen = manifests.subscribe();
    let (file, backup) = (root.path().join("web.toml"), root.path().join("web.toml~"));
    type Save<'a> = &'a dyn Fn(&str);
    let ways: [(&str, Save<'_>); 4] = [
        ("truncate and write", &|text| fs::write(&file, text).unwrap()),
        ("atomic rename", &|text| {
            let next = root.path().join(".web.toml.new");
            fs::write(&next, text).unwrap();
            fs::rename(next, &file).unwrap();
        }),
        ("rename and write, as vim does", &|text| {
            fs::rename(&file, &backup).unwrap();
            fs::write(&file, text).unwrap();
            fs::remove_file(&backup).unwrap();
        }),
        ("remove and write", &|text| {
            fs::remove_file(&file).unwrap();
            fs::write(&file, text).unwrap();
        }),
    ];
    for (n, (way, save)) in ways.iter().enumerate() {
        let image_now = format!("a:{}", n + 1);
        save(&text("web", &image_now));
        until(&mut seen, way, |it| image(it, "web").as_deref() == Some(&image_now) && it.problems.is_empty()).await;
        assert_eq!(manifests.snapshot().declared.len(), 1);
    }
}

#[tokio::test]
async fn directories_may_move() {
    let root = tree(&[("a/web.toml", &text("web", "a:1"))]);
    let elsewhere = tree(&[("new/deep/db.toml", &text("db", "a:1"))]);
    let manifests = open(root.path()).await;
    let mut seen = manifests.subscribe();
    fs::rename(root.path().join("a"), root.path().join("b")).unwrap();
    let at = |it: &Snapshot, path: &str| it.declared.values().any(|it| it.path == Path::new(path));
    until(&mut seen, "within", |it| at(it, "b/web.toml")).await;
    fs::write(root.path().join("b/web.toml"), text("web", "a:2")).unwrap();
    until(&mut seen, "watched after the move", |it| image(it, "web").as_deref() == Some("a:2")).await;
    fs::rename(elsewhere.path().join("new"), root.path().join("new")).unwrap();
    until(&mut seen, "into", |it| at(it, "new/deep/db.toml")).await;
    fs::write(root.path().join("new/deep/db.toml"), text("db", "a:2")).unwrap();
    until(&mut seen, "watched after it came", |it| image(it, "db").as_deref() == Some("a:2")).await;
    fs::rename(root.path().join("b"), elsewhere.path().join("b")).unwrap();
    until(&mut seen, "out of", |it| it.declared.len() == 1).await;
}

#[tokio::test]
async fn a_slow_writer_is_waited_for_and_a_storm_is_cut_short() {
    let root = tree(&[("web.toml", &text("web", "a:1"))]);
    let manifests = open(root.path()).await;
    let mut seen = manifests.subscribe();
    let (first, second) = (text("web", "a:2"), "\n# the end\n");
    {
        use std::io::Write;
        let mut file = fs::File::create(root.path().join("web.toml")).unwrap();
        file.write_all(&first.as_bytes()[..20]).unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        file.write_all(&first.as_bytes()[20..]).unwrap();
        file.write_all(second.as_bytes()).unwrap();
    }
    let first_seen = tokio::time::timeout(Duration::from_secs(20), seen.changed()).await;
    assert!(first_seen.is_ok());
    assert_eq!(image(&manifests.snapshot(), "web").unwrap(), "a:2", "half a file was read");
    assert_eq!(reasons(&manifests.snapshot()), [""; 0]);

    let noise = root.path().join("noise.txt");
    let storm = tokio::spawn(async move {
        loop {
            fs::write(&noise, "x").unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    fs::write(root.path().join("web.toml"), text("web", "a:3")).unwrap();
    until(&mut seen, "storm", |it| image(it, "web").as_deref() == Some("a:3")).await;
    storm.abort();
}

#[tokio::test]
async fn a_file_that_may_not_be_read_keeps_its_manifest() {
    let root = tree(&[("web.toml", &text("web", "a:1"))]);
    let file = root.path().join("web.toml");
    let manifests = open(root.path()).await;
    let mut seen = manifests.subscribe();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        // Root reads everything; a directory in its place does what missing rights do.
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        until(&mut seen, "a directory holds no manifest", |it| it.declared.is_empty()).await;
        return;
    }
    until(&mut seen, "unreadable", |it| reasons(it) == [reason::MANIFEST_UNREADABLE]).await;
    assert_eq!(image(&manifests.snapshot(), "web").unwrap(), "a:1");
}

#[tokio::test]
async fn a_second_look_at_many_files_is_cheap() {
    let root = TempDir::new().unwrap();
    for n in 0..10_001 {
        fs::write(root.path().join(format!("c{n:05}.toml")), text(&format!("c{n}"), "a:1")).unwrap();
    }
    let manifests = open(root.path()).await;
    let snapshot = manifests.snapshot();
    assert_eq!(snapshot.declared.len(), 10_000);
    assert_eq!(reasons(&snapshot), [reason::TOO_MANY]);
    assert!(!snapshot.complete[&Kind::Container]);
    let mut seen = manifests.subscribe();
    fs::write(root.path().join("c00000.toml"), text("c0", "a:2")).unwrap();
    until(&mut seen, "one of many", |it| image(it, "c0").as_deref() == Some("a:2")).await;
}
