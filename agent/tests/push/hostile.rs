//! What must not come in: each is refused, and neither a manifest nor the repository is another by one byte.

use std::{collections::BTreeSet, fs};

use crate::{
    crafted::{
        aa, alone, and_a_tag, entry, exponential, from_elsewhere, gone_again, gone_large, huge, imported, long_message,
        main_twice, manifest_tree, many, missing_parent, new_ref, odd_commit, refs, shallow, tag_on_main, text,
        too_large, twice, unrelated_merge, valid, with_pack, within, without_blob, without_tree,
    },
    forge::{Forge, NONE, Push, Way},
    machine::{Machine, container},
};

/// A name, how it is made, and a word of the refusal.
type Case = (&'static str, fn(&Forge<'_>) -> Push, &'static str);

/// Names of files that are refused, and why.
const NAMES: &[(&[u8], &str)] = &[
    (b".", "hasDot"),
    (b"..", "hasDotdot"),
    (b".git", "hasDotgit"),
    (b".GIT", "hasDotgit"),
    (b".git ", "hasDotgit"),
    (b".git.", "hasDotgit"),
    (b"git~1", "hasDotgit"),
    (b".git::$INDEX_ALLOCATION", "hasDotgit"),
    (".g\u{200c}it".as_bytes(), "hasDotgit"),
    (b".git\\x.toml", "hasDotgit"),
    (b"..\\..\\x.toml", "means something else"),
    (b"a/../../x.toml", "fullPathname"),
    (b"/etc/x.toml", "fullPathname"),
    (b"", "empty filename"),
    (b".gitattributes", "begins with a dot"),
    (b".gitignore", "begins with a dot"),
    (b".hidden.toml", "begins with a dot"),
    (b".piccolo-set", "begins with a dot"),
    (b"#a.toml", "begins with a dot or a #"),
    (b"-a.toml", "taken for an option"),
    (b"--upload-pack=x.toml", "taken for an option"),
    (b"a\n.toml", "not seen"),
    (b"a\r.toml", "not seen"),
    (b"a\x1b[2J.toml", "not seen"),
    (b"a\x7f.toml", "not seen"),
    ("a\u{202e}lmot.toml".as_bytes(), "not seen"),
    ("a\u{feff}.toml".as_bytes(), "not seen"),
    (b"\xff.toml", "not UTF-8"),
    (b"\xc0\xae\xc0\xae.toml", "not UTF-8"),
    (b"README.md", "end with .toml"),
    (b"a.TOML", "end with .toml"),
    (b"a.toml ", "end with .toml"),
    (b"a.toml::$DATA", "end with .toml"),
    (&[b'l'; 250], "too long"),
];

/// Modes of a file `a.toml` that are refused, and why.
const MODES: &[(&str, &str)] = &[
    ("100755", "executable"),
    ("100664", "badFilemode"),
    ("120000", "symbolic link"),
    ("160000", "submodule"),
    ("0100644", "zeroPaddedFilemode"),
    ("40000", "unpack|ng "),
    ("10644", "badFilemode"),
];

const CASES: &[Case] = &[
    // What trees are made of.
    ("a link out of the tree", |it| entry(it, "120000", b"a.toml", "/etc/shadow"), "symbolic link"),
    ("a directory that is a link", |it| entry(it, "120000", b"a", "/etc"), "symbolic link"),
    ("modules", |it| entry(it, "100644", b".gitmodules", "[submodule \"x\"]\npath = -x\nurl = -x\n"), "gitmodules"),
    ("a directory ..", |it| within(it, b".."), "hasDotdot"),
    ("a directory .git", |it| within(it, b".git"), "hasDotgit"),
    ("a hidden directory", |it| within(it, b".a"), "begins with a dot"),
    ("a directory with control letters", |it| within(it, b"a\n"), "not seen"),
    ("two entries of one name", |it| twice(it, b"a.toml", b"a.toml"), "duplicateEntries"),
    ("entries in no order", |it| twice(it, b"b.toml", b"a.toml"), "treeNotSorted"),
    ("names that are one elsewhere", |it| twice(it, b"A.toml", b"a.toml"), "size of letters"),
    (
        "directories that are one elsewhere",
        |it| imported(it, &[("A/a.toml", "aa"), ("a/b.toml", "bb")]),
        "size of letters",
    ),
    ("deep directories", |it| imported(it, &[(&format!("{}a.toml", "d/".repeat(20)), "aa")]), "too deep"),
    ("directories without end", |it| imported(it, &[(&format!("{}a.toml", "d/".repeat(3000)), "aa")]), "ng "),
    ("more files than one can count", exponential, "more in it than"),
    ("too many files", many, "more than 10,000"),
    (
        "a tree where a blob is said to be",
        |it| it.push_tree(&it.tree(&[("100644", b"a.toml", &it.tree(&[]))]), &[it.tree(&[])]),
        "ng ",
    ),
    // What files hold.
    ("a file that is too large", |it| text(it, "#".repeat((1 << 20) + 1)), "larger than 1 MiB"),
    ("a file that unfolds", |it| text(it, vec![b'#'; 50 << 20]), "larger than 1 MiB"),
    ("bytes that are no text", |it| text(it, b"\xff\xfe\x00"), "not UTF-8"),
    ("zeros", |it| text(it, container("aa", "x:1\\u0000") + "\0"), "a.toml:"),
    ("no manifest", |it| text(it, "hello"), "a.toml:1:"),
    ("a kind that there is not", |it| text(it, container("aa", "x:1").replace("Container", "Pod")), "a.toml:"),
    ("the name of another", |it| imported(it, &[("x.toml", "web")]), "several files declare"),
    ("rights without a grant", |it| text(it, container("aa", "x:1") + "spec.privileged = true\n"), "grant"),
    // What is behind the latest revision.
    ("a link that is gone again", gone_again, "symbolic link"),
    ("a large file that is gone again", gone_large, "larger than 1 MiB"),
    ("an unrelated history", |it| alone(it, &[]), "does not follow"),
    ("a branch of an unrelated history", unrelated_merge, "end with .toml"),
    (
        "a missing tree",
        |it| {
            let tree = manifest_tree(it, "c1");
            without_tree(it, &tree)
        },
        "ng ",
    ),
    (
        "a missing file",
        |it| {
            let tree = manifest_tree(it, "c2");
            without_blob(it, &tree)
        },
        "ng ",
    ),
    ("a missing revision before", missing_parent, "ng "),
    ("a long message", long_message, "longer than 64 KiB"),
    ("no author", |it| odd_commit(it, "committer Eve <e@x> 1 +0000\n\nx\n"), "missingAuthor"),
    (
        "an author that breaks a line",
        |it| odd_commit(it, "author Eve <e<x> 1 +0000\ncommitter E <e@x> 1 +0000\n\nx\n"),
        "badName|badEmail|missing",
    ),
    (
        "a date without end",
        |it| odd_commit(it, "author E <e@x> 99999999999999999999 +0000\ncommitter E <e@x> 1 +0000\n\nx\n"),
        "badDate",
    ),
    (
        "a blob for a revision",
        |it| {
            let blob = it.blob("x");
            it.push(&blob, vec![blob.clone()])
        },
        "ng ",
    ),
    (
        "a tree for a revision",
        |it| {
            let tree = it.tree(&[]);
            it.push(&tree, vec![tree.clone()])
        },
        "ng ",
    ),
    ("a tag for a revision", tag_on_main, "ng "),
    ("a revision that is nowhere", |it| it.push(&"1".repeat(40), vec![it.blob("x")]), "ng "),
    // Refs.
    (
        "a rewound branch",
        |it| {
            let to = it.parent.clone();
            it.push(&to, vec![it.blob("x")])
        },
        "does not follow",
    ),
    ("no branch any more", |it| refs(it, &[(&it.head, NONE, "refs/heads/main")]), "can't be removed"),
    ("nothing instead of nothing", |it| refs(it, &[(NONE, NONE, "refs/heads/main")]), "ng "),
    ("another branch", |it| new_ref(it, "refs/heads/other"), "no branch but"),
    ("a tag", |it| new_ref(it, "refs/tags/v1"), "no branch but"),
    ("a note", |it| new_ref(it, "refs/notes/commits"), "no branch but"),
    ("a replacement", |it| new_ref(it, "refs/replace/1111111111111111111111111111111111111111"), "no branch but"),
    ("what the machine remembers", |it| new_ref(it, "refs/piccolo/pushed"), "hidden"),
    ("the head", |it| new_ref(it, "HEAD"), "ng "),
    ("a ref out of the refs", |it| new_ref(it, "refs/heads/../../config"), "ng "),
    ("a ref like an option", |it| new_ref(it, "--upload-pack=x"), "ng "),
    ("a branch like an option", |it| new_ref(it, "refs/heads/-x"), "ng |no branch"),
    ("a ref with control letters", |it| new_ref(it, "refs/heads/a\x1b[2J"), "ng "),
    ("a lock", |it| new_ref(it, "refs/heads/main.lock"), "ng "),
    ("the branch and a tag", and_a_tag, "one thing to push"),
    ("the branch twice", main_twice, "ng |fatal|one thing"),
    ("from another revision than it is", from_elsewhere, "changed meanwhile"),
    // Packs.
    ("no pack", |it| with_pack(it, b"".to_vec()), "unpack"),
    (
        "half a pack",
        |it| {
            let mut pack = it.pack(&[it.blob("x".repeat(9999))]);
            pack.truncate(30);
            with_pack(it, pack)
        },
        "unpack",
    ),
    ("a pack that is none", |it| with_pack(it, b"GARBAGE!".repeat(100)), "unpack"),
    (
        "a pack with a wrong sum",
        |it| {
            let mut pack = it.pack(&[it.blob("x")]);
            *pack.last_mut().unwrap() ^= 1;
            with_pack(it, pack)
        },
        "unpack",
    ),
    ("a pack that says it holds a million", |it| with_pack(it, b"PACK\0\0\0\x02\x00\x0f\x42\x40".to_vec()), "unpack"),
    ("an object that says it is huge", |it| with_pack(it, huge(1)), "unpack"),
    ("a tree that says it is huge", |it| with_pack(it, huge(2)), "unpack"),
    ("a file that says it is huge", |it| with_pack(it, huge(3)), "unpack"),
    ("a difference to nothing", |it| with_pack(it, huge(7)), "unpack"),
    ("a pack that is too large", |it| with_pack(it, too_large()), "unpack"),
    ("a history without its beginning", shallow, "shallow update not allowed"),
    ("an option that there is not", |it| Push { option: Some("no-checks".into()), ..valid(it) }, "no such push option"),
];

#[test]
fn nothing_hostile_comes_in_over_http() {
    refuse_all(Way::Http);
}

#[test]
fn nothing_hostile_comes_in_over_a_path() {
    refuse_all(Way::Path);
}

fn refuse_all(way: Way) {
    let machine = Machine::start();
    let clone = machine.clone("eve");
    for (name, image) in [("web", "nginx:1"), ("db", "postgres:1")] {
        clone.write(&format!("{name}.toml"), &container(name, image));
        clone.commit(name);
    }
    assert!(clone.push("origin").well);
    clone.line(&["fetch", "--quiet"], b"");
    let forge = Forge::new(&clone);
    let (before, outside) = (machine.state(), around(&machine));
    let names = NAMES.iter().map(|(name, word)| {
        (format!("the name {:?}", String::from_utf8_lossy(name)), entry(&forge, "100644", name, aa()), *word)
    });
    let modes =
        MODES.iter().map(|(mode, word)| (format!("the mode {mode}"), entry(&forge, mode, b"a.toml", aa()), *word));
    let cases = CASES.iter().map(|(name, make, word)| ((*name).to_owned(), make(&forge), *word));
    let mut wrong = Vec::new();
    for (name, push, word) in names.chain(modes).chain(cases) {
        let answer = way.say(&forge.words(&push), &machine, &clone);
        let is_told = word.split('|').any(|word| answer.contains(word));
        if !is_told || answer.contains("ok refs/") {
            wrong.push(format!("{name}: not refused by `{word}`: {answer}"));
        }
        if machine.state() != before {
            let now = machine.state();
            let differ: Vec<_> = now.keys().filter(|path| now.get(*path) != before.get(*path)).collect();
            panic!("{name}: something changed: {differ:?}\n{answer}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(around(&machine), outside, "something was written outside");
    // The machine is as well as before.
    let answer = way.say(&forge.words(&valid(&forge)), &machine, &clone);
    assert!(answer.contains("ok refs/heads/main"), "{answer}");
    assert!(machine.file("a.toml").exists());
}

/// What is beside the manifests and the repository: names alone, as the store changes by itself.
fn around(machine: &Machine) -> BTreeSet<String> {
    let names = |path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names(machine.dir.path()).chain(names(&machine.dir.path().join("state"))).collect()
}
