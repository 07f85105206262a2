#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{fs, os::unix::fs::MetadataExt};

use tempfile::TempDir;

use super::*;
use crate::secrets::{Plain, seal};

struct House {
    root: TempDir,
    vault: Vault,
    identity: Identity,
}

impl House {
    fn open() -> Self {
        let (root, identity) = (TempDir::new().unwrap(), Identity::generate());
        let vault = Vault::new(root.path().join("secrets"), Ok(identity.clone()));
        Self { root, vault, identity }
    }

    fn spec(&self, values: &[(&str, &str)]) -> SecretSpec {
        let sealed = |value: &str| seal(&Plain::new(value.into()), &[self.identity.recipient()]).unwrap();
        let data = values.iter().map(|(key, value)| ((*key).to_owned(), sealed(value))).collect();
        SecretSpec { data, recipients: Vec::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join("secrets").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Returns the names of the values of a secret that are just as they were written.
    async fn whole(&self, name: &str) -> Vec<String> {
        let seen = self.vault.secrets().await.unwrap().secrets;
        let values = seen.into_iter().filter(|seen| seen.name == name).flat_map(|seen| seen.values);
        values.filter(|(_, value)| value.sealed.is_some()).map(|(key, _)| key).collect()
    }
}

/// The one who runs the tests owns the files: only root can give them away.
fn mine(path: &Path, key: Option<&str>) -> SecretUse {
    let metadata = fs::metadata(path).unwrap();
    SecretUse {
        secret: "db".into(),
        key: key.map(str::to_owned),
        path: Some("/run/db".into()),
        mode: Some("0440".into()),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
        ..SecretUse::default()
    }
}

#[tokio::test]
async fn values_are_held_for_root_alone_and_go_with_the_secret() {
    let house = House::open();
    let spec = house.spec(&[("password", "one"), ("user", "app")]);
    house.vault.write_secret("db", &spec).await.unwrap();
    assert_eq!((house.read("values/db/password"), house.whole("db").await.len()), ("one".to_owned(), 2));
    assert_eq!(files::rights(&house.path("")).unwrap().0, 0o700);
    assert_eq!(files::rights(&house.path("values/db/password")).unwrap().0, 0o400);
    house.vault.write_secret("db", &house.spec(&[("user", "app")])).await.unwrap();
    assert_eq!(house.whole("db").await, ["user"]);
    house.vault.remove_secret("db").await.unwrap();
    house.vault.remove_secret("db").await.unwrap();
    assert!(house.vault.secrets().await.unwrap().secrets.is_empty() && !house.path("stamps/db").exists());
}

#[tokio::test]
async fn a_value_for_others_changes_nothing_and_is_named() {
    let house = House::open();
    let before = house.spec(&[("password", "one")]);
    house.vault.write_secret("db", &before).await.unwrap();
    let mut spec = house.spec(&[("password", "two")]);
    let foreign = seal(&Plain::new(b"three".to_vec()), &[Identity::generate().recipient()]).unwrap();
    spec.data.insert("token".into(), foreign);
    let error = house.vault.write_secret("db", &spec).await.unwrap_err();
    assert_eq!(error.reason, Reason::Undecryptable);
    assert!(error.message.contains("`token`: it is not encrypted for this machine"), "{error}");
    assert_eq!(house.read("values/db/password"), "one");
}

#[tokio::test]
async fn what_a_hand_changed_is_seen_and_given_to_nobody() {
    let house = House::open();
    house.vault.write_secret("db", &house.spec(&[("password", "one")])).await.unwrap();
    fs::remove_file(house.path("values/db/password")).unwrap();
    fs::write(house.path("values/db/password"), "other").unwrap();
    assert!(house.whole("db").await.is_empty());
    assert!(house.vault.given().await.unwrap().0.is_empty());
}

#[tokio::test]
async fn files_of_a_container_change_in_place() {
    let house = House::open();
    house.vault.write_secret("db", &house.spec(&[("password", "a long first value"), ("user", "app")])).await.unwrap();
    let (all, one) = (mine(house.root.path(), None), mine(house.root.path(), Some("password")));
    let uses = [all.clone(), one.clone()];
    house.vault.place("web", &uses).await.unwrap();
    let source = |it: &SecretUse| house.vault.source("web", it).unwrap();
    let (file, other) = (source(&one), source(&all).join("password"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "a long first value");
    let before = (fs::metadata(&file).unwrap().ino(), fs::metadata(source(&all)).unwrap().ino());
    let (digests, places) = house.vault.given().await.unwrap();
    let seen = &places["web"][&place(&one).unwrap()]["password"];
    assert_eq!((&seen.digest, seen.mode), (&digests["db"]["password"], 0o440));

    house.vault.write_secret("db", &house.spec(&[("password", "short")])).await.unwrap();
    house.vault.place("web", &uses).await.unwrap();
    assert_eq!(
        (fs::read_to_string(&file).unwrap(), fs::read_to_string(other).unwrap()),
        ("short".into(), "short".into())
    );
    let after = (fs::metadata(&file).unwrap().ino(), fs::metadata(source(&all)).unwrap().ino());
    assert_eq!(before, after, "a container holds on to these very inodes");
    assert!(!source(&all).join("user").exists());

    house.vault.clear("web", &[place(&all).unwrap(), place(&one).unwrap()]).await.unwrap();
    assert!(!house.path("containers/web").exists());
}

#[tokio::test]
async fn a_variable_is_text() {
    let house = House::open();
    house.vault.write_secret("db", &house.spec(&[("password", "one"), ("raw", "a\0b")])).await.unwrap();
    let with = |key: &str| {
        let secrets = serde_json::json!([{ "secret": "db", "key": key, "env": "PASSWORD" }]);
        serde_json::from_value::<ContainerSpec>(serde_json::json!({ "image": "x", "secrets": secrets })).unwrap()
    };
    let variables = house.vault.variables(&with("password")).await.unwrap();
    assert_eq!(variables.lines, ["PASSWORD=one"]);
    assert_eq!(house.vault.variables(&with("raw")).await.err().unwrap().reason, Reason::Refused);
    assert_eq!(house.vault.variables(&with("none")).await.err().unwrap().reason, Reason::Gone);
}

#[tokio::test]
async fn a_disk_is_told_from_memory() {
    let here = |root: &str| Vault::new(root.into(), Ok(Identity::generate()));
    let on_disk = here("/proc/self/x").secrets().await.unwrap().on_disk;
    assert_eq!(on_disk.as_deref(), Some("/proc/self/x"));
    if Path::new("/dev/shm").is_dir() {
        assert_eq!(here("/dev/shm/not/there").secrets().await.unwrap().on_disk, None);
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_given_and_nothing_is_touched() {
    let house = House::open();
    let spec = house.spec(&[("password", "one")]);
    house.vault.write_secret("db", &spec).await.unwrap();
    let broken = Vault::new(house.path(""), Err("the key file holds no key".into()));
    assert!(broken.given().await.unwrap().0.is_empty());
    let error = broken.write_secret("db", &spec).await.unwrap_err();
    assert_eq!((error.reason, error.message.as_str()), (Reason::Undecryptable, "the key file holds no key"));
    assert_eq!((house.read("values/db/password"), house.whole("db").await.len()), ("one".to_owned(), 1));
}
