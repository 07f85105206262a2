//! The firewall beside a real engine: every zone knocks at services of the machine and at ports of containers, before and
//! after the engine has written its own rules anew.

use anyhow::{Context, ensure};
use futures_util::future::{join, try_join_all};
use piccolo_e2e::{
    Engine, Machine, container, image,
    machine::story,
    traffic::{self, HERE, NEIGHBOUR, Neighbour},
};
use tokio::process::Command;

/// Where a neighbour comes from: the link at the machine, the machine's address there, and the neighbour's.
const WAYS: [(&str, &str, &str); 3] =
    [("wire", HERE, NEIGHBOUR[0]), ("wg7", "10.77.0.1", "10.77.0.2"), ("wan7", "203.0.113.1", "203.0.113.2")];
/// The services of the machine.
const SERVED: [u16; 4] = [7080, 7081, 7082, 7083];
/// Each port, and whether it is open from the network, the tunnel and elsewhere.
const MATRIX: [(u16, [bool; 3]); 9] = [
    (7080, [true, true, false]),
    (7081, [false, false, false]),
    (7082, [true, true, true]),
    (7083, [false, false, false]),
    // Published by a container: to all, to nobody but the machine, to one neighbour, to nobody.
    (8401, [true, true, true]),
    (8402, [false, false, false]),
    (8403, [true, false, false]),
    (8404, [false, false, false]),
    // Leads on to the port that is published to the machine alone.
    (7090, [true, false, true]),
];
/// What a container reaches of the machine.
const WITHIN: [(u16, bool); 4] = [(7080, false), (7081, true), (7082, true), (7083, false)];

const MANIFEST: &str = r#"
apiVersion = "piccolo.os/v1alpha1"
kind = "Firewall"
metadata.name = "inbound"

[spec]
zones = [{ name = "outside", links = ["wan*"], addresses = ["203.0.113.0/24"] }]
services = [
  { name = "both", ports = [7080], from = ["lan", "wireguard"] },
  { name = "inner", ports = [7081], from = ["containers"] },
  { name = "open", ports = [7082], from = ["anywhere"] },
]
forwards = [{ name = "site", port = 7090, from = ["lan", "outside"], container = "site", containerPort = 8001 }]
"#;

#[tokio::test]
async fn a_firewall_and_an_engine_leave_each_other_alone() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let neighbour = Neighbour::arrive(&[]).await?;
        for (link, here, there) in &WAYS[1..] {
            neighbour.plug(link, here, there).await?;
        }
        let mut servers = Vec::new();
        for port in SERVED {
            servers.push(traffic::serve_here(port)?);
        }
        let mut machine = Machine::new()?.open_to_networks();
        machine.write("inbound.toml", MANIFEST)?;
        machine.write("site.toml", &site()?)?;
        machine.start().await?;
        machine.until_settled().await?;
        let api = api_port(&machine).await?;
        machine.until("it answers", async || traffic::reaches("127.0.0.1:8401").await.unwrap_or_default()).await?;
        let engines = engine_rules().await?;
        holds(&engine, &neighbour, api).await?;
        ensure!(engine_rules().await? == engines, "the rules of the engine are others");

        let restart = std::env::var("RESTART_ENGINE").context("RESTART_ENGINE is not set: run e2e/test")?;
        ensure!(Command::new(restart).status().await?.success());
        let runs = async || engine.inspect("site").await.is_some_and(|it| it.state == "running");
        machine.until("it runs again", runs).await?;
        machine.until_settled().await?;
        machine.until("it answers", async || traffic::reaches("127.0.0.1:8401").await.unwrap_or_default()).await?;
        holds(&engine, &neighbour, api).await?;
        println!("firewall: 2 x {} cells as declared", MATRIX.len() * WAYS.len() + WITHIN.len() + WAYS.len());

        // What nobody may be without is let in by rules of their own: addresses, neighbours and names.
        let ours = table().await.context("no rules")?;
        for needed in ["udp sport 67 udp dport 68 accept", "nd-neighbor-solicit", "udp dport 5353"] {
            ensure!(ours.contains(needed), "{needed} is not let in: {ours}");
        }
        machine.remove("inbound.toml")?;
        machine.until("the rules go", async || table().await.is_none()).await?;
        ensure!(neighbour.connects(HERE, 7083).await?, "the machine is not open again");
        machine.stop().await
    })
    .await
}

/// Knocks at everything from everywhere at once: what is refused by a rule has no answer, and is waited for.
async fn holds(engine: &Engine, neighbour: &Neighbour, api: u16) -> anyhow::Result<()> {
    let of_port = |(port, open): (u16, [bool; 3])| WAYS.into_iter().zip(open).map(move |(way, open)| (way, port, open));
    // Whoever sits beside the machine is never locked out; whoever does not gets in by no default.
    let knocks = MATRIX.into_iter().chain([(api, [true, false, false])]).flat_map(of_port);
    let knocks = knocks.map(|((link, here, _), port, expected)| async move {
        let open = neighbour.connects(here, port).await?;
        Ok::<_, anyhow::Error>((open != expected).then(|| format!("{port} from {link} is not {expected}")))
    });
    let bridge = engine.gateway("site", "bridge").await?;
    let inner = WITHIN.into_iter().map(|(port, expected)| {
        let place = format!("{bridge}:{port}");
        async move {
            let open = engine.reaches("site", &place).await?;
            Ok::<_, anyhow::Error>((open != expected).then(|| format!("{port} from a container is not {expected}")))
        }
    });
    let (outer, inner) = join(try_join_all(knocks), try_join_all(inner)).await;
    let wrong: Vec<String> = outer?.into_iter().chain(inner?).flatten().collect();
    ensure!(wrong.is_empty(), "{}", wrong.join(", "));
    Ok(())
}

/// A container with four ports, each open to others.
fn site() -> anyhow::Result<String> {
    let command = "command = [\"sh\", \"-c\", \"httpd -p 8000 -h /www; exec httpd -f -p 8001 -h /www\"]";
    let ports: String =
        [(8401, 8000, "lan"), (8402, 8001, "loopback"), (8403, 8000, "192.168.77.0/24"), (8404, 8000, "none")]
            .map(|(port, inner, exposure)| {
                format!("[[spec.ports]]\nhostPort = {port}\ncontainerPort = {inner}\nexposure = \"{exposure}\"\n")
            })
            .concat();
    Ok(container("site", &image("1")?, &format!("{command}\nstopSignal = \"SIGKILL\"\n{ports}")))
}

/// Lists our table; none if there is none.
async fn table() -> Option<String> {
    let output = Command::new("nft").args(["list", "table", "inet", "piccolo_firewall"]).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn api_port(machine: &Machine) -> anyhow::Result<u16> {
    let told = machine.get("/pairing").await?;
    let url = told["urls"][0].as_str().context("no address")?;
    Ok(url.rsplit_once(':').context("no port")?.1.parse()?)
}

/// Returns the rules of all others, without what is counted.
async fn engine_rules() -> anyhow::Result<String> {
    let mut all = String::new();
    for command in ["iptables-save", "ip6tables-save"] {
        let output = Command::new(command).output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        all.extend(text.lines().filter(|it| !it.starts_with(['#', ':'])).map(|it| format!("{it}\n")));
    }
    Ok(all)
}
