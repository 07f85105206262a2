//! Pushes that somebody crafted, each with one thing that must not come in.

use crate::{
    forge::{Forge, Id, NONE, Push},
    machine::container,
};

pub(crate) fn aa() -> String {
    container("aa", "x:1")
}

pub(crate) fn valid(it: &Forge<'_>) -> Push {
    entry(it, "100644", b"a.toml", aa())
}

/// The tree of what is there, with one more entry at its beginning.
pub(crate) fn entry(it: &Forge<'_>, mode: &str, name: &[u8], text: impl AsRef<[u8]>) -> Push {
    let blob = it.blob(text);
    it.push_tree(&it.tree(&[(mode, name, &blob)]), &[blob])
}

pub(crate) fn text(it: &Forge<'_>, text: impl AsRef<[u8]>) -> Push {
    entry(it, "100644", b"a.toml", text)
}

pub(crate) fn within(it: &Forge<'_>, directory: &[u8]) -> Push {
    let blob = it.blob(aa());
    let inner = it.tree(&[("100644", b"a.toml", &blob)]);
    it.push_tree(&it.tree(&[("40000", directory, &inner)]), &[blob, inner])
}

pub(crate) fn twice(it: &Forge<'_>, one: &[u8], other: &[u8]) -> Push {
    let (aa, bb) = (it.blob(aa()), it.blob(container("bb", "x:1")));
    it.push_tree(&it.tree(&[("100644", one, &aa), ("100644", other, &bb)]), &[aa, bb])
}

/// Files of these paths, each a container of this name.
pub(crate) fn imported(it: &Forge<'_>, files: &[(&str, &str)]) -> Push {
    let words = files.iter().map(|(path, name)| {
        let text = container(name, "x:1");
        format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len())
    });
    let to = it.import(&words.collect::<String>());
    it.push(&to, it.objects(&to))
}

/// Twelve times twelve directories within each other, all of them the same ones.
pub(crate) fn exponential(it: &Forge<'_>) -> Push {
    let blob = it.blob(aa());
    let mut tree = it.tree(&[("100644", b"a.toml", &blob)]);
    let mut objects = vec![blob, tree.clone()];
    for _ in 0..12 {
        let names: Vec<_> = (b'a'..=b'l').map(|name| [name]).collect();
        tree = it.tree(&names.iter().map(|name| ("40000", &name[..], &*tree)).collect::<Vec<_>>());
        objects.push(tree.clone());
    }
    it.push_tree(&tree, &objects)
}

pub(crate) fn many(it: &Forge<'_>) -> Push {
    let blob = it.blob(aa());
    let names: Vec<_> = (10_000..20_001).map(|n| format!("c{n}.toml")).collect();
    let tree = it.tree(&names.iter().map(|name| ("100644", name.as_bytes(), &*blob)).collect::<Vec<_>>());
    it.push_tree(&tree, &[blob])
}

/// One revision with a bad entry, and one after it without.
fn gone(it: &Forge<'_>, mode: &str, text: &str) -> Push {
    let (bad, good) = (it.blob(text), it.blob(aa()));
    let trees = [(mode, &bad), ("100644", &good)].map(|(mode, blob)| it.tree(&[(mode, b"a.toml", blob)]));
    let first = it.commit(&trees[0], &[&it.head], "Bad");
    let second = it.commit(&trees[1], &[&first], "Good");
    let [bad_tree, good_tree] = trees;
    it.push(&second, vec![bad, good, bad_tree, good_tree, first, second.clone()])
}

pub(crate) fn gone_again(it: &Forge<'_>) -> Push {
    gone(it, "120000", "/etc/passwd")
}

pub(crate) fn gone_large(it: &Forge<'_>) -> Push {
    gone(it, "100644", &"#".repeat((1 << 20) + 1))
}

pub(crate) fn manifest_tree(it: &Forge<'_>, name: &str) -> Id {
    it.tree(&[("100644", b"a.toml", &it.blob(container(name, "x:1")))])
}

pub(crate) fn alone(it: &Forge<'_>, parents: &[&str]) -> Push {
    let (blob, tree) = (it.blob(aa()), it.tree(&[("100644", b"a.toml", &it.blob(aa()))]));
    let commit = it.commit(&tree, parents, "Alone");
    it.push(&commit, vec![blob, tree, commit.clone()])
}

pub(crate) fn unrelated_merge(it: &Forge<'_>) -> Push {
    let (readme, good) = (it.blob("hello"), it.blob(aa()));
    let (bad, tree) = (it.tree(&[("100644", b"README.md", &readme)]), it.tree(&[("100644", b"a.toml", &good)]));
    let side = it.commit(&bad, &[], "Elsewhere");
    let merge = it.commit(&tree, &[&it.head, &side], "Together");
    it.push(&merge, vec![readme, good, bad, tree, side, merge.clone()])
}

pub(crate) fn without_tree(it: &Forge<'_>, tree: &str) -> Push {
    let commit = it.commit(tree, &[&it.head], "Hollow");
    it.push(&commit, vec![commit.clone()])
}

pub(crate) fn without_blob(it: &Forge<'_>, tree: &str) -> Push {
    let commit = it.commit(tree, &[&it.head], "Hollow");
    it.push(&commit, vec![tree.to_owned(), commit.clone()])
}

pub(crate) fn missing_parent(it: &Forge<'_>) -> Push {
    let between = it.commit(&manifest_tree(it, "c3"), &[&it.head], "Left out");
    alone(it, &[&between])
}

pub(crate) fn shallow(it: &Forge<'_>) -> Push {
    let push = missing_parent(it);
    Push { shallow: Some(push.commands[0].1.clone()), ..push }
}

pub(crate) fn long_message(it: &Forge<'_>) -> Push {
    let (blob, tree) = (it.blob(aa()), manifest_tree(it, "aa"));
    let commit = it.commit(&tree, &[&it.head], &"x".repeat(70_000));
    it.push(&commit, vec![blob, tree, commit.clone()])
}

pub(crate) fn odd_commit(it: &Forge<'_>, rest: &str) -> Push {
    let (blob, tree) = (it.blob(aa()), manifest_tree(it, "aa"));
    let commit = it.object("commit", format!("tree {tree}\nparent {}\n{rest}", it.head).as_bytes());
    it.push(&commit, vec![blob, tree, commit.clone()])
}

pub(crate) fn tag_on_main(it: &Forge<'_>) -> Push {
    let text = format!("object {}\ntype commit\ntag v1\ntagger E <e@x> 1 +0000\n\nx\n", it.head);
    let tag = it.object("tag", text.as_bytes());
    it.push(&tag, vec![tag.clone()])
}

pub(crate) fn refs(it: &Forge<'_>, changes: &[(&str, &str, &str)]) -> Push {
    let commands = changes.iter().map(|(old, new, name)| ((*old).to_owned(), (*new).to_owned(), (*name).into()));
    Push { commands: commands.collect(), objects: vec![it.blob("x")], ..Push::default() }
}

pub(crate) fn new_ref(it: &Forge<'_>, name: &str) -> Push {
    refs(it, &[(NONE, &it.head, name)])
}

pub(crate) fn and_a_tag(it: &Forge<'_>) -> Push {
    let mut push = valid(it);
    push.commands.push((NONE.to_owned(), it.head.clone(), b"refs/tags/v1".to_vec()));
    push
}

pub(crate) fn main_twice(it: &Forge<'_>) -> Push {
    let mut push = valid(it);
    push.commands.push(push.commands[0].clone());
    push
}

pub(crate) fn from_elsewhere(it: &Forge<'_>) -> Push {
    let mut push = valid(it);
    push.commands[0].0.clone_from(&it.parent);
    push
}

pub(crate) fn with_pack(it: &Forge<'_>, pack: Vec<u8>) -> Push {
    Push { pack: Some(pack), ..valid(it) }
}

/// A pack of one object of this type, which says that it has 2^46 bytes.
pub(crate) fn huge(kind: u8) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    pack.push(0x80 | kind << 4);
    pack.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
    // Of a difference the name of the object comes that it is one to.
    pack.extend(vec![0x11; if kind == 7 { 20 } else { 0 }]);
    // An empty stream of zlib, and a sum.
    pack.extend([0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]);
    pack.extend([0; 20]);
    pack
}

/// A pack that is a valid beginning and goes on for more than may come in.
pub(crate) fn too_large() -> Vec<u8> {
    // One object in blocks that are not compressed.
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    pack.extend([0x80 | 3 << 4, 0x80, 0x80, 0x80, 0x08, 0x78, 0x01]);
    for _ in 0..1100 {
        pack.extend([0, 0xff, 0xff, 0, 0]);
        pack.extend(vec![b'x'; 0xffff]);
    }
    pack
}
