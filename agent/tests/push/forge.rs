//! Objects and pushes that no client of git would make.

use crate::machine::{Clone, Machine};

/// An object that is named by its digits.
pub(crate) type Id = String;

/// What is said to the machine: refs that shall be changed, and a pack.
#[derive(Default)]
pub(crate) struct Push {
    pub(crate) commands: Vec<(Id, Id, Vec<u8>)>,
    pub(crate) objects: Vec<Id>,
    /// What is sent in place of a pack of the objects.
    pub(crate) pack: Option<Vec<u8>>,
    pub(crate) shallow: Option<Id>,
    pub(crate) option: Option<String>,
}

/// Makes objects in a clone, without asking whether they make sense.
pub(crate) struct Forge<'a> {
    clone: &'a Clone,
    /// The latest revision on the machine, and the one before.
    pub(crate) head: Id,
    pub(crate) parent: Id,
}

pub(crate) const NONE: &str = "0000000000000000000000000000000000000000";

impl<'a> Forge<'a> {
    pub(crate) fn new(clone: &'a Clone) -> Self {
        let revision = |name| clone.line(&["rev-parse", name], b"");
        Self { clone, head: revision("origin/main"), parent: revision("origin/main~1") }
    }

    pub(crate) fn object(&self, kind: &str, bytes: &[u8]) -> Id {
        self.clone.line(&["hash-object", "-t", kind, "--literally", "-w", "--stdin"], bytes)
    }

    pub(crate) fn blob(&self, text: impl AsRef<[u8]>) -> Id {
        self.object("blob", text.as_ref())
    }

    /// Makes a tree of modes, names and objects, in this order.
    pub(crate) fn tree(&self, entries: &[(&str, &[u8], &str)]) -> Id {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend((0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()));
        }
        self.object("tree", &bytes)
    }

    pub(crate) fn commit(&self, tree: &str, parents: &[&str], message: &str) -> Id {
        let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
        let person = "Eve <eve@example.org> 1700000000 +0000";
        let text = format!("tree {tree}\n{parents}author {person}\ncommitter {person}\n\n{message}\n");
        self.object("commit", text.as_bytes())
    }

    /// A push of a tree on top of what is there.
    pub(crate) fn push_tree(&self, tree: &str, objects: &[Id]) -> Push {
        let commit = self.commit(tree, &[&self.head], "Mine");
        let mut objects = objects.to_vec();
        objects.extend([tree.to_owned(), commit.clone()]);
        self.push(&commit, objects)
    }

    /// A push to the branch.
    pub(crate) fn push(&self, to: &str, objects: Vec<Id>) -> Push {
        Push { commands: vec![self.command(to, "refs/heads/main")], objects, ..Push::default() }
    }

    /// A change of a ref: of the branch from what it is, of others from nothing.
    pub(crate) fn command(&self, to: &str, name: &str) -> (Id, Id, Vec<u8>) {
        let from = if name == "refs/heads/main" { &self.head } else { NONE };
        (from.to_owned(), to.to_owned(), name.into())
    }

    /// Returns all objects that a revision has and the machine has not.
    pub(crate) fn objects(&self, revision: &str) -> Vec<Id> {
        let listed = self.clone.line(&["rev-list", "--objects", revision, "--not", &self.head], b"");
        listed.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// Makes a revision by `git fast-import`, whose words these are after `from`.
    pub(crate) fn import(&self, words: &str) -> Id {
        let person = "Eve <eve@example.org> 1700000000 +0000";
        let input = format!("commit refs/forge\ncommitter {person}\ndata 0\nfrom {}\n{words}\n", self.head);
        self.clone.line(&["update-ref", "-d", "refs/forge"], b"");
        self.clone.line(&["fast-import", "--quiet", "--force"], input.as_bytes());
        self.clone.line(&["rev-parse", "refs/forge"], b"")
    }

    /// Says it as a client would.
    pub(crate) fn words(&self, push: &Push) -> Vec<u8> {
        let mut words = Vec::new();
        let mut say = |line: &[u8]| {
            words.extend(format!("{:04x}", line.len() + 4).into_bytes());
            words.extend_from_slice(line);
        };
        if let Some(shallow) = &push.shallow {
            say(format!("shallow {shallow}").as_bytes());
        }
        for (at, (old, new, name)) in push.commands.iter().enumerate() {
            let mut line = format!("{old} {new} ").into_bytes();
            line.extend_from_slice(name);
            if at == 0 {
                let options = if push.option.is_some() { " push-options" } else { "" };
                line.extend(format!("\0 report-status side-band-64k{options}").into_bytes());
            }
            say(&line);
        }
        words.extend_from_slice(b"0000");
        if let Some(option) = &push.option {
            words.extend(format!("{:04x}{option}0000", option.len() + 4).into_bytes());
        }
        words.extend(match &push.pack {
            Some(pack) => pack.clone(),
            None if push.objects.is_empty() => Vec::new(),
            None => self.pack(&push.objects),
        });
        words
    }

    pub(crate) fn pack(&self, objects: &[Id]) -> Vec<u8> {
        let list = objects.join("\n") + "\n";
        let (well, pack, err) = self.clone.bytes(&["pack-objects", "--stdout", "--quiet"], list.as_bytes());
        assert!(well, "{err}");
        pack
    }
}

/// A way to the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Http,
    Path,
}

impl Way {
    /// Says it, and returns the answer.
    pub(crate) fn say(self, words: &[u8], machine: &Machine, clone: &Clone) -> String {
        match self {
            Self::Http => {
                let media = "Content-Type: application/x-git-receive-pack-request";
                let answer = machine.send("POST", "/git/config.git/git-receive-pack", &[media], words);
                match answer.split_once("\r\n\r\n") {
                    Some((head, body)) if head.starts_with("HTTP/1.1 200") => heard(&unchunked(body)),
                    _ => answer,
                }
            }
            Self::Path => {
                let (_, out, err) = clone.bytes(&["receive-pack", &machine.repository().display().to_string()], words);
                heard(&String::from_utf8_lossy(&out)) + &err
            }
        }
    }
}

/// Puts the chunks of a body together.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        let Some(chunk) = rest.get(..length).filter(|chunk| !chunk.is_empty()) else { break };
        whole.push_str(chunk);
        body = rest.get(length + 2..).unwrap_or_default();
    }
    whole
}

/// Returns what a client would show of an answer: lines that begin with their length and the number of a band.
fn heard(answer: &str) -> String {
    let mut whole = String::new();
    let mut rest = answer;
    while let Some(length) = rest.get(..4).and_then(|digits| usize::from_str_radix(digits, 16).ok()) {
        let Some(line) = rest.get(4..length.max(4)) else { break };
        whole.push_str(line.trim_start_matches(['\u{1}', '\u{2}', '\u{3}']));
        rest = &rest[length.max(4)..];
    }
    whole + rest
}
