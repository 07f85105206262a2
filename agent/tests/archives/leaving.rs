//! Archives that leave the machine.

use std::io::Cursor;

use piccolo_agent::archive::{Export, Layout};
use serde_json::{Value, json};

use crate::{Archive, Tar, digest, files, load, reference};

/// Writes the image of an archive anew, as it goes to other machines.
fn exported(mut archive: Archive, name: &str) -> (Vec<u8>, String) {
    let layout = Layout::read(&mut archive).unwrap();
    let export = Export::new(&layout.images[0], &reference(name), &mut archive).unwrap();
    let mut out = Vec::new();
    export.write(&mut archive, &mut out).unwrap();
    assert_eq!(out.len() as u64, export.size());
    (out, export.digest().to_owned())
}

#[test]
fn what_leaves_is_an_oci_archive_that_docker_loads_too() {
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": [digest(b"layer"), digest(b"layer")] } });
    let list = json!([{ "Config": "c.json", "RepoTags": ["app:1"], "Layers": ["one/layer.tar", "two/layer.tar"] }]);
    let saved = || {
        let tar = Tar::default().file("c.json", config.to_string().as_bytes()).file("one/layer.tar", b"layer");
        tar.link("two/layer.tar", "../one/layer.tar").file("manifest.json", list.to_string().as_bytes()).end()
    };
    let (out, named) = exported(saved(), "lan:5000/app:2");
    assert_eq!(exported(saved(), "lan:5000/app:2"), (out.clone(), named.clone()), "the same image, other bytes");
    let files = files(&out);
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let manifest = &index["manifests"][0];
    assert_eq!(manifest["digest"], named.as_str());
    assert_eq!(manifest["annotations"]["io.containerd.image.name"], "lan:5000/app:2");
    assert_eq!(manifest["annotations"]["org.opencontainers.image.ref.name"], "2");
    assert_eq!(manifest["platform"], json!({ "architecture": "amd64", "os": "linux" }));
    assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(docker[0]["RepoTags"], json!(["lan:5000/app:2"]));
    assert_eq!(docker[0]["Layers"].as_array().unwrap().len(), 2);
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
        assert_eq!(format!("blobs/{}", digest(bytes).replace(':', "/")), *path);
    }
    // And it comes in again, by its name and by its digest.
    let (_, id) = load(Cursor::new(out.clone()), &format!("app@{named}")).unwrap();
    assert_eq!(id, digest(config.to_string().as_bytes()));
    let found = Layout::read(&mut Cursor::new(out)).unwrap();
    assert_eq!(
        (found.images[0].names.clone(), found.images[0].digest()),
        (vec!["lan:5000/app:2".to_owned()], Some(&*named))
    );
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_does_not_leave() {
    let config = json!({ "rootfs": { "diff_ids": [digest(b"other")] } }).to_string();
    let list = json!([{ "Config": "c.json", "Layers": ["l"] }]).to_string();
    let tar = Tar::default().file("c.json", config.as_bytes()).file("l", b"layer");
    let mut archive = tar.file("manifest.json", list.as_bytes()).end();
    let layout = Layout::read(&mut archive).unwrap();
    let told = Export::new(&layout.images[0], &reference("app:1"), &mut archive).unwrap_err().to_string();
    assert!(told.contains("layer 0 is"), "{told}");
}
