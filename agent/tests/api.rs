//! The API: each verb, its conditions and its refusals, over real manifests and a real store.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

#[path = "api/figures.rs"]
mod figures;
#[path = "api/returns.rs"]
mod returns;
#[path = "api/support.rs"]
mod support;

use std::{collections::BTreeSet, fs};

use axum::body::Body;
use piccolo_agent::store::{HeldView, PlanView};
use piccolo_schema::Kind;
use serde_json::{Value, json};

use support::{Answer, CONTAINERS, House, WEB, step};

const JSON: (&str, &str) = ("content-type", "application/json");
const TOML: (&str, &str) = ("content-type", "application/toml");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

fn web() -> String {
    format!("{CONTAINERS}/web")
}

fn manifest(name: &str, image: &str) -> Value {
    json!({ "apiVersion": "piccolo.os/v1alpha1", "kind": "Container", "metadata": { "name": name },
            "spec": { "image": image } })
}

#[tokio::test]
async fn a_text_is_kept_to_the_letter_and_shown_as_an_object() {
    let house = House::open().await;
    let made = house.put_web().await;
    assert_eq!(house.read("containers/web.toml"), WEB);
    assert_eq!(made.header("location"), web());
    let object = made.json();
    assert_eq!(object["spec"]["image"], "nginx:1.27");
    assert!(object["metadata"]["uid"].is_string());
    let got = house.get(&web()).await;
    assert_eq!(got.header("etag"), made.header("etag"));
    assert_eq!(house.get(&format!("{}/status", web())).await.json()["kind"], "Container");
    let list = house.get(CONTAINERS).await.json();
    assert_eq!((&list["kind"], &list["items"][0]["metadata"]["name"]), (&json!("ContainerList"), &json!("web")));
}

#[tokio::test]
async fn json_changes_only_what_differs_in_the_file() {
    let house = House::open().await;
    house.put_web().await;
    let mut object = house.get(&web()).await.json();
    object["spec"]["image"] = json!("nginx:1.28");
    let answer = house.put(&web(), &object).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(house.read("containers/web.toml"), WEB.replace("1.27", "1.28"));
    assert_eq!(answer.json()["metadata"]["generation"], 2);
}

#[tokio::test]
async fn an_etag_that_is_not_current_is_refused() {
    let house = House::open().await;
    let etag = house.put_web().await.header("etag").to_owned();
    let newer = WEB.replace("1.27", "1.28");
    let second = house.send("PUT", &web(), &[TOML, ("if-match", &etag)], newer.clone()).await;
    assert_eq!(second.status, 200);
    let late = house.send("PUT", &web(), &[TOML, ("if-match", &etag)], WEB).await;
    assert_eq!((late.status.as_u16(), late.header("etag")), (412, second.header("etag")));
    assert_eq!(late.header("content-type"), "application/problem+json");
    assert_eq!(house.send("DELETE", &web(), &[("if-match", &etag)], "").await.status, 412);
    assert_eq!(house.send("PUT", &web(), &[TOML, ("if-none-match", "*")], WEB).await.status, 409);
    let absent =
        house.send("PUT", &format!("{CONTAINERS}/db"), &[TOML, ("if-match", "*")], WEB.replace("web", "db")).await;
    assert_eq!(absent.status, 412);
    assert_eq!(house.read("containers/web.toml"), newer);
}

#[tokio::test]
async fn a_resource_version_that_is_not_current_is_refused() {
    let house = House::open().await;
    house.put_web().await;
    let mut object = house.get(&web()).await.json();
    object["metadata"]["resourceVersion"] = json!("1");
    assert_eq!(house.put(&web(), &object).await.status, 409);
    let patch = json!({ "metadata": { "resourceVersion": "1" }, "spec": { "image": "b:1" } });
    assert_eq!(house.send("PATCH", &web(), &[MERGE], patch.to_string()).await.status, 409);
    assert_eq!(house.read("containers/web.toml"), WEB);
}

#[tokio::test]
async fn post_makes_and_never_replaces() {
    let house = House::open().await;
    let body = manifest("db", "postgres:16").to_string();
    let made = house.send("POST", CONTAINERS, &[JSON], body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let again = house.send("POST", CONTAINERS, &[JSON, ("accept", "application/json")], body).await;
    assert_eq!((again.status.as_u16(), again.json()["reason"].clone()), (409, json!("AlreadyExists")));
    assert!(house.read("containers/db.toml").contains("image = \"postgres:16\""));
}

#[tokio::test]
async fn patches_of_every_kind() {
    let house = House::open().await;
    house.put_web().await;
    let merge = house.send("PATCH", &web(), &[MERGE], r#"{"spec":{"image":"b:1","memory":"64Mi"}}"#).await;
    assert_eq!((merge.status.as_u16(), &merge.json()["spec"]["memory"]), (200, &json!("64Mi")), "{}", merge.text);
    let operations = r#"[{"op":"remove","path":"/spec/memory"},{"op":"replace","path":"/spec/image","value":"c:1"}]"#;
    let patched = house.send("PATCH", &web(), &[("content-type", "application/json-patch+json")], operations).await;
    assert_eq!((patched.status.as_u16(), &patched.json()["spec"]["memory"]), (200, &Value::Null));
    assert!(house.read("containers/web.toml").starts_with("# The front door.\n"));
    assert!(house.read("containers/web.toml").contains("image = \"c:1\" # pinned"));
    let apply = ("content-type", "application/apply-patch+yaml");
    let yaml = "apiVersion: piccolo.os/v1alpha1\nkind: Container\nmetadata: {name: api}\nspec: {image: 'd:1'}\n";
    let path = format!("{CONTAINERS}/api?fieldManager=test");
    assert_eq!(house.send("PATCH", &path, &[apply], yaml).await.status, 201);
    assert_eq!(house.send("PATCH", &path, &[apply], yaml).await.status, 200);
    let strategic = ("content-type", "application/strategic-merge-patch+json");
    assert_eq!(house.send("PATCH", &web(), &[strategic], "{}").await.status, 415);
    let missing = house.send("PATCH", &format!("{CONTAINERS}/wbe"), &[MERGE], "{}").await;
    assert_eq!((missing.status.as_u16(), missing.json()["help"].clone()), (404, json!("did you mean `web`?")));
}

#[tokio::test]
async fn delete_removes_the_file() {
    let house = House::open().await;
    let uid = house.put_web().await.json()["metadata"]["uid"].clone();
    let other = json!({ "preconditions": { "uid": "another" } }).to_string();
    assert_eq!(house.send("DELETE", &web(), &[JSON], other).await.status, 409);
    let gone = house.send("DELETE", &web(), &[], "").await;
    assert_eq!((gone.status.as_u16(), &gone.json()["details"]["uid"]), (200, &uid));
    assert!(!house.file("containers/web.toml").exists());
    assert_eq!(house.get(&web()).await.status, 404);
    assert_eq!(house.send("DELETE", &web(), &[], "").await.status, 404);
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_answers_the_plan() {
    let house = House::open().await;
    let dry = format!("{}?dryRun=All", web());
    let plan = house.send("PUT", &dry, &[TOML], WEB).await;
    assert_eq!((plan.status.as_u16(), &plan.json()["kind"]), (200, &json!("Plan")), "{}", plan.text);
    assert_eq!(plan.json()["plans"][0]["steps"][0]["text"], "create container `web`");
    assert!(!house.file("containers").exists());
    house.put_web().await;
    assert_eq!(house.send("DELETE", &dry, &[], "").await.json()["plans"][0]["steps"], json!([]));
    // kubectl says it in the body only.
    let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"] }).to_string();
    assert_eq!(house.send("DELETE", &web(), &[JSON], options).await.status, 200);
    let object =
        house.send("PATCH", &format!("{dry}&fieldManager=kubectl"), &[MERGE], r#"{"spec":{"image":"b:1"}}"#).await;
    assert_eq!(object.json()["spec"]["image"], "b:1");
    assert_eq!(house.send("PUT", &dry, &[TOML], "kind = 1").await.status, 422);
    assert_eq!(house.send("PUT", &format!("{}?dryRun=all", web()), &[TOML], WEB).await.status, 400);
    assert_eq!(house.read("containers/web.toml"), WEB);
}

#[tokio::test]
async fn a_write_that_conflicts_with_others_is_warned_of() {
    let house = House::open().await;
    let container = |name: &str, spec: Value| {
        let mut spec = spec;
        spec["image"] = "nginx".into();
        json!({ "apiVersion": "piccolo.os/v1alpha1", "kind": "Container", "metadata": { "name": name }, "spec": spec })
    };
    let put = async |name: &str, query: &str, spec: Value| {
        house.put(&format!("{CONTAINERS}/{name}{query}"), &container(name, spec)).await
    };
    let warnings = |answer: &Answer| -> Vec<String> {
        let all = answer.headers.get_all("warning").iter();
        all.map(|it| String::from_utf8(it.as_bytes().to_vec()).unwrap()).collect()
    };
    assert_eq!(warnings(&put("web", "", json!({})).await), [""; 0]);
    let circle = put("db", "", json!({ "dependsOn": [{ "container": "web" }] })).await;
    assert_eq!(warnings(&circle), [""; 0]);
    let circle = json!({ "dependsOn": [{ "container": "db" }] });
    for query in ["?dryRun=All", ""] {
        let told = warnings(&put("web", query, circle.clone()).await);
        assert!(told.len() == 1 && told[0].starts_with("299 - \"PIC0041: Container `db` waits for itself: db → web"));
        assert!(told[0].contains("containers/db.toml:") && told[0].contains("containers/web.toml:"), "{told:?}");
    }
    // Who changes something else is not told of it again.
    assert_eq!(warnings(&put("other", "", json!({})).await), [""; 0]);
    let many = (0..20).map(|it| json!({ "container": format!("c{it}") })).collect::<Vec<_>>();
    let told = warnings(&put("other", "", json!({ "dependsOn": many })).await);
    assert!(told.len() == 9 && told[8].contains("12 more"), "{told:?}");
    // What can't be read may declare what seems to be missing.
    fs::write(house.file("broken.toml"), "kind = \"Container\"").unwrap();
    house.manifests.consent(BTreeSet::new()).await;
    assert_eq!(warnings(&put("other", "", json!({ "dependsOn": [{ "container": "c1" }] })).await), [""; 0]);
}

#[tokio::test]
async fn the_status_is_not_written_from_outside() {
    let house = House::open().await;
    house.put_web().await;
    let status = format!("{}/status", web());
    for method in ["PUT", "PATCH", "DELETE"] {
        let refused = house.send(method, &status, &[JSON], "{}").await;
        assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "GET,HEAD"), "{method}");
        assert_eq!(refused.json()["status"], 405);
    }
}

#[tokio::test]
async fn every_mistake_comes_back_with_its_place() {
    let house = House::open().await;
    let broken = WEB.replace("image =", "imagee =");
    let refused = house.send("PUT", &web(), &[TOML], broken.clone()).await;
    let problem = refused.json();
    assert_eq!(refused.status, 422);
    assert_eq!(problem["type"], "urn:piccolo:problem:Invalid");
    let codes: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"PIC0002"), "{codes:?}");
    assert_eq!(problem["errors"][0]["line"], 9);
    let status = house.send("PUT", &web(), &[TOML, ("accept", "application/json")], broken).await.json();
    assert_eq!((&status["kind"], &status["details"]["name"]), (&json!("Status"), &json!("web")));
    assert!(status["message"].as_str().unwrap().contains("spec.imagee"), "{status}");
    let tree = house.put(&web(), &json!({ "kind": "Container", "spec": {} })).await.json();
    assert_eq!(tree["errors"][0]["line"], Value::Null);
    assert!(!house.file("containers").exists());
}

#[tokio::test]
async fn problem_documents_and_statuses_look_like_this() {
    let house = House::open().await;
    let broken = WEB.replace("image =", "imagee =");
    let goldens = [("*/*", include_str!("api/problem.json")), ("application/json", include_str!("api/status.json"))];
    for (accept, golden) in goldens {
        let refused = house.send("PUT", &web(), &[TOML, ("accept", accept)], broken.clone()).await;
        assert_eq!(format!("{:#}\n", refused.json()), golden);
    }
}

#[tokio::test]
async fn a_manifest_goes_to_its_own_path() {
    let house = House::open().await;
    assert_eq!(house.send("PUT", &format!("{CONTAINERS}/db"), &[TOML], WEB).await.status, 400);
    assert_eq!(house.send("POST", "/apis/piccolo.os/v1alpha1/networks", &[TOML], WEB).await.status, 400);
}

#[tokio::test]
async fn removals_that_are_held_are_confirmed_by_their_name() {
    let house = House::open().await;
    let held = HeldView { id: "h1".into(), names: vec!["a".into(), "b".into()] };
    let steps = vec![step("c", "create container `c`")];
    let plan =
        PlanView { kind: Kind::Container, unseen: None, steps, waiting: vec![], held: Some(held), complete: true };
    house.writer.plan(Kind::Container, plan);
    let shown = house.get("/plan").await.json();
    assert_eq!(shown["plans"][0]["held"]["names"], json!(["a", "b"]));
    let wrong = house.send("POST", "/confirm", &[JSON], r#"{"id":"h2"}"#).await;
    assert_eq!((wrong.status.as_u16(), wrong.json()["help"].clone()), (404, json!("held are: h1")));
    assert_eq!(house.send("POST", "/confirm", &[JSON], "{}").await.status, 400);
    let done = house.send("POST", "/confirm", &[JSON], r#"{"id":"h1"}"#).await;
    assert_eq!(done.json()["confirmed"], json!(["a", "b"]));
    assert!(house.manifests.snapshot().consented.contains(&(Kind::Container, "b".to_owned())));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_listed() {
    let house = House::open().await;
    house.put_web().await;
    let text = WEB.replace("image =", "imagee =");
    fs::write(house.file("containers/web.toml"), text).unwrap();
    let problems = loop {
        let list = house.get("/problems").await.json();
        // While it is being written, the file may be seen empty.
        if list["items"][0]["errors"][0]["line"] == json!(9) {
            break list;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let problem = &problems["items"][0];
    assert_eq!((&problem["path"], &problem["name"]), (&json!("containers/web.toml"), &json!("web")));
    assert_eq!(problems["items"].as_array().unwrap().len(), 1);
    assert_eq!(house.get("/plan").await.json()["problems"], problems["items"]);
    assert_eq!(house.get(&web()).await.status, 200);
}

#[tokio::test]
async fn nothing_a_client_sends_is_an_error_of_ours() {
    let house = House::open().await;
    house.put_web().await;
    let deep = "[".repeat(100_000);
    let deep_object = "{\"a\":".repeat(100_000);
    let deep_yaml = "{a: ".repeat(10_000);
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("application/json", deep.clone().into()),
        ("application/json", deep_object.into()),
        ("application/json", b"\xff\xfe{}".to_vec()),
        ("application/json", b"null".to_vec()),
        ("application/json", b"[1]".to_vec()),
        ("application/json", br#"{"metadata":7,"spec":[],"kind":{}}"#.to_vec()),
        ("application/json", vec![b' '; 2 << 20]),
        ("application/toml", b"\xff".to_vec()),
        ("application/toml", format!("a = {deep}").into()),
        ("application/toml", Vec::new()),
        ("application/yaml", deep_yaml.into()),
        ("application/yaml", b"a: &a [*a, *a]\n".to_vec()),
        ("application/merge-patch+json", br#"{"metadata":null}"#.to_vec()),
        ("application/merge-patch+json", b"7".to_vec()),
        ("application/json-patch+json", br#"[{"op":"test","path":"/x","value":1}]"#.to_vec()),
        ("application/json-patch+json", b"{}".to_vec()),
        ("application/apply-patch+yaml", b"- a\n".to_vec()),
        ("application/apply-patch+yaml", b"metadata: 7\n".to_vec()),
        ("text/html", b"<p>".to_vec()),
        ("", b"\x00".to_vec()),
    ];
    let paths = [CONTAINERS.to_owned(), web(), format!("{}?dryRun=All", web()), "/confirm".to_owned()];
    for (media, body) in &bodies {
        for (method, path) in ["PUT", "POST", "PATCH", "DELETE"].iter().flat_map(|m| paths.iter().map(move |p| (m, p)))
        {
            let is_valid_delete =
                *method == "DELETE" && (body.is_empty() || serde_json::from_slice::<Value>(body).is_ok());
            if is_valid_delete {
                continue;
            }
            let headers = [("content-type", *media)];
            let answer = house.send(method, path, &headers, Body::from(body.clone())).await;
            assert!(answer.status.is_client_error(), "{method} {path} {media}: {} {}", answer.status, answer.text);
            assert_eq!(answer.json()["status"], answer.status.as_u16(), "{}", answer.text);
        }
    }
    assert_eq!(house.read("containers/web.toml"), WEB);
    let copies: Vec<_> = (0..60).map(|n| json!({ "op": "copy", "from": "", "path": format!("/c{n}") })).collect();
    let json_patch = ("content-type", "application/json-patch+json");
    let bomb = house.send("PATCH", &web(), &[json_patch], json!(copies).to_string()).await;
    assert_eq!(bomb.status, 413);
    for odd in ["%0E", "Nginx", "a:b:c", "nginx@sha256:1"] {
        let answer = house.get(&format!("/images/export?name={odd}")).await;
        assert_eq!(answer.status, 400, "{odd}: {}", answer.text);
    }
}

#[tokio::test]
async fn every_path_answers() {
    let house = House::open().await;
    let cases = [
        ("GET", "/nothing", 404, ""),
        ("GET", "/plann", 404, "did you mean `/plan`?"),
        ("GET", "/apis/piccolo.os/v1alpha1/container", 404, "did you mean `containers`?"),
        ("GET", "/apis/piccolo.os/v1alpha1/containrs", 404, "did you mean `containers`?"),
        ("GET", "/apis/piccolo.os/v1alpha1/containers/%ff", 400, ""),
        ("GET", "/apis/piccolo.os/v1alpha1/containers?labelSelector=a%20b", 400, ""),
        ("GET", "/apis/piccolo.os/v1alpha1/containers?fieldSelector=spec.image=a", 400, ""),
        ("GET", "/apis/piccolo.os/v1alpha1/containers?watch=maybe", 400, ""),
        ("GET", "/journal?limit=-1", 400, ""),
        ("BREW", "/plan", 405, ""),
        ("TRACE", CONTAINERS, 405, ""),
        ("POST", "/plan", 405, ""),
        ("DELETE", "/nothing", 404, ""),
    ];
    for (method, path, status, help) in cases {
        let answer = house.send(method, path, &[], "").await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
        if !help.is_empty() {
            assert_eq!(answer.json()["help"], help, "{method} {path}");
        }
    }
}
