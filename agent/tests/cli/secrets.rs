//! Secrets are encrypted here, and never shown.

use piccolo_agent::secrets::Identity;
use piccolo_schema::{Manifest, Role, parse::parse};

use crate::machine::Machine;

#[tokio::test]
async fn secrets_are_encrypted_on_this_side() {
    let machine = Machine::open().await;
    let key = machine.house.dir.path().join("key.age");
    let (identity, recovery) = (Identity::read_or_make(&key).unwrap(), Identity::generate());
    let recipient = identity.recipient().to_string();
    let made = machine.run_with(&["secret", "set", "db", "password", "--recipient", &recipient], &[], "one\n").await;
    made.is(0, "secret/db created: password\n", "");
    let text = machine.house.read("secrets/db.toml");
    assert!(text.contains("password = \"\"\"\n-----BEGIN AGE ENCRYPTED FILE-----\n"), "{text}");
    machine.write("raw", "two\n");
    let set = ["secret", "set", "db", "raw", "--from", "raw", "--recipient", &recipient];
    machine.run(&set).await.is(0, "secret/db changed: raw\n", "");
    let opened = |identity: &Identity, key: &str| {
        let text = machine.house.read("secrets/db.toml");
        let Ok(Manifest::Secret(secret)) = parse(&text) else { panic!("{text}") };
        identity.open(&secret.spec.data[key]).map(|value| value.expose().to_vec())
    };
    assert_eq!(
        (opened(&identity, "password").unwrap(), opened(&identity, "raw").unwrap()),
        (b"one".into(), b"two\n".into())
    );
    let listed = machine.run(&["secret", "list"]).await;
    listed.lists("NAME  VALUES         READABLE FOR  AGE\ndb    password, raw  this machine ");

    // A recovery key is added by hand; comments stay.
    let recipients = format!("# on paper\nrecipients = [\"{}\"]\n\n[spec.data]", recovery.recipient());
    let text = machine.house.read("secrets/db.toml").replace("[spec.data]", &format!("[spec]\n{recipients}"));
    let text = text.replacen("[spec]\n\n[spec]", "[spec]", 1);
    machine.write("db.toml", &text);
    let rotate = ["secret", "rotate", "db", "-f", "db.toml", "--identity", "key.age", "--recipient", &recipient];
    let rotated = "secret/db changed: 2 value(s) encrypted for 2 recipient(s)\n";
    machine.run(&rotate).await.is(0, rotated, "");
    machine.run(&["apply", "-f", "db.toml"]).await.is(0, "secret/db changed\n", "");
    assert!(machine.house.read("secrets/db.toml").contains("# on paper\n"));
    assert_eq!(opened(&recovery, "password").unwrap(), b"one");
    let listed = machine.run(&["secret", "list"]).await;
    listed.lists("NAME  VALUES         READABLE FOR             AGE\ndb    password, raw  this machine and 1 more ");
}

#[tokio::test]
async fn secrets_say_what_is_wrong_and_never_a_value() {
    let machine = Machine::open().await;
    machine.run(&["secret", "list"]).await.is(0, "", "there is no secret; `piccolo secret set NAME KEY` makes one\n");
    let wrong = machine.run_with(&["secret", "set", "db", "../x"], &[], "hunter2").await;
    wrong.is(2, "", "error: the name of a value has at most 128 letters, digits, `.`, `_` and `-`\n");
    // The house of this test has no key of its own.
    let nobody = machine.run_with(&["secret", "set", "db", "password"], &[], "hunter2").await;
    let words = "error: this machine has no key that can be used, so nothing can be encrypted for it\n help: see `piccolo \
                 status`, and mend the key file\n";
    nobody.is(1, "", words);
    let recipient = Identity::generate().recipient().to_string();
    let empty = machine.run(&["secret", "set", "db", "password", "--recipient", &recipient]).await;
    empty.is(2, "", "error: there is no value on standard input\n");
    machine.run(&["secret", "rotate", "db"]).await.is(3, "", "error: there is no Secret `db`\n");
    let set = ["secret", "set", "db", "password", "--recipient", &recipient];
    assert_eq!(machine.run_with(&set, &[], "hunter2").await.code, 0);
    Identity::read_or_make(&machine.house.dir.path().join("other.age")).unwrap();
    let other = machine.run(&["secret", "rotate", "db", "--identity", "other.age", "--recipient", &recipient]).await;
    other.is(1, "", "error: `password`: it is not encrypted for this machine; nothing was changed\n");
    machine.write("db.toml", &machine.house.read("secrets/db.toml").replace("-----BEGIN", "hunter2"));
    let plain = machine.run(&["apply", "-f", "db.toml"]).await;
    assert!(plain.code == 1 && plain.err.contains("PIC0030") && !plain.err.contains("hunter2"), "{}", plain.err);
}

#[tokio::test]
async fn what_a_link_stands_on_is_confirmed_by_whoever_encrypts_it_anew() {
    let machine = Machine::open().await;
    let (address, _stop) = machine.house.serve();
    let host = format!("localhost:{}", address.port());
    let context = format!(
        "[contexts.attic]\nhost = \"{host}\"\ntoken = \"{}\"\nauthority = \"\"\"\n{}\"\"\"\n",
        machine.house.token(Role::Admin),
        machine.house.plate.pem
    );
    machine.write("config/piccolo/contexts.toml", &context);
    let config = machine.house.dir.path().join("config").display().to_string();
    let at = format!("https://{host}");
    let env = [("PICCOLO_HOST", at.as_str()), ("XDG_CONFIG_HOME", config.as_str())];
    let link = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Link\"\nmetadata.name = \"air\"\n[spec]\nmatch = { mac = \
                \"52:54:00:00:00:09\" }\ndhcp4 = true\nwifi = { ssid = \"home\", psk = { secret = \"net\", key = \"home\" } }\n";
    machine.write("air.toml", link);
    assert_eq!(machine.run(&["apply", "-f", "air.toml"]).await.code, 0);
    let identity = Identity::read_or_make(&machine.house.dir.path().join("key.age")).unwrap();
    let recipient = identity.recipient().to_string();
    let set = ["secret", "set", "net", "home", "--recipient", &recipient];
    assert_eq!(machine.run_with(&set, &[], "a good password").await.code, 0);

    let tried = || *machine.house.wires.tried.lock().unwrap();
    let rotate = ["secret", "rotate", "net", "--identity", "key.age", "--recipient", &recipient];
    *machine.house.wires.tried.lock().unwrap() = Some("air");
    // Whoever wants to see for themselves does, and an answer over the machine's own socket proves nothing.
    for (more, env) in [(&["--no-confirm"][..], &env[..]), (&[], &[])] {
        let rotated = machine.run_with(&[&rotate[..], more].concat(), env, "").await;
        assert_eq!((rotated.code, tried()), (0, Some("air")), "{}", rotated.err);
    }
    let rotated = machine.run_with(&rotate, &env, "").await;
    assert_eq!((rotated.code, tried()), (0, None), "{}", rotated.err);
    let said = format!("link/air stays: the machine answers at {host}\n");
    assert!(rotated.out.ends_with(&said), "{}", rotated.out);
}
