#![allow(clippy::disallowed_methods, reason = "tests write files")]

use std::time::Duration;

use piccolo_schema::{Kind, Role};
use tempfile::TempDir;

use super::*;
use crate::manifests::{Door, Expect, Texts, edit::Content};

fn text(name: &str, image: &str) -> Arc<str> {
    format!("# Mine.\napiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Container\"\nmetadata.name = \"{name}\"\nspec.image = \"{image}\"\n").into()
}

fn shown(tree: &mut Tree) -> Texts {
    tree.rescan().declared.values().map(|it| (it.path.clone(), it.text.clone())).collect()
}

/// A tree with three manifests, as an agent finds it at its start.
fn scene() -> (TempDir, Tree, Texts) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["aa", "bb", "cc"] {
        fs::write(dir.path().join(format!("{name}.toml")), &*text(name, "x:1")).unwrap();
    }
    let mut tree = open(&dir);
    let old = shown(&mut tree);
    (dir, tree, old)
}

fn open(dir: &TempDir) -> Tree {
    let mut tree = Tree::new(dir.path().to_owned());
    tree.tidy();
    tree.rescan();
    tree.resume_trial();
    tree
}

fn terms() -> Option<Terms> {
    Some(Terms { within: Duration::from_secs(100), door: Door::Api })
}

fn put(tree: &mut Tree, name: &str, image: &str) -> Result<(), WriteError> {
    let content = Content::from_text(Kind::Container, name, &text(name, image)).unwrap();
    tree.on_terms(terms(), Role::Admin, |tree| tree.put(&content, &Expect::Anything)).map(drop)
}

fn delete(tree: &mut Tree, name: &str) {
    tree.on_terms(terms(), Role::Admin, |tree| tree.delete(Kind::Container, name, &Expect::Anything)).unwrap();
}

/// Changes, makes and removes one each.
fn change(tree: &mut Tree) -> String {
    put(tree, "aa", "x:2").unwrap();
    delete(tree, "bb");
    put(tree, "dd", "x:1").unwrap();
    id(tree)
}

fn id(tree: &Tree) -> String {
    tree.trials.pending.as_ref().unwrap().id.clone()
}

#[test]
fn everything_that_joined_is_put_back_to_the_letter() {
    let (dir, mut tree, old) = scene();
    let id = change(&mut tree);
    put(&mut tree, "aa", "x:3").unwrap();
    assert_eq!(shown(&mut tree).len(), 3);
    tree.put_back_if_due(&id).unwrap();
    assert_ne!(shown(&mut tree), old, "its time has not come");
    tree.put_back(&id).unwrap();
    assert_eq!(shown(&mut tree), old);
    let ended = tree.trials.ended.clone().unwrap();
    assert_eq!((ended.confirmed, ended.left.len()), (false, 0));
    // Nobody is there to confirm the removal of what the change made.
    assert!(tree.consented.contains(&(Kind::Container, "dd".to_owned())));
    assert!(!dir.path().join(TRIAL).exists());
}

#[test]
fn a_rollback_on_trial_is_put_back_too() {
    let (_dir, mut tree, old) = scene();
    let base = tree.rescan();
    let new: Texts =
        [(PathBuf::from("a/b.toml"), text("zz", "x:1")), (PathBuf::from("aa.toml"), text("aa", "x:9"))].into();
    tree.on_terms(terms(), Role::Admin, |tree| tree.replace(&new, &base)).unwrap();
    assert_eq!(shown(&mut tree), new);
    let id = id(&tree);
    tree.put_back(&id).unwrap();
    assert_eq!(shown(&mut tree), old);
}

#[test]
fn what_is_confirmed_stays() {
    let (dir, mut tree, _) = scene();
    let id = change(&mut tree);
    let new = shown(&mut tree);
    assert!(matches!(tree.confirm("change-other"), Err(WriteError::NoTrial { .. })));
    tree.confirm(&id).unwrap();
    assert!(matches!(tree.put_back(&id), Err(WriteError::NoTrial { .. })));
    assert_eq!(shown(&mut open(&dir)), new);
}

#[test]
fn only_what_joins_is_written_meanwhile() {
    let (_dir, mut tree, _) = scene();
    let id = change(&mut tree);
    let content = Content::from_text(Kind::Container, "cc", &text("cc", "x:2")).unwrap();
    let refused = tree.on_terms(None, Role::Admin, |tree| tree.put(&content, &Expect::Anything));
    assert!(matches!(refused, Err(WriteError::OnTrial { id: named }) if named == id));
    tree.confirm(&id).unwrap();
    tree.on_terms(None, Role::Admin, |tree| tree.put(&content, &Expect::Anything)).unwrap();
    assert!(tree.trials.pending.is_none());
}

#[test]
fn killed_between_what_is_written_down_and_the_change_nothing_is_lost() {
    let (dir, mut tree, old) = scene();
    tree.terms = terms();
    tree.try_out([("aa.toml".into(), Tried::new(Some(text("aa", "x:1")), Some(&text("aa", "x:2"))))]).unwrap();
    // Killed; the next agent reads.
    let mut next = open(&dir);
    let id = id(&next);
    next.put_back(&id).unwrap();
    assert_eq!(shown(&mut next), old);
    assert!(next.trials.ended.unwrap().left.is_empty());
}

#[test]
fn killed_after_any_step_of_the_way_back_it_is_gone_to_the_end() {
    for steps in 0..=4_usize {
        let (dir, mut tree, old) = scene();
        let id = change(&mut tree);
        let trial = tree.trials.pending.clone().unwrap();
        let replacements: Vec<_> = trial.files().map(|(path, tried)| replacement(path, tried)).collect();
        if steps > 0 {
            tree.intend(&replacements).unwrap();
        }
        for it in replacements.iter().take(steps.saturating_sub(1)) {
            match &it.text {
                Some(text) => fs::write(dir.path().join(&it.path), text).unwrap(),
                None => fs::remove_file(dir.path().join(&it.path)).unwrap(),
            }
        }
        let mut next = open(&dir);
        next.put_back(&id).unwrap();
        assert_eq!(shown(&mut next), old, "after {steps} steps");
        assert!(next.trials.ended.unwrap().left.is_empty(), "after {steps} steps");
        assert!(open(&dir).trials.pending.is_none());
    }
}

#[test]
fn the_work_of_a_hand_is_never_lost() {
    let (dir, mut tree, _) = scene();
    let id = change(&mut tree);
    let file = |name: &str| dir.path().join(name);
    // One that was changed and is changed again, one that was removed and is declared elsewhere, one that is new.
    fs::write(file("aa.toml"), &*text("aa", "by-hand:1")).unwrap();
    fs::write(file("b2.toml"), &*text("bb", "by-hand:1")).unwrap();
    fs::write(file("ee.toml"), &*text("ee", "by-hand:1")).unwrap();
    let mut next = open(&dir);
    next.put_back(&id).unwrap();
    let names: Vec<_> = shown(&mut next).into_keys().collect();
    assert_eq!(names, ["aa.toml", "b2.toml", "cc.toml", "ee.toml"].map(PathBuf::from));
    assert!(fs::read_to_string(file("aa.toml")).unwrap().contains("by-hand:1"));
    assert_eq!(next.trials.ended.unwrap().left, ["aa.toml", "bb.toml"].map(PathBuf::from));
}

#[test]
fn a_hand_between_two_writes_is_what_it_goes_back_to() {
    let (dir, mut tree, _) = scene();
    put(&mut tree, "aa", "x:2").unwrap();
    fs::write(dir.path().join("aa.toml"), &*text("aa", "by-hand:1")).unwrap();
    put(&mut tree, "aa", "x:3").unwrap();
    let id = id(&tree);
    tree.put_back(&id).unwrap();
    assert_eq!(shown(&mut tree)[Path::new("aa.toml")], text("aa", "by-hand:1"));
}

#[test]
fn what_can_not_be_written_down_is_not_done() {
    let (dir, mut tree, old) = scene();
    fs::create_dir(dir.path().join(TRIAL)).unwrap();
    assert!(matches!(put(&mut tree, "aa", "x:2"), Err(WriteError::Io { .. })));
    assert_eq!(shown(&mut tree), old);
    assert!(tree.trials.pending.is_none());
}
