//! Real packets between real containers, a neighbour on the wire and the machine itself: allowed and refused.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use piccolo_e2e::{
    Engine, Machine, container, image,
    machine::story,
    sleeper,
    traffic::{self, HERE, NEIGHBOUR, Neighbour, nft, rules},
};
use tokio::process::Command;

/// How long a repair may take on a busy machine; a missed event would be found after minutes only.
const SOON: Duration = Duration::from_secs(20);

/// The web server may reach the database at port 8000, and the neighbour at port 7070.
const POLICY: &str = r#"
[[spec.policy.allow]]
from = { app = "web" }
to = { app = "database" }
ports = [8000]

[[spec.policy.egress]]
from = { app = "web" }
to = "192.168.77.2/32"
ports = [7070]
"#;

#[tokio::test]
async fn a_policy_lets_through_what_it_allows_and_nothing_else() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let neighbour = Neighbour::arrive(&[7070, 7071]).await?;
        let _here = traffic::serve_here(7072)?;
        let machine = three_on_a_network().await?;
        ensure!(is_there().await, "no rules");

        let database = engine.address("database", "vault").await?;
        same(&engine, "web", &format!("{database}:8000"), true).await?;
        same(&engine, "web", &format!("{database}:8001"), false).await?;
        same(&engine, "other", &format!("{database}:8000"), false).await?;
        let database6 = engine.address6("database", "vault").await?;
        same(&engine, "web", &format!("{database6}:8000"), true).await?;
        same(&engine, "web", &format!("{database6}:8001"), false).await?;
        same(&engine, "other", &format!("{database6}:8000"), false).await?;
        let web = engine.address("web", "vault").await?;
        same(&engine, "database", &format!("{web}:8000"), false).await?;

        same(&engine, "web", &format!("{}:7070", NEIGHBOUR[0]), true).await?;
        same(&engine, "web", &format!("{}:7071", NEIGHBOUR[0]), false).await?;
        same(&engine, "web", &format!("{}:7070", NEIGHBOUR[1]), false).await?;
        same(&engine, "other", &format!("{}:7070", NEIGHBOUR[0]), false).await?;
        for place in ["172.31.77.1:7072", "192.168.77.1:7072"] {
            same(&engine, "web", place, false).await?;
        }

        // What it publishes is reached from outside; by another way nothing is.
        ensure!(neighbour.reaches(NEIGHBOUR[0], &format!("{HERE}:8200")).await?, "a published port is shut");
        ensure!(!neighbour.reaches(NEIGHBOUR[0], &format!("{database}:8001")).await?, "a container lies open");

        // Without the policy all of that flows, on the same containers.
        let before = engine.inspect("database").await;
        machine.write("vault.toml", &network(""))?;
        gone(&machine).await?;
        for place in [&format!("{database}:8001"), "192.168.77.2:7071", "172.31.77.1:7072"] {
            same(&engine, "other", place, true).await?;
        }
        ensure!(engine.inspect("database").await == before, "a policy is no reason to touch a container");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rules_follow_the_containers_and_survive_hands() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let machine = three_on_a_network().await?;
        let holds = async || -> anyhow::Result<()> {
            let place = format!("{}:8000", engine.address("database", "vault").await?);
            same(&engine, "web", &place, true).await?;
            same(&engine, "other", &place, false).await
        };
        holds().await?;

        // A container that takes another's place has another address, or an address that was another's.
        for name in ["web", "database"] {
            engine.remove(name).await?;
            machine.until("it is there again", async || engine.inspect(name).await.is_some()).await?;
            machine.until_settled().await?;
        }
        holds().await?;

        traffic::remove_rules().await?;
        repaired(&machine, "removed", async || is_there().await).await?;
        holds().await?;

        nft(&["insert", "rule", "inet", "piccolo", "forward", "counter", "accept"]).await?;
        let mended = async || rules().await.is_ok_and(|it| it.is_some_and(|it| !it.contains("counter")));
        repaired(&machine, "altered", mended).await?;
        holds().await?;

        nft(&["flush", "table", "inet", "piccolo"]).await?;
        let mended = async || rules().await.is_ok_and(|it| it.is_some_and(|it| it.contains("ct status dnat")));
        repaired(&machine, "emptied", mended).await?;
        holds().await?;
        let restart = std::env::var("RESTART_ENGINE").context("RESTART_ENGINE is not set: run e2e/test")?;
        ensure!(Command::new(restart).status().await?.success());
        machine
            .until("all run again", async || engine.inspect("other").await.is_some_and(|it| it.state == "running"))
            .await?;
        machine.until_settled().await?;
        holds().await?;
        let journal = machine.get("/journal?limit=1000").await?.to_string();
        ensure!(journal.matches("Drifted").count() >= 3, "drift was not named: {journal}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_machine_starts_closed_until_the_daemon_has_looked() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let neighbour = Neighbour::arrive(&[]).await?;
        let mut machine = three_on_a_network().await?;
        let place = async || Ok::<_, anyhow::Error>(format!("{}:8000", engine.address("database", "vault").await?));
        same(&engine, "web", &place().await?, true).await?;
        machine.stop().await?;

        // What happens when the machine starts: no rules, those of the file, the engine.
        traffic::remove_rules().await?;
        let file = machine.state().join("rules.nft");
        nft(&["-f", file.to_str().context("no path")?]).await?;
        let restart = std::env::var("RESTART_ENGINE").context("RESTART_ENGINE is not set: run e2e/test")?;
        ensure!(Command::new(restart).status().await?.success());
        let runs = async |name| engine.inspect(name).await.is_some_and(|it| it.state == "running");
        machine.until("all run", async || runs("web").await && runs("database").await && runs("other").await).await?;
        for from in ["web", "other"] {
            same(&engine, from, &place().await?, false).await?;
        }
        ensure!(neighbour.reaches(NEIGHBOUR[0], &format!("{HERE}:8200")).await?, "what is open to all is shut");

        machine.start().await?;
        machine.until_settled().await?;
        same(&engine, "web", &place().await?, true).await?;
        same(&engine, "other", &place().await?, false).await?;

        machine.write("vault.toml", &network(""))?;
        gone(&machine).await?;
        ensure!(!file.exists(), "the next start has rules that nobody asks for");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_published_port_is_reached_from_where_it_says() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let neighbour = Neighbour::arrive(&[]).await?;
        let mut machine = Machine::new()?;
        let ports: String = [(8101, "lan"), (8102, "loopback"), (8103, "192.168.77.2/32"), (8104, "none")]
            .map(|(port, exposure)| {
                format!("[[spec.ports]]\nhostPort = {port}\ncontainerPort = 8000\nexposure = \"{exposure}\"\n")
            })
            .concat();
        machine.write("site.toml", &site("site", &ports)?)?;
        machine.start().await?;
        machine.until_settled().await?;
        machine.until("it answers", async || traffic::reaches("127.0.0.1:8101").await.unwrap_or_default()).await?;

        for (port, here, first, second) in [
            (8101, true, true, true),
            (8102, true, false, false),
            (8103, true, true, false),
            (8104, false, false, false),
        ] {
            let place = format!("{HERE}:{port}");
            ensure!(traffic::reaches(&format!("127.0.0.1:{port}")).await? == here, "{port} from the machine");
            ensure!(neighbour.reaches(NEIGHBOUR[0], &place).await? == first, "{port} from the first address");
            ensure!(neighbour.reaches(NEIGHBOUR[1], &place).await? == second, "{port} from the second address");
        }
        let behind = engine.address("site", "bridge").await?;
        ensure!(!neighbour.reaches(NEIGHBOUR[1], &format!("{behind}:8000")).await?, "the port was gone round");

        machine.write("plain.toml", &sleeper("plain", "")?)?;
        machine.remove("site.toml")?;
        gone(&machine).await?;
        ensure!(engine.ours().await? == ["plain"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_nft_only_those_wait_who_ask_for_rules() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?.launched_by(&["env", "PATH=/var/empty"]);
        machine.write("vault.toml", &network(POLICY))?;
        machine.write("plain.toml", &sleeper("plain", "")?)?;
        let port = "[[spec.ports]]\nhostPort = 8300\ncontainerPort = 80\nexposure = \"10.0.0.0/8\"\n";
        machine.write("site.toml", &sleeper("site", port)?)?;
        machine.start().await?;
        machine.until("it says so", async || machine.reason("site").await == "FirewallUnavailable").await?;
        machine.until("others run", async || machine.reason("plain").await == "Running").await?;
        let vault = machine.get("/apis/piccolo.os/v1alpha1/networks/vault").await?;
        let ready = &vault["status"]["conditions"][0];
        ensure!(
            ready["reason"] == "FirewallUnavailable" && ready["message"].to_string().contains("nftables"),
            "{ready}"
        );
        ensure!(engine.inspect("site").await.context("it is made")?.state == "created", "it runs without rules");
        Ok(())
    })
    .await
}

async fn three_on_a_network() -> anyhow::Result<Machine> {
    let mut machine = Machine::new()?;
    machine.write("vault.toml", &network(POLICY))?;
    let published = "[[spec.ports]]\nhostPort = 8200\ncontainerPort = 8001\n";
    machine.write("web.toml", &site("web", "network = \"vault\"\nlabels = { app = \"web\" }")?)?;
    let more = format!("network = \"vault\"\nlabels = {{ app = \"database\" }}\n{published}");
    machine.write("database.toml", &site("database", &more)?)?;
    machine.write("other.toml", &site("other", "network = \"vault\"")?)?;
    machine.start().await?;
    machine.until_settled().await?;
    Ok(machine)
}

fn network(policy: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Network\"\nmetadata.name = \"vault\"\n\n[spec]\nsubnet = \
         \"172.31.77.0/24\"\nipv6 = \"fd31:77::/64\"\n{policy}"
    )
}

/// A container that answers at ports 8000 and 8001.
fn site(name: &str, more: &str) -> anyhow::Result<String> {
    let command = "command = [\"sh\", \"-c\", \"httpd -p 8000 -h /www; exec httpd -f -p 8001 -h /www\"]";
    Ok(container(name, &image("1")?, &format!("{command}\nstopSignal = \"SIGKILL\"\n{more}")))
}

/// Expects that a container reaches a place, or does not. Programs take a moment to listen.
async fn same(engine: &Engine, from: &str, place: &str, expected: bool) -> anyhow::Result<()> {
    for _ in 0..3 {
        if engine.reaches(from, place).await? == expected {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let word = if expected { "does not reach" } else { "reaches" };
    anyhow::bail!("{from} {word} {place}")
}

async fn is_there() -> bool {
    rules().await.is_ok_and(|it| it.is_some())
}

async fn gone(machine: &Machine) -> anyhow::Result<()> {
    machine.until("the rules go", async || rules().await.is_ok_and(|it| it.is_none())).await?;
    machine.until_settled().await
}

async fn repaired(machine: &Machine, what: &str, holds: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    machine.until(&format!("the rules are repaired after they were {what}"), holds).await?;
    ensure!(start.elapsed() < SOON, "{what}: took {:?}", start.elapsed());
    machine.until_settled().await
}
