//! References to images are read as the engine reads them.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use piccolo_schema::image::Reference;

#[test]
fn familiar_form() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let cases = [
        ("nginx", "nginx:latest"),
        ("nginx:1.27", "nginx:1.27"),
        ("library/nginx", "nginx:latest"),
        ("docker.io/library/nginx:1", "nginx:1"),
        ("index.docker.io/nginx", "nginx:latest"),
        ("docker.io/grafana/grafana", "grafana/grafana:latest"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/busybox:1", "localhost:5000/busybox:1"),
        ("registry.lan/a/b__c/d--e:V_1.0-x", "registry.lan/a/b__c/d--e:V_1.0-x"),
    ];
    for (text, familiar) in cases {
        let reference = Reference::parse(text).unwrap();
        assert_eq!(reference.to_string(), familiar);
        assert_eq!(Reference::parse(familiar).unwrap().to_string(), familiar, "not stable");
    }
    let pinned = Reference::parse(&format!("nginx:1.27@{digest}")).unwrap();
    assert_eq!(pinned.to_string(), format!("nginx@{digest}"));
    assert_eq!((pinned.domain(), pinned.path(), pinned.tag()), ("docker.io", "library/nginx", Some("1.27")));
    assert_eq!(pinned.digest(), Some(digest.as_str()));
}

#[test]
fn refused() {
    let (long, identifier) = ("a".repeat(300), "0a".repeat(32));
    let bad = [
        "",
        "/",
        "nginx/",
        "/nginx",
        "a//b",
        "UPPER",
        "a:",
        "a:.x",
        "a@sha256:00",
        "a@md5:00",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "x y",
        "reg:99999/a",
        "reg:/a",
        "a.-b/c",
        "ü",
        &long,
        &identifier,
    ];
    for text in bad {
        assert!(Reference::parse(text).is_err(), "`{text}` is accepted");
    }
}
