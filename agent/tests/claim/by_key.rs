//! A machine is claimed by whoever owns the key that its seed names, and by nobody who stands between.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use crate::scene::{Scene, Wire, words};

#[test]
fn a_machine_without_a_screen_is_claimed_by_a_key() {
    let mut scene = Scene::before();
    for name in ["key", "other"] {
        let path = scene.path(name);
        let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(path).status();
        assert!(made.unwrap().success());
    }
    let (key, other) = (scene.path("key").display().to_string(), scene.path("other").display().to_string());
    let seed = scene.piccolo(&["token", "seed", "--key", &format!("{key}.pub"), "--name", "home.example.org"]);
    assert!(seed.status.success(), "{}", words(&seed));
    assert_eq!(scene.piccolo(&["token", "seed", "--key", &key]).status.code(), Some(2), "that is the private half");
    fs::write(scene.path("seed.toml"), &seed.stdout).unwrap();
    fs::set_permissions(scene.path("seed.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    scene.start();
    let print = scene.screen("fingerprint");
    let wire = Wire::default();
    let machine = wire.to(scene.address).to_string();
    // It is nobody's yet: the key is a promise.
    assert!(words(&scene.root(&["claim", "--show"])).contains("code  "));
    assert!(words(&scene.root(&["events"])).contains("waits for the owner of the key SHA256:"));
    let stranger = scene.piccolo(&["claim", &machine, "--fingerprint", &print, "--key", &other]);
    assert_eq!(stranger.status.code(), Some(4), "{}", words(&stranger));
    let elsewhere = scene.piccolo(&["claim", &machine, "--fingerprint", "AAAA-AAAA-AAAA", "--key", &key]);
    assert_eq!(elsewhere.status.code(), Some(4), "{}", words(&elsewhere));
    let claimed = scene.piccolo(&["claim", &machine, "--key", &key, "--label", "anna", "--name", "attic"]);
    assert!(claimed.status.success() && words(&claimed).contains("nobody compared"), "{}", words(&claimed));
    assert!(scene.piccolo(&["status"]).status.success());
    let again = scene.piccolo(&["claim", &machine, "--key", &key]);
    assert_eq!(again.status.code(), Some(5), "{}", words(&again));
    assert!(!wire.holds(&scene.token()) && !wire.holds("SSH SIGNATURE") && !wire.holds("HTTP/1.1"));
    let audit = words(&scene.root(&["audit", "-o", "json"]));
    let lines: serde_json::Value = serde_json::from_str(&audit).unwrap();
    let told: Vec<_> = lines["items"].as_array().unwrap().iter().collect();
    let met = |door: &str, who: &str, action: &str, result: &str| {
        let is_met = |it: &&&serde_json::Value| {
            it["door"] == door
                && it["who"] == who
                && it["result"] == result
                && it["action"].as_str().is_some_and(|it| it.starts_with(action))
        };
        told.iter().filter(is_met).count()
    };
    assert_eq!(met("seed", "piccolod", "wait for the owner of the key SHA256:", "applied"), 1, "{audit}");
    assert_eq!(met("api", "-", "POST /claim/key", "403"), 1, "{audit}");
    assert_eq!(met("api", "anna", "POST /claim/key", "201"), 1, "{audit}");
}

/// Somebody in between has a machine of his own, which waits for the same key and passes on what the other one asks.
#[test]
fn who_stands_between_gets_nothing_by_a_key() {
    let mut scene = Scene::before();
    let key = scene.path("key");
    let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let public = format!("{}.pub", key.display());
    fs::write(scene.path("seed.toml"), &scene.piccolo(&["token", "seed", "--key", &public]).stdout).unwrap();
    scene.start();
    let between = Scene::open();
    let challenge = |scene: &Scene| {
        let answer = scene.asks("GET", "/claim/key", "");
        answer.split("\"challenge\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    // What the owner signs when he believes that it is the machine: its challenge, but the authority that he sees.
    let asked = challenge(&scene);
    let print = |scene: &Scene| {
        let pem = fs::read_to_string(scene.path("state/access/ca.pem")).unwrap();
        let body: String = pem.lines().filter(|it| !it.starts_with("-----")).collect();
        piccolo_agent::access::Print::of(&data_encoding::BASE64.decode(body.as_bytes()).unwrap())
    };
    let sign = |seen: &Scene| {
        let vow = piccolo_agent::access::vow(&asked, &print(seen), "anna");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-Y", "sign", "-q", "-n", "piccolo-claim", "-f"]).arg(&key);
        let mut child = keygen.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(vow.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let pass_on = |signature: &str| {
        let body = serde_json::json!({ "challenge": asked, "label": "anna", "signature": signature });
        scene.sends("/claim/key", &body.to_string())
    };
    let passed = pass_on(&sign(&between));
    assert!(passed.starts_with("HTTP/1.1 403") && passed.contains("NotSigned"), "{passed}");
    assert!(words(&scene.root(&["token", "list"])).contains("no token"));
    // For the machine itself it is good, once.
    let signature = sign(&scene);
    assert!(pass_on(&signature).starts_with("HTTP/1.1 201"));
    assert!(pass_on(&signature).starts_with("HTTP/1.1 409"));
}
