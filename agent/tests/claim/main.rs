//! A real daemon becomes somebody's by the real command line, over a wire that is listened to.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

mod by_key;
mod scene;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use scene::{Scene, Wire, words};

#[test]
fn a_machine_becomes_somebodys_and_no_wire_tells_how() {
    let scene = Scene::open();
    let (code, print) = (scene.screen("code"), scene.screen("fingerprint"));
    let wire = Wire::default();
    let machine = wire.to(scene.address).to_string();

    // Who does not compare, and who compares with another, sends nothing.
    let asked = scene.piccolo(&["claim", &machine, "--code", &code]);
    assert_eq!(asked.status.code(), Some(2), "{}", words(&asked));
    let wrong = scene.piccolo(&["claim", &machine, "--fingerprint", "AAAA-AAAA-AAAA", "--code", &code]);
    assert_eq!(wrong.status.code(), Some(4), "{}", words(&wrong));
    let stranger = scene.piccolo(&["--host", &format!("https://{machine}"), "status"]);
    assert_eq!(stranger.status.code(), Some(4), "{}", words(&stranger));
    let refused = scene.piccolo(&["claim", &machine, "--fingerprint", &print, "--code", "AAAA-AAAA"]);
    assert_eq!(refused.status.code(), Some(4), "{}", words(&refused));

    let claimed = scene.piccolo(&["claim", &machine, "--fingerprint", &print, "--code", &code, "--label", "laptop"]);
    assert!(claimed.status.success(), "{}", words(&claimed));
    let settings = scene.path("settings/piccolo/contexts.toml");
    assert_eq!(fs::metadata(&settings).unwrap().permissions().mode() & 0o777, 0o600);
    // From now on no option is needed.
    let status = scene.piccolo(&["status"]);
    assert!(status.status.success(), "{}", words(&status));
    let tokens = scene.piccolo(&["token", "list"]);
    assert!(words(&tokens).contains("laptop") && !words(&tokens).contains(&scene.token()), "{}", words(&tokens));
    let again = scene.piccolo(&["claim", &machine, "--fingerprint", &print, "--code", &code]);
    assert_eq!(again.status.code(), Some(5), "{}", words(&again));

    let (token, secret) = (scene.token(), scene.token().split('_').nth(2).unwrap().to_owned());
    for secret in [&code, &code.replace('-', ""), &token, &secret] {
        assert!(!wire.holds(secret), "`{secret}` went over the wire in clear");
        assert!(scene.keeps(secret).is_empty(), "{}", scene.keeps(secret));
    }
    assert!(!wire.holds("HTTP/1.1"), "something went over the wire in clear");
    // Who listens would have heard it.
    let mut plain = TcpStream::connect(&machine).unwrap();
    plain
        .write_all(format!("GET / HTTP/1.1\r\nHost: {machine}\r\nConnection: close\r\nX: {secret}\r\n\r\n").as_bytes())
        .unwrap();
    plain.read_to_end(&mut Vec::new()).unwrap();
    assert!(wire.holds("HTTP/1.1 308") && wire.holds(&secret));
    assert!(scene.keeps(&secret).is_empty(), "{}", scene.keeps(&secret));
}

#[test]
fn what_is_secret_of_fifty_tokens_is_seen_nowhere() {
    let scene = Scene::open();
    let mut said = String::new();
    let mut canaries = Vec::new();
    for number in 0..25 {
        let file = scene.path(&format!("token{number}"));
        let path = file.display().to_string();
        let made = scene.root(&["token", "create", &format!("label{number}"), "--role", "reader", "--out", &path]);
        assert!(made.status.success(), "{}", words(&made));
        said.push_str(&words(&made));
        let token = fs::read_to_string(file).unwrap().trim().to_owned();
        // One that is known, and one that nobody knows.
        let [prefix, id, secret, sum] = token.split('_').collect::<Vec<_>>().try_into().unwrap();
        let wrong = format!("{prefix}_{id}_{}_{sum}", secret.chars().rev().collect::<String>());
        for (shown, is_right) in [(token, true), (wrong, false)] {
            scene.show(&shown, number, is_right, &mut said);
            canaries.push(shown);
        }
    }
    for (number, shown) in canaries.iter().enumerate() {
        // Somebody gives the whole of it where a part is asked for.
        said.push_str(&words(&scene.root(&["token", "revoke", shown])));
        let path = format!("/tokens/{shown}");
        said.push_str(&scene.asks("DELETE", &path, &format!("Authorization: Bearer {shown}{number}\r\n")));
    }
    for line in [&["audit", "-n", "1000"][..], &["events"], &["status"], &["token", "list"]] {
        said.push_str(&words(&scene.root(line)));
    }
    for path in ["/metrics", "/journal?limit=1000", "/audit?limit=1000", "/readyz?verbose", "/problems"] {
        said.push_str(&scene.asks("GET", path, ""));
    }
    assert!(said.contains("label7") && said.contains("DELETE /tokens/"), "{said}");
    for canary in canaries {
        let secret = canary.split('_').nth(2).unwrap();
        assert!(!said.contains(secret), "{secret} was told: {said}");
        assert!(scene.keeps(secret).is_empty(), "{}", scene.keeps(secret));
    }
}

#[test]
fn git_knows_the_machine_by_what_piccolo_knows() {
    let scene = Scene::open();
    let machine = scene.address.to_string();
    let (code, print) = (scene.screen("code"), scene.screen("fingerprint"));
    assert!(
        scene
            .piccolo(&["claim", &machine, "--fingerprint", &print, "--code", &code, "--label", "anna"])
            .status
            .success()
    );
    let authority = scene.piccolo(&["context", "authority"]);
    fs::write(scene.path("ca.pem"), &authority.stdout).unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.env("XDG_CONFIG_HOME", scene.path("settings"))
            .env("HOME", scene.dir.path())
            .env("GIT_TERMINAL_PROMPT", "0");
        git.env("GIT_SSL_CAINFO", scene.path("ca.pem")).current_dir(scene.dir.path());
        let helper = format!("credential.helper=!{} context credential", env!("CARGO_BIN_EXE_piccolo"));
        git.args(["-c", &helper, "-c", "user.name=Anna", "-c", "user.email=anna@example.org"])
            .args(args)
            .output()
            .unwrap()
    };
    let cloned = git(&["clone", "--quiet", &format!("https://{machine}/git/config.git"), "clone"]);
    assert!(cloned.status.success(), "{}", words(&cloned));
    let image = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Secret\"\nmetadata.name = \"db\"\n\n[spec]\n";
    fs::write(scene.path("clone/db.toml"), image).unwrap();
    assert!(git(&["-C", "clone", "add", "."]).status.success());
    assert!(git(&["-C", "clone", "commit", "--quiet", "-m", "A secret"]).status.success());
    let pushed = git(&["-C", "clone", "push", "origin", "HEAD:main"]);
    assert!(pushed.status.success() && scene.path("etc/db.toml").exists(), "{}", words(&pushed));
    let other = Command::new(env!("CARGO_BIN_EXE_piccolo"))
        .env("XDG_CONFIG_HOME", scene.path("settings"))
        .args(["context", "credential", "get"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    other.stdin.as_ref().unwrap().write_all(b"protocol=https\nhost=evil.example\n").unwrap();
    assert!(other.wait_with_output().unwrap().stdout.is_empty(), "the token is told to others");
}

#[test]
fn another_machine_in_its_place_is_sent_nothing() {
    let mut scene = Scene::open();
    let (code, print) = (scene.screen("code"), scene.screen("fingerprint"));
    let machine = scene.address.to_string();
    let claimed = scene.piccolo(&["claim", &machine, "--fingerprint", &print, "--code", &code]);
    assert!(claimed.status.success(), "{}", words(&claimed));
    // A restart is no other machine, nor is another certificate of the same authority.
    scene.stop();
    fs::remove_file(scene.path("state/access/leaf.json")).unwrap();
    scene.start();
    let status = scene.piccolo(&["status"]);
    assert!(status.status.success(), "{}", words(&status));
    scene.stop();
    for file in ["ca.key", "ca.pem", "leaf.json"] {
        fs::remove_file(scene.path("state/access").join(file)).unwrap();
    }
    scene.start();
    let swapped = scene.piccolo(&["status"]);
    assert_eq!(swapped.status.code(), Some(4), "{}", words(&swapped));
    assert!(words(&swapped).contains("another authority"), "{}", words(&swapped));
    let used = |scene: &Scene| words(&scene.root(&["token", "list"]));
    let before = used(&scene);
    scene.piccolo(&["token", "list"]);
    assert_eq!(used(&scene), before, "the token was sent");
}

#[test]
fn a_token_is_made_handed_on_and_taken_back() {
    let scene = Scene::open();
    let (machine, print) = (scene.address.to_string(), scene.screen("fingerprint"));
    let file = scene.path("token");
    let file = file.to_str().unwrap();
    let made = scene.root(&["token", "create", "backup", "--role", "reader", "--out", file]);
    assert!(made.status.success(), "{}", words(&made));
    // Root on the machine is as good as its screen: it is somebody's now.
    assert!(words(&scene.root(&["claim", "--show"])).contains("claimed      yes"));
    let added =
        scene.piccolo(&["context", "add", &machine, "--fingerprint", &print, "--token-file", file, "--name", "attic"]);
    assert!(added.status.success() && words(&added).contains("reader"), "{}", words(&added));
    assert!(scene.piccolo(&["--context", "attic", "get"]).status.success());
    let refused = scene.piccolo(&["delete", "container", "web"]);
    assert_eq!(refused.status.code(), Some(4), "{}", words(&refused));
    assert!(words(&refused).contains("operator"), "{}", words(&refused));

    let id = fs::read_to_string(file).unwrap().split('_').nth(1).unwrap().to_owned();
    assert!(scene.root(&["token", "revoke", &id]).status.success());
    let over = scene.piccolo(&["get"]);
    assert_eq!(over.status.code(), Some(4), "{}", words(&over));

    let reset = scene.root(&["claim", "--reset"]);
    assert!(words(&reset).contains("code  "), "{}", words(&reset));
    assert!(words(&scene.root(&["token", "list"])).contains("no token"));
}

#[test]
fn a_machine_without_a_screen_is_claimed_by_its_seed() {
    let mut scene = Scene::before();
    let file = scene.path("token");
    let file = file.to_str().unwrap();
    let seed = scene.piccolo(&["token", "seed", "anna", "--name", "home.example.org", "--out", file]);
    assert!(seed.status.success(), "{}", words(&seed));
    fs::write(scene.path("seed.toml"), &seed.stdout).unwrap();
    // Who could write the seed could have the machine.
    fs::set_permissions(scene.path("seed.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    scene.start();
    assert!(words(&scene.root(&["claim", "--show"])).contains("code  "));
    assert!(words(&scene.root(&["status"])).contains("[-]seed: "), "{}", words(&scene.root(&["status"])));
    scene.stop();
    fs::set_permissions(scene.path("seed.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    scene.start();
    let (machine, print) = (scene.address.to_string(), scene.screen("fingerprint"));
    assert!(words(&scene.root(&["claim", "--show"])).contains("claimed      yes"));
    assert!(words(&scene.root(&["events"])).contains("claimed by its seed"));
    let audit: serde_json::Value = serde_json::from_slice(&scene.root(&["audit", "-o", "json"]).stdout).unwrap();
    let line = &audit["items"][0];
    assert_eq!(
        (&line["who"], &line["role"], &line["door"]),
        (&"anna".into(), &"admin".into(), &"seed".into()),
        "{audit}"
    );
    assert_eq!((&line["action"], &line["result"]), (&"claim the machine".into(), &"applied".into()), "{audit}");
    let add = ["context", "add", &machine, "--fingerprint", &print, "--token-file", file, "--name", "attic"];
    let added = scene.piccolo(&add);
    assert!(added.status.success() && words(&added).contains("admin"), "{}", words(&added));
    let kept = fs::read_to_string(scene.path("state/access/credentials.json")).unwrap();
    assert!(kept.contains("home.example.org"), "{kept}");
    // It is read once: a machine that is somebody's takes no other seed, and needs none.
    let other = scene.path("other");
    let seed = scene.piccolo(&["token", "seed", "thief", "--out", other.to_str().unwrap()]);
    fs::write(scene.path("seed.toml"), &seed.stdout).unwrap();
    scene.stop();
    scene.start();
    let tokens = words(&scene.root(&["token", "list"]));
    assert!(tokens.contains("anna") && !tokens.contains("thief"), "{tokens}");
    fs::remove_file(scene.path("seed.toml")).unwrap();
    scene.stop();
    scene.start();
    assert!(scene.piccolo(&["--context", "attic", "get"]).status.success() || scene.address.to_string() != machine);
}

#[test]
fn users_are_kept_by_the_command_line_and_no_argument_holds_a_password() {
    let scene = Scene::open();
    let made = scene.type_as_root(&["user", "add", "anna", "--role", "operator"], "correct horse battery\n");
    assert!(made.status.success() && words(&made).contains("user anna (operator) made"), "{}", words(&made));
    let short = scene.type_as_root(&["user", "passwd", "anna"], "too short\n");
    assert_eq!(short.status.code(), Some(1), "{}", words(&short));
    assert!(words(&short).contains("at least 12 characters") && !words(&short).contains("too short"));
    let argument = scene.root(&["user", "add", "ben", "correct horse battery", "--role", "reader"]);
    assert_eq!(argument.status.code(), Some(2), "{}", words(&argument));
    assert_eq!(scene.root(&["user", "add", "ben", "--role", "reader"]).status.code(), Some(2), "nobody typed one");
    assert!(scene.type_as_root(&["user", "passwd", "anna"], "another horse battery").status.success());
    assert!(scene.root(&["user", "role", "anna", "reader"]).status.success());
    let list = words(&scene.root(&["user", "list"]));
    assert!(list.contains("anna") && list.contains("reader") && !list.contains("argon2"), "{list}");
    assert_eq!(scene.root(&["user", "remove", "ben"]).status.code(), Some(3));
    assert!(scene.root(&["user", "remove", "anna"]).status.success());
    assert!(words(&scene.root(&["user", "list"])).contains("no user"));
}
