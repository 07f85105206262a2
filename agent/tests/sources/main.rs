//! Manifests from git repositories: what comes in, by whom, and what never does.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test plays the people at the other end")]

mod hostile;
mod scene;
#[path = "../support/skip.rs"]
mod skip;
mod ssh;

use std::fs;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use self::scene::{LOGIN, Scene, container, labelled};

#[tokio::test]
async fn what_a_repository_has_is_put_in_force_once_and_under_its_authors_name() {
    let mut scene = Scene::new().await;
    scene.by_hand("own.toml", &container("own", "x:1"));
    scene.commit(&[("web.toml", &container("web", "x:1")), ("sub/db.toml", &container("db", "x:1"))]);
    scene.commit(&[("README.md", "Not a manifest"), ("run.sh", "#!/bin/sh\n"), (".ci/x.toml", "no = \"manifest\"")]);
    scene.ask("").await;
    assert_eq!(scene.waiting().await, None);
    assert_eq!(scene.step().await.unwrap(), "add container/db, add container/web");
    assert_eq!(scene.take().await.unwrap().len(), 40);
    assert_eq!(scene.files(), ["home.toml", "own.toml", "sources/home/sub/db.toml", "sources/home/web.toml"]);
    let seen = scene.seen().await;
    assert_eq!((seen.manifests, seen.revision.as_ref()), (2, Some(&scene.head())));
    assert_eq!(scene.authors().await, ["Anna"]);

    // Nothing that others do makes it plan anything again.
    for pass in 0..100 {
        assert_eq!(scene.step().await, None, "pass {pass}");
    }
    scene.restart().await;
    scene.ask("").await;
    assert_eq!((scene.step().await, scene.waiting().await), (None, None));

    // What goes from there goes from here.
    scene.remove("sub/db.toml");
    scene.commit(&[("web.toml", &container("web", "x:2"))]);
    scene.ask("").await;
    assert_eq!(scene.step().await.unwrap(), "remove container/db, change container/web");
    scene.take().await.unwrap();
    assert_eq!(scene.files(), ["home.toml", "own.toml", "sources/home/web.toml"]);
}

#[tokio::test]
async fn only_what_allowed_people_signed_comes_in() {
    let mut scene = Scene::new().await;
    let (anna, eve) = (scene.ssh_key("anna"), scene.ssh_key("eve"));
    let signers = format!("signers = [\"{}\"]", anna.public);
    scene.commit(&[("web.toml", &container("web", "x:1"))]);
    scene.ask(&signers).await;
    let (reason, message) = scene.waiting().await.unwrap();
    assert_eq!(reason, "Untrusted");
    assert!(message.contains("it is not signed; it would add container/web"), "{message}");
    scene.commit_signed(&[("web.toml", &container("web", "x:2"))], &eve);
    scene.ask(&signers).await;
    let (reason, message) = scene.waiting().await.unwrap();
    assert!(reason == "Untrusted" && message.contains("nobody who may (SHA256:"), "{message}");
    assert_eq!(scene.files(), ["home.toml"]);
    scene.commit_signed(&[("web.toml", &container("web", "x:3"))], &anna);
    scene.ask(&signers).await;
    scene.take().await.unwrap();
    let signer = scene.seen().await.offer.unwrap().signer.unwrap();
    assert!(signer.starts_with("SHA256:"), "{signer}");
    // What nobody signed on top of it is held again.
    scene.commit(&[("web.toml", &container("web", "x:4"))]);
    scene.ask(&signers).await;
    assert_eq!(scene.waiting().await.unwrap().0, "Untrusted");
    assert!(scene.read("sources/home/web.toml").contains("x:3"));
}

#[tokio::test]
async fn openpgp_keys_count_as_well() {
    let mut scene = Scene::new().await;
    let (anna, eve) = (scene.openpgp_key("anna"), scene.openpgp_key("eve"));
    let signers = format!("signers = [\"\"\"\n{}\"\"\"]", anna.public);
    scene.commit_signed(&[("web.toml", &container("web", "x:1"))], &eve);
    scene.ask(&signers).await;
    assert_eq!(scene.waiting().await.unwrap().0, "Untrusted");
    scene.commit_signed(&[("web.toml", &container("web", "x:2"))], &anna);
    scene.ask(&signers).await;
    scene.take().await.unwrap();
    assert_eq!(scene.seen().await.offer.unwrap().signer.map(|it| it.len()), Some(40));
}

#[tokio::test]
async fn a_repository_that_was_rewound_emptied_or_lost_changes_nothing() {
    let mut scene = Scene::new().await;
    scene.commit(&[("web.toml", &container("web", "x:1"))]);
    let first = scene.head();
    scene.commit(&[("web.toml", &container("web", "x:2"))]);
    scene.ask("").await;
    scene.take().await.unwrap();
    let before = scene.all();

    scene.git(&["reset", "--hard", "--quiet", &first]);
    scene.ask("").await;
    assert_eq!(scene.waiting().await.unwrap().0, "Rewound");
    scene.git(&["checkout", "--quiet", "--orphan", "other"]);
    scene.git(&["commit", "--quiet", "--message", "Begun anew"]);
    scene.git(&["branch", "--quiet", "--force", "main", "other"]);
    scene.ask("").await;
    assert_eq!(scene.waiting().await.unwrap().0, "Rewound");
    scene.git(&["branch", "--quiet", "--delete", "--force", "main"]);
    scene.ask("").await;
    assert_eq!((scene.waiting().await, scene.step().await), (None, None));
    assert!(scene.seen().await.failure.unwrap().contains("main"));
    fs::rename(scene.remote(), scene.remote().with_extension("away")).unwrap();
    scene.ask("").await;
    assert!(scene.seen().await.failure.is_some());
    assert_eq!(scene.without_source(), without_source(&before));
    fs::rename(scene.remote().with_extension("away"), scene.remote()).unwrap();

    // Whoever means it says so.
    scene.git(&["branch", "--quiet", "main", &first]);
    scene.ask(&format!("accept = \"{first}\"")).await;
    scene.take().await.unwrap();
    assert!(scene.read("sources/home/web.toml").contains("x:1"));
    scene.git(&["checkout", "--quiet", "--force", "main"]);
    scene.remove("web.toml");
    scene.commit(&[("README.md", "Empty")]);
    scene.ask("").await;
    assert_eq!(scene.waiting().await.unwrap().0, "Emptied");
}

fn without_source(all: &[(String, String)]) -> Vec<(String, String)> {
    all.iter().filter(|(path, _)| path != "home.toml").cloned().collect()
}

#[tokio::test]
async fn what_a_hand_changed_here_is_never_lost() {
    let mut scene = Scene::new().await;
    scene.commit(&[("web.toml", &container("web", "x:1"))]);
    scene.ask("").await;
    scene.take().await.unwrap();
    scene.by_hand("sources/home/web.toml", &container("web", "by-hand:1"));
    scene.commit(&[("web.toml", &container("web", "x:2"))]);
    scene.ask("").await;
    assert_eq!(scene.waiting().await.unwrap().0, "Edited");
    scene.restart().await;
    scene.ask("").await;
    assert_eq!(scene.waiting().await.unwrap().0, "Edited", "also after a restart");
    assert!(scene.read("sources/home/web.toml").contains("by-hand:1"));
    // Put into the repository it is no difference any more.
    scene.commit(&[("web.toml", &container("web", "by-hand:1")), ("db.toml", &container("db", "x:1"))]);
    scene.ask("").await;
    assert_eq!(scene.step().await.unwrap(), "add container/db");
    scene.take().await.unwrap();
    assert_eq!(scene.seen().await.edited, Vec::<String>::new());
}

#[tokio::test]
async fn a_hand_between_the_plan_and_its_end_is_not_overtaken() {
    let mut scene = Scene::new().await;
    scene.commit(&[("web.toml", &container("web", "x:1"))]);
    scene.ask("").await;
    scene.by_hand("other.toml", &container("web", "x:1"));
    // Two files would declare the same.
    assert_eq!(scene.waiting().await.unwrap().0, "Refused");
    assert!(scene.take().await.is_err());
    assert_eq!(scene.files(), ["home.toml", "other.toml"]);
    scene.by_hand("other.toml", "half = ");
    scene.manifests.look().await.unwrap();
    // What can't be understood declares as before.
    assert!(scene.take().await.is_err());
    assert_eq!(scene.read("other.toml"), "half = ");
}

#[tokio::test]
async fn machines_that_share_a_repository_take_their_own() {
    let mut scene = Scene::new().await;
    scene.commit(&[
        ("machines/a.toml", &labelled("aa", "machine", "a")),
        ("machines/b.toml", &labelled("bb", "machine", "b")),
        ("elsewhere.toml", "this is no manifest"),
    ]);
    scene.ask("path = \"machines\"\nselector = { machine = \"b\" }").await;
    scene.take().await.unwrap();
    assert_eq!(scene.files(), ["home.toml", "sources/home/b.toml"]);
    // The same revision, and another wish.
    scene.ask("path = \"machines\"\nselector = { machine = \"a\" }").await;
    assert_eq!(scene.step().await.unwrap(), "add container/aa, remove container/bb");
    scene.take().await.unwrap();
    assert_eq!(scene.files(), ["home.toml", "sources/home/a.toml"]);
    scene.ask("path = \"machines/none\"").await;
    let (reason, message) = scene.waiting().await.unwrap();
    assert!(reason == "Refused" && message.contains("no directory `machines/none`"), "{message}");
}

#[tokio::test]
async fn a_source_that_goes_leaves_its_manifests_and_nothing_else() {
    let mut scene = Scene::new().await;
    scene.commit(&[("web.toml", &container("web", "x:1"))]);
    scene.ask("").await;
    scene.take().await.unwrap();
    fs::remove_file(scene.file("home.toml")).unwrap();
    scene.until_forgotten().await;
    assert_eq!(scene.files(), ["sources/home/web.toml"]);
    assert!(!scene.state("home.git").exists() && scene.state("home.json").exists());
    // It goes on where it was.
    scene.ask("").await;
    assert_eq!((scene.step().await, scene.waiting().await), (None, None));
}

#[tokio::test]
async fn what_is_on_trial_is_not_overtaken() {
    let mut scene = Scene::new().await;
    scene.by_hand("own.toml", &container("own", "x:1"));
    scene.commit(&[("web.toml", &container("web", "x:1"))]);
    scene.ask("").await;
    let text = container("own", "x:2");
    let trial = scene.manifests.on_trial(std::time::Duration::from_secs(600));
    trial.put_text(piccolo_schema::Kind::Container, "own", &text, None).await.unwrap();
    let refused = scene.take().await.unwrap_err();
    assert!(refused.contains("is on trial"), "{refused}");
    assert_eq!(scene.files(), [".piccolo-trial", "home.toml", "own.toml"]);
}

#[tokio::test]
async fn a_login_reaches_the_server_and_nobody_else() {
    let mut scene = Scene::new().await;
    let signers = format!("signers = [\"{}\"]", scene.ssh_key("anna").public);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/home.git", listener.local_addr().unwrap());
    let more = |secret: &str| format!("credentials = {{ secret = \"{secret}\" }}\n{signers}");
    let serving = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let length = client.read(&mut head).await.unwrap();
        let answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n";
        client.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    scene.ask_at(&url, &more("unknown")).await;
    assert_eq!(scene.seen().await.failure.as_deref(), Some("there is no secret `unknown`"));
    scene.ask_at(&url, &more("known")).await;
    let head = serving.await.unwrap();
    assert!(head.contains(&format!("Authorization: {LOGIN}")), "{head}");
    // It is led nowhere else, and what is told of it holds no login.
    let failure = scene.seen().await.failure.unwrap();
    assert!(failure.contains("302") && !failure.contains("Y2FuYXJ5"), "{failure}");
}
