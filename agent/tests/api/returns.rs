//! Ways back: rollbacks, and changes on trial.

use piccolo_agent::history::{Digests, Resolved};
use serde_json::json;

use crate::{
    JSON, manifest,
    support::{CONTAINERS, House, WEB},
    web,
};

#[tokio::test]
async fn a_rollback_is_planned_and_then_done() {
    let house = House::open().await;
    house.put_web().await;
    let other = WEB.replace("1.27", "1.28");
    house.send("PUT", &format!("{CONTAINERS}/web"), &[("content-type", "application/toml")], other).await;
    let history = loop {
        let history = house.get("/history").await.json();
        if history["items"].as_array().unwrap().len() == 2 {
            break history;
        }
    };
    assert_eq!(history["items"][0]["message"], "change container/web");
    assert_eq!(history["items"][0]["author"], "root");
    let body = json!({ "revision": "main~1" }).to_string();
    let plan = house.send("POST", "/history/rollback?dryRun=All", &[], body.clone()).await.json();
    assert_eq!((&plan["kind"], &plan["digests"]), (&json!("Plan"), &json!([])));
    assert!(house.read("containers/web.toml").contains("1.28"));
    assert_eq!(house.send("POST", "/history/rollback", &[], body).await.status, 200);
    assert_eq!(house.read("containers/web.toml"), WEB);
    let unknown = json!({ "revision": "--all" }).to_string();
    assert_eq!(house.send("POST", "/history/rollback", &[], unknown).await.status, 404);
}

#[tokio::test]
async fn a_rollback_brings_back_what_ran_then() {
    let house = House::open().await;
    let toml = [("content-type", "application/toml")];
    house.put_web().await;
    let gone_on = WEB.replace("\"web\"", "\"db\"")
        + "update = { policy = \"auto\" }\nmounts = [{ path = \"/d\", volume = \"data\" }]\n";
    let volume =
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Volume\"\nmetadata.name = \"data\"\nspec.snapshot = true\n";
    for (path, text) in [("containers/db", gone_on), ("volumes/data", volume.to_owned())] {
        let put = house.send("PUT", &format!("/apis/piccolo.os/v1alpha1/{path}"), &toml, text).await;
        assert_eq!(put.status, 201, "{}", put.text);
    }
    let recorded = async |many| while house.get("/history").await.json()["items"].as_array().unwrap().len() != many {};
    recorded(3).await;
    let ran = |digest: &str| Resolved { image: "nginx:1.27".to_owned(), digest: digest.to_owned() };
    let all = ["db", "gone", "web"].map(|name| (name.to_owned(), ran("sha256:old")));
    house.digests.send_replace(Digests::from(all));
    let noted = async { while house.get("/history/diff?from=main~1").await.text.matches("sha256:old").count() != 3 {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), noted).await.unwrap();
    house.send("PUT", &format!("{CONTAINERS}/web"), &toml, WEB.replace("1.27", "1.28")).await;
    recorded(4).await;

    let body = json!({ "revision": "main~1" }).to_string();
    let left = "its data has moved on with its image; `piccolo rollback container/db` takes both back";
    let told = json!([
        { "container": "db", "image": "nginx:1.27", "digest": "sha256:old", "leftBecause": left },
        { "container": "web", "image": "nginx:1.27", "digest": "sha256:old", "leftBecause": null },
    ]);
    let plan = house.send("POST", "/history/rollback?dryRun=All", &[], body.clone()).await.json();
    assert_eq!(plan["digests"], told);
    let done = house.send("POST", "/history/rollback", &[], body).await.json();
    assert_eq!((&done["digests"], &done["manifests"]), (&told, &json!(3)));
}

/// Waits until no change is on trial.
async fn until_ended(house: &House) {
    let mut trials = house.manifests.trials();
    let ended = trials.wait_for(|trials| trials.pending.is_none());
    tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_change_that_nobody_confirms_is_put_back_and_says_why() {
    let house = House::open().await;
    house.put_web().await;
    let other = json!({ "spec": { "image": "nginx:1.28" } }).to_string();
    let path = format!("{}?confirmWithin=1s", web());
    let merge = ("content-type", "application/merge-patch+json");
    let tried = house.send("PATCH", &path, &[merge], other).await;
    assert_eq!(tried.status, 200, "{}", tried.text);
    let id = tried.header("piccolo-trial").to_owned();
    let shown = house.get("/plan").await.json();
    assert_eq!(shown["trial"]["id"], id);
    assert_eq!(shown["trial"]["files"], json!(["containers/web.toml"]));
    until_ended(&house).await;
    assert_eq!(house.read("containers/web.toml"), WEB);
    let latest = loop {
        let history = house.get("/history").await.json();
        if history["items"].as_array().unwrap().len() == 3 {
            break history["items"][0].clone();
        }
        tokio::task::yield_now().await;
    };
    let why = format!("Door: api\nWhy: {id} was not confirmed within 1s");
    assert_eq!((&latest["author"], &latest["body"]), (&json!("piccolod"), &json!(why)));
    assert_eq!(house.get("/plan").await.json().get("trial"), None);
    let late = house.send("POST", "/confirm", &[JSON], json!({ "id": id }).to_string()).await;
    assert_eq!(late.status, 404);
}

#[tokio::test]
async fn a_change_on_trial_is_confirmed_by_its_name_and_never_by_a_dry_run() {
    let house = House::open().await;
    house.put_web().await;
    let deleted = house.send("DELETE", &format!("{}?confirmWithin=1h", web()), &[], "").await;
    let id = json!({ "id": deleted.header("piccolo-trial") }).to_string();
    // Others wait, and those who join share its fate.
    let db = format!("{CONTAINERS}/db");
    let refused = house.put(&db, &manifest("db", "postgres:1")).await;
    assert_eq!((refused.status.as_u16(), refused.json()["type"].clone()), (409, json!("urn:piccolo:problem:OnTrial")));
    let joined = house.put(&format!("{db}?confirmWithin=1h"), &manifest("db", "postgres:1")).await;
    assert_eq!(joined.header("piccolo-trial"), deleted.header("piccolo-trial"));
    for path in ["/confirm?dryRun=All", "/confirm?dryRun=All&confirmWithin=1s"] {
        assert_eq!(house.send("POST", path, &[JSON], id.clone()).await.status, 200);
        assert!(house.manifests.trial().is_some(), "a dry run confirms nothing");
    }
    let planned = house.put(&format!("{db}?dryRun=All&confirmWithin=1s"), &manifest("db", "postgres:2")).await;
    assert_eq!(planned.json()["kind"], "Plan");
    let done = house.send("POST", "/confirm", &[JSON], id.clone()).await.json();
    assert_eq!(done["files"], json!(["containers/db.toml", "containers/web.toml"]));
    assert!(house.manifests.trial().is_none());
    assert!(!house.file("containers/web.toml").exists() && house.file("containers/db.toml").exists());
}

#[tokio::test]
async fn a_change_on_trial_is_put_back_at_once_when_asked() {
    let house = House::open().await;
    house.put_web().await;
    let db = format!("{CONTAINERS}/db?confirmWithin=1h");
    let joined = house.put(&db, &manifest("db", "postgres:1")).await;
    let body = json!({ "revision": joined.header("piccolo-trial") }).to_string();
    assert_eq!(house.send("POST", "/history/rollback?dryRun=All", &[JSON], body.clone()).await.status, 400);
    assert_eq!(house.send("POST", "/history/rollback", &[JSON], body.clone()).await.status, 200);
    assert_eq!(house.send("POST", "/history/rollback", &[JSON], body).await.status, 404);
    assert!(!house.file("containers/db.toml").exists() && house.manifests.trial().is_none());
    for wrong in ["0s", "100h", "soon", "-1s"] {
        let refused = house.put(&format!("{CONTAINERS}/db?confirmWithin={wrong}"), &manifest("db", "postgres:1")).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
}
