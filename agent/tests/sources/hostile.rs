//! Repositories of somebody who means harm: nothing of them comes in, and nothing goes.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use crate::scene::{Scene, container};

/// What a tree holds beside an honest manifest: mode, name, content.
type Entry = (&'static str, &'static [u8], &'static str);

/// Trees that are not even fetched, or of which nothing is taken.
const TREES: &[(&str, &[Entry])] = &[
    ("a way up", &[("40000", b"..", "")]),
    ("a way up in a name", &[("100644", b"../../a.toml", "m")]),
    ("an absolute name", &[("100644", b"/etc/a.toml", "m")]),
    ("a repository in it", &[("40000", b".git", "")]),
    ("a repository in capitals", &[("40000", b".GIT", "")]),
    ("a short name of a repository", &[("40000", b"git~1", "")]),
    ("a link that is called a manifest", &[("120000", b"a.toml", "/etc/shadow")]),
    ("a link to a manifest elsewhere", &[("120000", b"a.toml", "../../../home.toml")]),
    ("a program that is called a manifest", &[("100755", b"a.toml", "m")]),
    ("a submodule that is called a manifest", &[("160000", b"a.toml", "")]),
    (
        "modules with an option for an address",
        &[("100644", b".gitmodules", "[submodule \"x\"]\npath = x\nurl = --upload-pack=/bin/false\n")],
    ),
    ("a name like an option", &[("100644", b"--config.toml", "m")]),
    ("a name with a line break", &[("100644", b"a\n.toml", "m")]),
    ("a name that clears the screen", &[("100644", b"a\x1b[2J.toml", "m")]),
    ("a name that is turned around", &[("100644", "a\u{202e}b.toml".as_bytes(), "m")]),
    ("a name with a backslash", &[("100644", b"x\\a.toml", "m")]),
    ("names that are one elsewhere", &[("100644", b"A.toml", "m"), ("100644", b"a.toml", "n")]),
    ("one name twice", &[("100644", b"a.toml", "m"), ("100644", b"a.toml", "n")]),
    ("no text", &[("100644", b"a.toml", "\u{0}\u{1}\u{2}")]),
    ("no manifest", &[("100644", b"a.toml", "hello")]),
    ("a kind that there is not", &[("100644", b"a.toml", "kind")]),
    ("another source", &[("100644", b"a.toml", "source")]),
    ("rights without a grant", &[("100644", b"a.toml", "privileged")]),
    ("the name of what is here already", &[("100644", b"a.toml", "own")]),
    ("one thing twice", &[("100644", b"a.toml", "m"), ("100644", b"b.toml", "m")]),
    ("a manifest for this very source", &[("100644", b"home.toml", "home")]),
    ("a file that is too large", &[("100644", b"a.toml", "large")]),
];

fn text(content: &str) -> Vec<u8> {
    let source = |name: &str| {
        container(name, "x:1")
            .replace("Container", "ConfigSource")
            .replace("spec.image = \"x:1\"", "spec.url = \"file:///etc\"")
    };
    match content {
        "m" | "n" => container(&format!("{content}{content}"), "x:1").into_bytes(),
        "own" => container("own", "evil:1").into_bytes(),
        "kind" => container("aa", "x:1").replace("Container", "Pod").into_bytes(),
        "source" => source("more").into_bytes(),
        "home" => source("home").into_bytes(),
        "privileged" => (container("aa", "x:1") + "spec.privileged = true\n").into_bytes(),
        "large" => vec![b'#'; (1 << 20) + 1],
        text => text.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn nothing_of_a_hostile_repository_comes_in() {
    let mut scene = Scene::new().await;
    scene.by_hand("own.toml", &container("own", "x:1"));
    scene.commit(&[("web.toml", &container("web", "x:1"))]);
    scene.ask("").await;
    scene.take().await.unwrap();
    let (before, honest) = (scene.without_source(), scene.head());
    let web = write(&scene, "blob", container("web", "x:2").as_bytes());
    for (name, entries) in TREES {
        let tree = tree(&scene, &web, entries);
        aim(&scene, &tree, &honest);
        held(&mut scene, name, &before).await;
    }
    // A tree of trees that doubles at each level, which nobody can list.
    let mut bomb = write(&scene, "tree", &entry("100644", b"a.toml", &web));
    for _ in 0..30 {
        let both = [entry("40000", b"a", &bomb), entry("40000", b"b", &bomb)].concat();
        bomb = write(&scene, "tree", &both);
    }
    aim(&scene, &bomb, &honest);
    held(&mut scene, "a tree that unfolds", &before).await;
    let many: Vec<u8> = (0..10_001).flat_map(|n| entry("100644", format!("{n:05}.toml").as_bytes(), &web)).collect();
    aim(&scene, &write(&scene, "tree", &many), &honest);
    held(&mut scene, "more than 10,000 manifests", &before).await;
    let words: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(70 << 20).collect();
    let noise = write(&scene, "blob", &words);
    aim(
        &scene,
        &write(&scene, "tree", &[entry("100644", b"noise", &noise), entry("100644", b"web.toml", &web)].concat()),
        &honest,
    );
    held(&mut scene, "a pack that is too large", &before).await;
    // An honest one is taken after all that.
    aim(&scene, &write(&scene, "tree", &entry("100644", b"web.toml", &web)), &honest);
    scene.ask("").await;
    assert_eq!(scene.step().await.as_deref(), Some("change container/web"));
}

/// Asks, and sees that nothing would be and nothing was changed.
async fn held(scene: &mut Scene, name: &str, before: &[(String, String)]) {
    scene.ask("").await;
    assert_eq!(scene.step().await, None, "{name}");
    let seen = scene.seen().await;
    let is_told = seen.failure.is_some() || seen.offer.is_some_and(|offer| !offer.refused.is_empty());
    assert!(is_told, "{name}");
    assert!(scene.take().await.is_err() || seen.failure.is_some(), "{name}");
    assert_eq!(scene.without_source(), before, "{name}");
}

/// Makes the branch of the repository a commit of this tree, on top of the honest one.
fn aim(scene: &Scene, tree: &str, parent: &str) {
    let person = "Eve <eve@example.org> 1700000000 +0000";
    let text = format!("tree {tree}\nparent {parent}\nauthor {person}\ncommitter {person}\n\nMine\n");
    let commit = write(scene, "commit", text.as_bytes());
    fs::write(scene.remote().join(".git/refs/heads/main"), commit + "\n").unwrap();
}

fn tree(scene: &Scene, web: &str, entries: &[Entry]) -> String {
    let inner = write(scene, "tree", &entry("100644", b"a.toml", web));
    let mut bytes = Vec::new();
    for (mode, name, content) in entries {
        let object = match *mode {
            "40000" => inner.clone(),
            "160000" => "1".repeat(40),
            _ => write(scene, "blob", &text(content)),
        };
        bytes.extend(entry(mode, name, &object));
    }
    bytes.extend(entry("100644", b"web.toml", web));
    write(scene, "tree", &bytes)
}

fn entry(mode: &str, name: &[u8], object: &str) -> Vec<u8> {
    let digits = (0..20).map(|at| u8::from_str_radix(&object[2 * at..2 * at + 2], 16).unwrap());
    [mode.as_bytes(), b" ", name, b"\0"].concat().into_iter().chain(digits).collect()
}

/// Writes an object without asking whether it makes sense.
fn write(scene: &Scene, kind: &str, bytes: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(scene.remote())
        .args(["hash-object", "-t", kind, "--literally", "-w", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success());
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}
