//! Archives of images: what is understood, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "archives/leaving.rs"]
mod leaving;

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use piccolo_agent::archive::{ArchiveError, Layout, for_engine, size_for_engine};
use piccolo_schema::image::Reference;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

type Archive = Cursor<Vec<u8>>;

/// A tar in the making, which writes whatever it is told.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.part(name, EntryType::Regular, "", bytes.len() as u64, bytes)
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.part(name, EntryType::Symlink, to, 0, &[])
    }

    fn part(mut self, name: &str, kind: EntryType, to: &str, size: u64, bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn end(mut self) -> Archive {
        self.0.resize(self.0.len() + 1024, 0);
        Cursor::new(self.0)
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The parts of an OCI image layout, by path; those of a digest under the name of their own.
struct Oci {
    index: Value,
    manifest: Value,
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl Oci {
    fn new() -> Self {
        let (config, layers) = (b"{\"os\":\"linux\"}".to_vec(), vec![b"lower".to_vec(), b"upper".to_vec()]);
        let describe = |bytes: &Vec<u8>| json!({ "mediaType": "x", "digest": digest(bytes), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2, "config": describe(&config), "layers": layers.iter().map(describe).collect::<Vec<_>>(),
        });
        let mut it = Self { index: Value::Null, manifest, config, layers };
        it.index = json!({ "schemaVersion": 2, "manifests": [it.descriptor("app:1")] });
        it
    }

    fn descriptor(&self, name: &str) -> Value {
        let bytes = self.manifest.to_string().into_bytes();
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&bytes), "size": bytes.len(),
            "annotations": { "io.containerd.image.name": name },
        })
    }

    fn digest(&self) -> String {
        digest(self.manifest.to_string().as_bytes())
    }

    fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        let all = self.layers.iter().cloned().chain([self.config.clone(), self.manifest.to_string().into_bytes()]);
        all.map(|bytes| (digest(&bytes).replace(':', "/"), bytes)).collect()
    }

    fn tar(&self) -> Tar {
        let tar = Tar::default().part("blobs/", EntryType::Directory, "", 0, &[]);
        let tar = self.blobs().into_iter().fold(tar, |tar, (path, bytes)| tar.file(&format!("blobs/{path}"), &bytes));
        tar.file("oci-layout", b"{}").file("index.json", self.index.to_string().as_bytes())
    }
}

fn saved(layers: &[&str], names: &[&str]) -> Tar {
    let list = json!([{ "Config": "c.json", "RepoTags": names, "Layers": layers }]);
    Tar::default().file("c.json", b"{}").file("manifest.json", list.to_string().as_bytes())
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// Reads an archive as far as it is ever read.
fn load(mut archive: Archive, wanted: &str) -> Result<(Vec<u8>, String), ArchiveError> {
    let found = Layout::read(&mut archive)?.find(&reference(wanted))?.clone();
    found.verify(&mut archive)?;
    let mut out = Vec::new();
    for_engine(&found, &mut archive, &mut out)?;
    assert_eq!(out.len() as u64, size_for_engine(&found));
    Ok((out, found.id().unwrap().to_owned()))
}

fn refused(archive: Archive) -> String {
    load(archive, "app:1").unwrap_err().to_string()
}

/// Unpacks with other hands.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut tar = tar::Archive::new(archive);
    let files = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    files.collect()
}

#[test]
fn an_oci_archive_becomes_what_every_engine_loads() {
    let oci = Oci::new();
    let (out, id) = load(oci.tar().end(), "lan:5000/other:7").unwrap();
    assert_eq!(id, digest(&oci.config));
    let files = files(&out);
    let list: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(list[0]["RepoTags"], Value::Null);
    assert_eq!(files[list[0]["Config"].as_str().unwrap()], oci.config);
    let layers: Vec<_> = list[0]["Layers"].as_array().unwrap().iter().map(|it| &files[it.as_str().unwrap()]).collect();
    assert_eq!(layers, oci.layers.iter().collect::<Vec<_>>());
}

#[test]
fn an_archive_of_docker_keeps_its_links() {
    let archive = saved(&["one/layer.tar", "two/layer.tar"], &["app:1"]);
    let (out, id) =
        load(archive.file("one/layer.tar", b"layer").link("two/layer.tar", "../one/layer.tar").end(), "app:1").unwrap();
    assert_eq!(id, digest(b"{}"));
    assert_eq!((&files(&out)["0/layer.tar"][..], &files(&out)["1/layer.tar"][..]), (&b"layer"[..], &b"layer"[..]));
}

#[test]
fn a_name_beyond_the_header_is_read() {
    let long = format!("{}/layer.tar", "d".repeat(120));
    let record = format!("path={long}\n");
    let line = format!("{} {record}", record.len() + 4);
    let archive = saved(&[&long], &["app:1"]).part("x", EntryType::XHeader, "", line.len() as u64, line.as_bytes());
    assert_eq!(files(&load(archive.file("short", b"layer").end(), "app:1").unwrap().0)["0/layer.tar"], b"layer");
}

#[test]
fn a_digest_finds_its_image_and_no_other() {
    let oci = Oci::new();
    let by = |digest: &str| load(oci.tar().end(), &format!("app@{digest}"));
    assert!(by(&oci.digest()).is_ok());
    let other = by(&digest(b"other")).unwrap_err().to_string();
    assert!(other.contains("no image in it has the digest") && other.contains(&oci.digest()), "{other}");
    let docker = load(saved(&[], &["app:1"]).end(), &format!("app@{}", oci.digest())).unwrap_err().to_string();
    assert!(docker.contains("write it as an OCI archive"), "{docker}");
}

#[test]
fn of_several_images_the_name_decides() {
    let list = json!([
        { "Config": "c.json", "RepoTags": ["app:1"], "Layers": [] },
        { "Config": "d.json", "RepoTags": ["app:2"], "Layers": [] },
    ]);
    let archive = || {
        Tar::default()
            .file("c.json", b"{}")
            .file("d.json", b"[]")
            .file("manifest.json", list.to_string().as_bytes())
            .end()
    };
    assert_eq!(load(archive(), "docker.io/library/app:2").unwrap().1, digest(b"[]"));
    let none = load(archive(), "app:3").unwrap_err().to_string();
    assert_eq!(none, "it has 2 images and none of them is app:3: app:1, app:2");
}

#[test]
fn of_several_platforms_this_one_is_taken() {
    let mut oci = Oci::new();
    let mut here = oci.descriptor("x");
    here["platform"] =
        json!({ "os": "linux", "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" } });
    let mut other = here.clone();
    other["platform"] = json!({ "os": "linux", "architecture": "s390x" });
    let mut proof = here.clone();
    proof["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let list = json!({ "schemaVersion": 2, "manifests": [other, proof, here] }).to_string();
    oci.index = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest(list.as_bytes()), "size": list.len(),
    }] });
    let path = format!("blobs/{}", digest(list.as_bytes()).replace(':', "/"));
    let archive = || oci.tar().file(&path, list.as_bytes()).end();
    assert!(load(archive(), "app:1").is_ok());
    // Both the digest of the list and that of the image are names of it.
    assert!(load(archive(), &format!("app@{}", digest(list.as_bytes()))).is_ok());
    assert!(load(archive(), &format!("app@{}", oci.digest())).is_ok());
}

#[test]
fn names_that_lead_outside_are_refused() {
    for (name, why) in [("../c.json", "goes up"), ("a/../../b", "goes up"), ("/etc/passwd", "absolute")] {
        let told = refused(saved(&[], &[]).file(name, b"").end());
        assert!(told.contains(why), "{told}");
        // Also where a document names it.
        let told = refused(saved(&[name], &[]).end());
        assert!(told.contains(why), "{told}");
    }
    for (to, why) in [("../../etc/passwd", "leads outside"), ("/etc/passwd", "absolute"), ("b", "no file")] {
        let told = refused(saved(&["a"], &[]).link("a", to).end());
        assert!(told.contains(why), "{told}");
    }
    let told = refused(saved(&["a"], &[]).link("a", "b").link("b", "a").end());
    assert!(told.contains("lead nowhere"), "{told}");
}

#[test]
fn what_is_no_file_is_refused() {
    for kind in [
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::GNUSparse,
        EntryType::GNULongName,
    ] {
        let told = refused(saved(&[], &[]).part("a", kind, "c.json", 0, &[]).end());
        assert!(told.contains("neither a file nor a directory"), "{kind:?}: {told}");
    }
    let twice = refused(saved(&[], &[]).file("c.json", b"{\"other\":1}").end());
    assert!(twice.contains("twice"), "{twice}");
    let both = refused(saved(&[], &[]).link("./c.json", "d").end());
    assert!(both.contains("twice"), "{both}");
}

#[test]
fn there_are_bounds_to_everything() {
    let many = (0..20_001).fold(Tar::default(), |tar, number| tar.file(&format!("{number}"), b""));
    assert!(refused(many.end()).contains("more than 20000 parts"));
    let layers = vec!["l"; 600];
    assert!(refused(saved(&layers, &[]).file("l", b"").end()).contains("600 layers"));
    let again = vec!["l"; 100];
    assert!(refused(saved(&again, &[]).file("l", &[7; 10_000]).end()).contains("again and again"));
    let images = Value::Array(vec![json!({ "Config": "c.json" }); 101]);
    assert!(refused(Tar::default().file("manifest.json", images.to_string().as_bytes()).end()).contains("100 images"));
    let large = vec![b' '; (4 << 20) + 1];
    assert!(refused(Tar::default().file("manifest.json", &large).end()).contains("more than 4194304"));
    assert!(refused(Tar::default().file("index.json", &large).end()).contains("more than 4194304"));
    let extension = refused(saved(&[], &[]).part("x", EntryType::XHeader, "", 70_000, &[0; 70_000]).end());
    assert!(extension.contains("more than 65536"), "{extension}");
    // What says that it is larger than the archive is not there.
    let short = refused(saved(&[], &[]).part("a", EntryType::Regular, "", 1 << 40, b"").end());
    assert!(short.contains("ends too early"), "{short}");
    let wraps = refused(saved(&[], &[]).part("a", EntryType::Regular, "", u64::MAX - 100, b"").end());
    assert!(wraps.contains("ends too early"), "{wraps}");
}

#[test]
fn lists_that_hold_themselves_come_to_an_end() {
    // A list in a list in a list; no list can hold itself as long as digests are counted up.
    let mut tar = Oci::new().tar();
    let mut inner = Oci::new().descriptor("x");
    for _ in 0..5 {
        let list = json!({ "schemaVersion": 2, "manifests": [inner] }).to_string();
        tar = tar.file(&format!("blobs/{}", digest(list.as_bytes()).replace(':', "/")), list.as_bytes());
        inner = json!({ "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest(list.as_bytes()), "size": list.len() });
    }
    let index = json!({ "schemaVersion": 2, "manifests": [inner] }).to_string();
    let bytes = tar.end().into_inner();
    // The index that was written first is called otherwise.
    let at = bytes.windows(10).position(|part| part == b"index.json").unwrap();
    let mut other = Tar(bytes[..at].to_vec()).file("index.json", index.as_bytes());
    other.0.extend(&bytes[at + 1024..]);
    assert!(refused(Cursor::new(other.0)).contains("too deep"));
}

#[test]
fn lying_digests_are_found() {
    for part in 0..4 {
        let oci = Oci::new();
        let wrong = match part {
            0 => oci.manifest.to_string().into_bytes(),
            1 => oci.config.clone(),
            part => oci.layers[part - 2].clone(),
        };
        let mut archive = oci.tar().end().into_inner();
        let at = archive.windows(wrong.len()).position(|bytes| bytes == wrong).unwrap();
        archive[at + wrong.len() - 2] ^= 1;
        let told = refused(Cursor::new(archive));
        assert!(told.contains("what calls itself"), "{told}");
    }
    let mut oci = Oci::new();
    oci.index["manifests"][0]["size"] = json!(1);
    assert!(refused(oci.tar().end()).contains("shall have 1 bytes"));
    for wrong in ["md5:00", "sha256:..", "sha256:../../../../etc/passwd"] {
        oci.index["manifests"][0]["digest"] = json!(wrong);
        assert!(refused(oci.tar().end()).contains("no sha256 digest"));
    }
}

#[test]
fn what_is_no_archive_of_an_image_is_named() {
    assert!(refused(Cursor::new(Vec::new())).contains("it is empty"));
    assert!(refused(Cursor::new(vec![b'x'; 2000])).contains("it is no tar"));
    assert!(refused(Cursor::new([&[0x1f, 0x8b][..], &[8; 1000]].concat())).contains("gunzip"));
    assert!(refused(Tar::default().file("readme", b"hello").end()).contains("neither `index.json` nor"));
    assert!(refused(Tar::default().file("manifest.json", b"{").end()).contains("can't be understood"));
    let bytes = Oci::new().tar().end().into_inner();
    assert!(refused(Cursor::new(bytes[..bytes.len() - 1024].to_vec())).contains("ends too early"));
    assert!(refused(Cursor::new(bytes[..700].to_vec())).contains("ends too early"));
}

#[test]
fn what_is_shown_of_an_archive_moves_no_terminal() {
    let told = refused(saved(&["\x1b[2Jwiped"], &["app:1"]).end());
    assert!(!told.contains('\x1b'), "{told:?}");
}

proptest! {
    /// Whatever is changed in an archive, nothing breaks; and what is loaded is what was in it.
    #[test]
    fn damage_is_refused_or_does_no_harm(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let oci = Oci::new();
        let mut bytes = oci.tar().end().into_inner();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok((out, _)) = load(Cursor::new(bytes), &format!("app@{}", oci.digest())) {
            prop_assert_eq!(&files(&out)["0/layer.tar"], &oci.layers[0]);
        }
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        prop_assert!(load(Cursor::new(bytes), "app:1").is_err());
    }
}
