//! Compose files come and go.

use serde_json::Value;

use crate::{machine::Machine, support::WEB};

#[tokio::test]
async fn a_compose_file_becomes_manifests() {
    let machine = Machine::open().await;
    let compose = "services:\n  web:\n    image: nginx:${TAG:?which one}\n    restart: always\n    tty: true\n    ports: [\"80:80\"]\n";
    machine.write("shop/compose.yaml", compose);
    let missing = machine.run(&["import", "compose", "shop"]).await;
    let err = "error: the variable `TAG` has no value: which one\n  --> shop/compose.yaml:3:12\n help: write `TAG=…` into the \
               file `.env` beside it, or `TAG=` if nothing is meant\n\nerror: 1 mistake(s); nothing was written\n";
    missing.is(1, "", err);
    machine.write("shop/.env", "TAG=1.27\n");
    let printed = machine.run(&["import", "compose", "shop"]).await;
    assert_eq!(printed.code, 7, "{}", printed.err);
    assert!(printed.out.starts_with("# networks/shop.toml\napiVersion"), "{}", printed.out);
    assert!(printed.err.contains("  unsupported  tty "), "{}", printed.err);
    let written = machine.run(&["import", "compose", "shop/compose.yaml", "--dir", "out", "--name", "my"]).await;
    assert_eq!((written.code, written.err.as_str()), (7, ""));
    assert!(written.out.ends_with("2 manifest(s) written; look at them, then `piccolo plan`.\n"), "{}", written.out);
    machine.run(&["validate", "out"]).await.is(0, "2 manifest(s) are valid\n", "");
    let again = machine.run(&["import", "compose", "shop", "--dir", "out", "--name", "my"]).await;
    let taken = "error: out/networks/my.toml is there already; nothing was written. `--force` writes over it\n";
    again.is(2, "", taken);
    assert_eq!(machine.run(&["import", "compose", "shop", "--dir", "out", "--name", "my", "--force"]).await.code, 7);
    let json = machine.run_with(&["import", "compose", "-", "-o", "json"], &[("TAG", "1.28")], compose).await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["lossy"], &json["items"][1]["kind"]), (&Value::Bool(true), &Value::from("Container")));
    assert!(json["items"][1]["text"].as_str().unwrap().contains("nginx:1.28"));
    machine.write("shop/compose.override.yaml", "");
    assert!(machine.run(&["import", "compose", "shop"]).await.err.contains("compose.override.yaml"));
    machine.run(&["import", "compose", "out"]).await.is(
        3,
        "",
        "error: there is no compose file in out: it is called \
        compose.yaml or compose.yml or docker-compose.yaml or docker-compose.yml\n",
    );
}

#[tokio::test]
async fn manifests_become_a_compose_file() {
    let machine = Machine::open().await;
    machine.write("web.toml", WEB);
    let local = machine.run(&["export", "compose", "web.toml"]).await;
    assert!(
        local.out.starts_with("services:\n  web:\n    container_name: web\n    image: nginx:1.27\n"),
        "{}",
        local.out
    );
    machine.house.put_web().await;
    let declared = machine.run(&["export", "compose"]).await;
    declared.is(0, &local.out, "");
}
