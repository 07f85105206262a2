//! The API of the machine is for no container, unless its manifest says otherwise.

use anyhow::{Context, ensure};
use piccolo_e2e::{
    Engine, Machine, image,
    machine::story,
    sleeper,
    traffic::{HERE, NEIGHBOUR, Neighbour, rules},
};

use super::updates::docker;

#[tokio::test]
async fn no_container_reaches_the_api_but_those_that_may() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let neighbour = Neighbour::arrive(&[]).await?;
        let mut machine = Machine::new()?.open_to_networks();
        machine.write("any.toml", &sleeper("any", "")?)?;
        machine.write("may.toml", &sleeper("may", "grants = [\"piccolo-api\"]")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        let told = machine.get("/pairing").await?;
        let port = told["urls"][0].as_str().and_then(|url| url.trim_end_matches('/').rsplit(':').next()?.parse().ok());
        let port: u16 = port.with_context(|| format!("no port in {told}"))?;
        machine.until("there are rules", async || rules().await.is_ok_and(|it| it.is_some())).await?;
        machine.until_settled().await?;

        // By the bridge's address and by that of the network.
        for place in [format!("{}:{port}", gateway(&engine, "any").await?), format!("{HERE}:{port}")] {
            let reaches = async || calls("may", &place).await.unwrap_or(false);
            machine.until(&format!("who may reaches {place}"), reaches).await?;
            ensure!(!calls("any", &place).await?, "any container reaches {place}");
        }
        ensure!(neighbour.reaches(NEIGHBOUR[0], &format!("{HERE}:{port}")).await?, "others are shut out too");

        // A network that somebody makes by hand is no way around.
        docker(&["network", "create", "aside"]).await?;
        docker(&["run", "-d", "--name", "stranger", "--network", "aside", &image("1")?, "sleep", "1000000"]).await?;
        let place = format!("{}:{port}", gateway(&engine, "stranger").await?);
        let is_shut = machine.until("it is shut", async || !calls("stranger", &place).await.unwrap_or(true)).await;
        docker(&["rm", "-f", "stranger"]).await?;
        docker(&["network", "rm", "aside"]).await?;
        is_shut?;
        machine.stop().await
    })
    .await
}

/// Returns true if a container gets an answer from the API. Whoever does not speak TLS is told where to ask.
async fn calls(container: &str, place: &str) -> anyhow::Result<bool> {
    let (host, port) = place.rsplit_once(':').context("a place is an address and a port")?;
    let ask = format!("printf 'GET / HTTP/1.1\\r\\nHost: {place}\\r\\n\\r\\n' | nc -w 2 {host} {port}; true");
    Ok(docker(&["exec", container, "sh", "-c", &ask]).await?.starts_with("HTTP/"))
}

/// Returns the address by which a container sees the machine.
async fn gateway(engine: &Engine, container: &str) -> anyhow::Result<String> {
    let settings = engine.0.inspect_container(container, None).await?.network_settings;
    let networks = settings.and_then(|settings| settings.networks).unwrap_or_default();
    networks.into_values().find_map(|on| on.gateway).with_context(|| format!("{container} has no gateway"))
}
