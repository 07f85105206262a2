//! A compose file of somebody's, brought over with the command line: the parts find each other by the names that they
//! had, wait for each other as they did, and the next plan is empty.

use std::{fs, process::Output};

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, image, machine, machine::story};
use tokio::process::Command;

const COMPOSE: &str = r#"
name: shop
services:
  prepare:
    image: IMAGE
    command: touch /data/ready
    volumes: ["data:/data"]
  server:
    image: IMAGE
    container_name: shop_server
    command: httpd -f -p 8000 -h /www
    hostname: counter
    working_dir: /tmp
    group_add: ["44"]
    extra_hosts: ["nas:192.0.2.7"]
    sysctls: { net.core.somaxconn: 77 }
    stop_signal: KILL
    networks: { back: { aliases: [till] } }
    volumes: ["data:/data:ro"]
    restart: always
    depends_on: { prepare: { condition: service_completed_successfully } }
  client:
    image: IMAGE
    command: sleep 1000000
    stop_signal: SIGKILL
    networks: [front, back]
    restart: always
    healthcheck:
      test: wget -q -O - http://server:8000/ && wget -q -O - http://till:8000/ && wget -q -O - http://shop_server:8000/
      interval: 1s
    depends_on: [server]
  waits:
    image: IMAGE
    command: sleep 1000000
    stop_signal: SIGKILL
    networks: [front]
    restart: always
    depends_on: { client: { condition: service_healthy } }
networks: { front: {}, back: { internal: true } }
volumes: { data: {} }
"#;

#[tokio::test]
async fn a_compose_file_is_brought_over_and_works() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.start().await?;
        let file = machine.path("").with_file_name("compose.yaml");
        fs::write(&file, COMPOSE.replace("IMAGE", &image("1")?))?;
        let path = file.to_str().context("a path")?;
        let directory = machine.path("");
        let told = piccolo(&["import", "compose", path, "--dir", directory.to_str().context("a path")?]).await?;
        ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        machine.until_settled().await?;

        let server = engine.0.inspect_container("shop-server", None).await?;
        let host = server.host_config.context("a host config")?;
        let config = server.config.context("a config")?;
        ensure!(config.hostname.as_deref() == Some("counter") && config.working_dir.as_deref() == Some("/tmp"));
        ensure!(
            host.group_add == Some(vec!["44".to_owned()]) && host.extra_hosts == Some(vec!["nas:192.0.2.7".to_owned()])
        );
        ensure!(host.sysctls.is_some_and(|all| all.get("net.core.somaxconn").is_some_and(|it| it == "77")));
        let client = engine.0.inspect_container("shop-client", None).await?;
        let on = client.network_settings.and_then(|it| it.networks).context("networks")?;
        let mut on: Vec<_> = on.into_keys().collect();
        on.sort();
        ensure!(on == ["shop-back", "shop-front"], "it is on {on:?}");

        // A hand takes it off its second network, and it comes back.
        let request =
            bollard::models::NetworkDisconnectRequest { container: "shop-client".to_owned(), force: Some(true) };
        engine.0.disconnect_network("shop-back", request).await?;
        machine
            .until("it is on both again", async || {
                let client = engine.0.inspect_container("shop-client", None).await.ok();
                client.and_then(|it| it.network_settings?.networks).is_some_and(|it| it.len() == 2)
            })
            .await?;
        machine.until_settled().await?;

        let host = format!("unix://{}", machine.socket().display());
        let exported = piccolo(&["--host", &host, "export", "compose"]).await?;
        let text = String::from_utf8(exported.stdout)?;
        ensure!(text.contains("container_name: shop-server") && text.contains("- till"), "{text}");
        machine.stop().await
    })
    .await
}

async fn piccolo(args: &[&str]) -> anyhow::Result<Output> {
    Ok(Command::new(machine::program()?.with_file_name("piccolo")).args(args).output().await?)
}
