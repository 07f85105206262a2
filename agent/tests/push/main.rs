//! Push and fetch with the real git client, over HTTP and over a path, to a real daemon.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and plays the person at the files"
)]

mod crafted;
mod forge;
mod hostile;
mod machine;

use std::fs;

use machine::{Machine, container};

#[test]
fn what_is_pushed_is_in_force_with_its_author() {
    let machine = Machine::start();
    let anna = machine.clone("anna");
    anna.write("web.toml", &container("web", "nginx:1"));
    anna.commit("The front door");
    let said = anna.push("origin");
    assert!(said.well, "{}", said.err);
    assert_eq!(fs::read_to_string(machine.file("web.toml")).unwrap(), container("web", "nginx:1"));
    assert_eq!(machine.history(), ["Anna: The front door"]);

    // Over a path, with several revisions at once, directories and removals.
    anna.write("db/db.toml", &container("db", "postgres:1"));
    anna.commit("A database");
    fs::remove_file(anna.place.join("web.toml")).unwrap();
    anna.commit("No front door");
    let path = machine.repository().display().to_string();
    let said = anna.push(&path);
    assert!(said.well, "{}", said.err);
    assert!(!machine.file("web.toml").exists() && machine.file("db/db.toml").exists());
    assert_eq!(machine.history(), ["Anna: No front door", "Anna: A database", "Anna: The front door"]);

    // Others fetch just that, and a push of nothing new is none.
    let bert = machine.clone("bert");
    assert_eq!(bert.line(&["rev-parse", "HEAD"], b""), anna.line(&["rev-parse", "HEAD"], b""));
    assert!(bert.push("origin").err.contains("Everything up-to-date"));
}

#[test]
fn a_hand_is_never_lost() {
    let mut machine = Machine::start();
    let anna = machine.clone("anna");
    for (name, image) in [("web", "nginx:1"), ("db", "postgres:1")] {
        anna.write(&format!("{name}.toml"), &container(name, image));
    }
    anna.commit("Both");
    assert!(anna.push("origin").well);
    fs::write(machine.file("db.toml"), container("db", "postgres:2")).unwrap();
    anna.write("web.toml", &container("web", "nginx:2"));
    anna.commit("Newer");
    let said = anna.push("origin");
    assert!(!said.well && said.err.contains("git pull"), "{}", said.err);
    let said = anna.git(&["push", "--force", "origin", "HEAD:main"]);
    assert!(!said.well && said.err.contains("git pull"), "{}", said.err);
    assert_eq!(fs::read_to_string(machine.file("db.toml")).unwrap(), container("db", "postgres:2"));
    anna.line(&["pull", "--quiet", "--rebase", "origin", "main"], b"");
    let said = anna.push("origin");
    assert!(said.well, "{}", said.err);
    assert_eq!(fs::read_to_string(machine.file("db.toml")).unwrap(), container("db", "postgres:2"));
    assert_eq!(fs::read_to_string(machine.file("web.toml")).unwrap(), container("web", "nginx:2"));
    let history = machine.history();
    assert_eq!((history.len(), &*history[0]), (3, "Anna: Newer"));
    assert!(history[1].ends_with("change container/db"), "{history:?}");

    // A start finds nothing new, and changes through the API go on from there.
    machine.kill();
    machine.start_again();
    assert_eq!(machine.history(), history);
    let file = machine.dir.path().join("cache.toml");
    fs::write(&file, container("cache", "redis:1")).unwrap();
    let file = file.display().to_string();
    assert!(machine.piccolo(&["apply", "-f", &file]).well);
    // Whoever fetches is given what was accepted until then.
    anna.line(&["pull", "--quiet", &machine.url(), "main"], b"");
    assert_eq!(machine.history().len(), 4);
    assert_eq!(anna.line(&["log", "-1", "--format=%s"], b""), "add container/cache");
}

#[test]
fn what_has_mistakes_changes_nothing_and_all_of_them_are_told() {
    let machine = Machine::start();
    let anna = machine.clone("anna");
    anna.write("web.toml", &container("web", "nginx:1"));
    anna.commit("Good");
    assert!(anna.push("origin").well);
    let before = machine.state();
    anna.write("web.toml", "kind = \"Kontainer\"\n");
    anna.write("db.toml", &container("db", "postgres:1").replace("spec.image", "spec.imag"));
    anna.commit("Bad");
    for to in ["origin".to_owned(), machine.repository().display().to_string()] {
        let said = anna.push(&to);
        assert!(!said.well);
        for place in ["--> db.toml:5:", "--> web.toml:1:8", "did you mean `image`?", "did you mean `Container`?"] {
            assert!(said.err.contains(place), "{place}: {}", said.err);
        }
        assert!(said.err.lines().filter(|line| line.contains("error[")).all(|line| line.starts_with("remote: ")));
        assert!(machine.state() == before, "something changed");
    }
    // Two that declare the same.
    anna.write("web.toml", &container("web", "nginx:1"));
    anna.write("db.toml", &container("web", "nginx:1"));
    anna.commit("Twice");
    let said = anna.push("origin");
    assert!(!said.well && said.err.contains("several files declare it"), "{}", said.err);
    assert!(machine.state() == before, "something changed");
}

#[test]
fn without_the_daemon_nothing_comes_in() {
    let mut machine = Machine::start();
    let anna = machine.clone("anna");
    anna.write("web.toml", &container("web", "nginx:1"));
    anna.commit("Good");
    machine.kill();
    let before = machine.state();
    let said = anna.push(&machine.repository().display().to_string());
    assert!(!said.well && said.err.contains("no daemon answers"), "{}", said.err);
    assert!(machine.state() == before, "something changed");
}

#[test]
fn pages_and_other_programs_are_kept_out() {
    let machine = Machine::start();
    let anna = machine.clone("anna");
    anna.write("web.toml", &container("web", "nginx:1"));
    anna.commit("Good");
    let before = machine.state();
    let push = "Content-Type: application/x-git-receive-pack-request";
    let path = "/git/config.git/git-receive-pack";
    for foreign in ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        let answer = machine.send("POST", path, &[push, foreign], b"0000");
        assert!(answer.starts_with("HTTP/1.1 403"), "{foreign}: {answer}");
    }
    let answer = machine.send("POST", path, &["Content-Type: text/plain"], b"0000");
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    // What hooks ask is for programs of this machine.
    for hook in ["pre-receive", "proc-receive"] {
        let answer = machine.send("POST", &format!("/git/hooks/{hook}"), &[], b"{}");
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    // Nothing but git's protocol is spoken.
    for path in ["HEAD", "config", "hooks/pre-receive", "objects/info/packs", "info/refs", "../identity.age", ""] {
        let answer = machine.send("GET", &format!("/git/config.git/{path}"), &[], b"");
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
    }
    assert!(machine.state() == before, "something changed");
}

#[test]
fn a_dry_run_changes_nothing_and_a_trial_is_put_back() {
    let machine = Machine::start();
    let anna = machine.clone("anna");
    anna.write("web.toml", &container("web", "nginx:1"));
    anna.commit("Old");
    assert!(anna.push("origin").well);
    anna.write("web.toml", &container("web", "nginx:2"));
    anna.commit("New");
    let before = machine.state();
    let said = anna.git(&["push", "-o", "dry-run", "origin", "HEAD:main"]);
    assert!(!said.well && said.err.contains("nothing was changed"), "{}", said.err);
    let said = anna.git(&["push", "-o", "confirm-within=soon", "origin", "HEAD:main"]);
    assert!(!said.well && said.err.contains("from 1s to 24h"), "{}", said.err);
    assert!(machine.state() == before, "something changed");

    let said = anna.git(&["push", "-o", "confirm-within=1h", "origin", "HEAD:main"]);
    assert!(said.well && said.err.contains("piccolo confirm change-"), "{}", said.err);
    let id = said.err.split_whitespace().find(|word| word.starts_with("change-")).unwrap().to_owned();
    assert_eq!(fs::read_to_string(machine.file("web.toml")).unwrap(), container("web", "nginx:2"));
    anna.write("web.toml", &container("web", "nginx:3"));
    anna.commit("Newer");
    let said = anna.push("origin");
    assert!(!said.well && said.err.contains("is on trial"), "{}", said.err);
    assert!(machine.piccolo(&["rollback", &id]).well);
    assert_eq!(fs::read_to_string(machine.file("web.toml")).unwrap(), container("web", "nginx:1"));
    // The way back is a revision of its own, from which the pusher goes on.
    let said = anna.push("origin");
    assert!(!said.well && said.err.contains("git pull"), "{}", said.err);
    let history = machine.history();
    assert!(history.len() == 3 && history[1] == "Anna: New", "{history:?}");
}

/// The commands of the manual's page, with the machine of this test in the place of the reader's.
#[test]
fn the_page_on_pushes_does_what_it_says() {
    let machine = Machine::start();
    let anna = machine.clone("anna");
    anna.write("web.toml", &container("web", "nginx:1"));
    anna.commit("The front door");
    assert!(anna.push("origin").well);
    let page = include_str!("../../docs/how-to/push.md");
    let block = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    // As root over ssh is the same repository; here it is the path of it.
    let ssh = "ssh://root@attic.local/var/lib/piccolo/config.git manifests";
    let over_path = format!("{} by-path", machine.repository().display());
    let meant = [
        ("https://attic.local:8080/git/config.git", machine.url()),
        (ssh, over_path),
        ("$EDITOR", "sed -i s/nginx:1/nginx:2/".to_owned()),
    ];
    let lines = block.lines().map(|line| line.split(" #").next().unwrap_or(line).trim());
    let script = lines.collect::<Vec<_>>().join(" && ");
    let script = meant.iter().fold(script, |script, (word, here)| script.replace(word, here));
    let said = anna.git(&["-c", &format!("alias.page=!{script}"), "page"]);
    assert!(said.well, "{script}: {}", said.err);
    assert_eq!(fs::read_to_string(machine.file("web.toml")).unwrap(), container("web", "nginx:2"));
    assert_eq!(machine.history()[0], "Anna: More memory for web");
}
