//! A real browser, in which somebody is known to the machine, shows pages of others that try everything on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use anyhow::{Context, ensure};
use piccolo_e2e::{
    Engine, Machine,
    attacks::{LOOT, Reached, Rebinding, Site, attacker, careless},
    browser::Browser,
    machine::{all_files, story},
    sleeper,
};
use serde_json::Value;

use super::updates::text;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const EVIL: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
const REBOUND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10));
/// The name that leads elsewhere.
const REBIND: &[&str] = &["rebind.test"];
/// The one resolver that the browser has.
const HOSTS: &str = "MAP attic.test 127.0.0.1, MAP careless.test 127.0.0.1, MAP evil.test 127.0.0.9, \
                     MAP rebind.test 127.0.0.10, MAP * ~NOTFOUND";
/// All that anybody is told who asks for another name than the machine's own.
const REFUSAL: &str = "{\"type\":\"urn:piccolo:problem:MisdirectedRequest\",\"title\":\"Misdirected Request\",\"status\":421,\
                       \"detail\":\"this machine is not called so\",\"help\":\"ask for its name or address; other names that \
                       it has: piccolod --name NAME\"}";
/// What must get through to a careless machine for the rest to mean anything: from another origin, and with its own name.
const READS: [&str; 6] = ["fetch-cors", "fetch-cors-write", "xhr", "xhr-write", "websocket", "event-source"];

/// How long each attack may take, in milliseconds, in the first try and in those after it: a machine that is busy is no proof
/// that an attack fails.
const PATIENCE: [u32; 4] = [2500, 5000, 10_000, 20_000];

/// Asks as `fetch` does, and once more if that fails.
const TWICE: &str = "((...it) => fetch(...it).catch(() => fetch(...it)))";

/// Those who attack, and the one that they succeed with.
struct Stage {
    sites: Vec<(String, Site)>,
    rebinding: [Turn; 2],
    careless: Site,
    reached: Reached,
}

/// A name that leads to a page first, then to whoever is attacked.
struct Turn {
    scheme: &'static str,
    name: Rebinding,
    first: Site,
    careless: Site,
}

/// What a page could read, by attack.
type Read = BTreeMap<String, String>;

#[tokio::test]
async fn pages_of_others_read_nothing_and_change_nothing() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?.launched_by(&["env", "PICCOLO_NAMES=attic.test"]);
        // A browser gives up what it does when a network comes or goes: none does by this story, and it asks twice.
        machine.write("web.toml", &sleeper("web", "network = \"none\"")?)?;
        machine.start().await?;
        machine.until_settled().await?;
        let port = port(&machine).await?;
        let home = format!("https://attic.test:{port}");
        let words = ["token", "create", "browser", "--role", "admin"];
        let token = text(machine.piccolo(&words)?.output().await?)?.trim().to_owned();

        let mut browser = Browser::start(HOSTS, &machine.state().join("browser.log"))?;
        let own = browser.open(&format!("https://anna:{token}@attic.test:{port}/whoami")).await?;
        browser.go(&own, &format!("{home}/whoami")).await?;
        // What is to be shown is there to be seen: for its own page, and with the right of an admin.
        let seen = browser.run(&own, &format!("{TWICE}('/whoami').then((it) => it.text())")).await?;
        ensure!(seen.as_str().is_some_and(|it| it.contains("\"admin\"")), "{seen}");
        let confirm = "('/confirm', { method: 'POST', headers: { 'content-type': 'application/json' }, \
                       body: '{\"id\":\"none\"}' }).then((it) => it.status)";
        ensure!(browser.run(&own, &format!("{TWICE}{confirm}")).await? == 404);

        let before = state(&machine, &engine).await?;
        let stage = Stage::open().await?;
        let mut tried = 0;
        for (origin, _) in &stage.sites {
            tried += from_elsewhere(&mut browser, &stage, origin, &home).await?;
        }
        for turn in &stage.rebinding {
            tried += rebound(&mut browser, turn, SocketAddr::new(HERE, port)).await?;
        }
        let after = state(&machine, &engine).await?;
        ensure!(before == after, "something was changed:\n{before}\n{after}");
        let told: Vec<Value> = machine.get("/audit?limit=1000").await?["items"].as_array().cloned().unwrap_or_default();
        let by_us = told.iter().filter(|it| it["who"] == "browser" && it["action"] != "POST /confirm");
        let (refused, done): (Vec<_>, Vec<_>) =
            by_us.partition(|it| it["result"].as_str().is_some_and(|it| it.starts_with('4')));
        ensure!(done.is_empty(), "{done:#?}");
        // The browser did give what it knows of the machine to those pages, and it helped them nothing.
        ensure!(refused.iter().any(|it| it["result"] == "403"), "no attack came in somebody's name: {told:#?}");
        println!("{tried} attacks: 0 bytes read, 0 changes; {} were refused to an admin", refused.len());
        machine.stop().await
    })
    .await
}

/// Attacks from another origin. Returns how many attacks that were.
async fn from_elsewhere(browser: &mut Browser, stage: &Stage, origin: &str, home: &str) -> anyhow::Result<usize> {
    let attacker = Attacker { origin, turn: None };
    let careless =
        Target { origin: &format!("https://careless.test:{}", stage.careless.address.port()), address: None };
    let reached = || stage.reached.lock().map(|it| it.clone()).unwrap_or_default();
    let tries =
        attacker.attack(browser, &careless, |tries| robbed(tries) && tries[0].keys().all(|it| reached().contains(it)));
    let tries = tries.await?;
    let deaf: Vec<_> = tries[0].keys().filter(|it| !reached().contains(*it)).collect();
    ensure!(deaf.is_empty(), "from {origin} these do not reach even a careless machine: {deaf:?}");
    ensure!(robbed(&tries), "from {origin} not all read something even of a careless machine: {tries:#?}");
    stage.reached.lock().map_err(|_| anyhow::anyhow!("a lock"))?.clear();
    let tries = attacker.attack(browser, &Target { origin: home, address: None }, |_| true).await?;
    ensure!(tries[0].values().all(String::is_empty), "from {origin}: {tries:#?}");
    Ok(tries[0].len())
}

/// Attacks by a name that leads to the machine only once the page is there: the browser takes both for one.
async fn rebound(browser: &mut Browser, turn: &Turn, machine: SocketAddr) -> anyhow::Result<usize> {
    let origin = &format!("{}://rebind.test:{}", turn.scheme, turn.name.address.port());
    let attacker = Attacker { origin, turn: Some(turn) };
    let tries = attacker.attack(browser, &Target { origin, address: Some(turn.careless.address) }, robbed).await?;
    ensure!(robbed(&tries), "{origin}: not all read something even of a careless machine: {tries:#?}");
    let reached = |tries: &[Read]| tries.iter().any(|it| it["fetch-cors"].starts_with("421"));
    let tries = attacker.attack(browser, &Target { origin, address: Some(machine) }, reached).await?;
    // All that it learns is that it asked the wrong one, in words that are the same everywhere.
    let is_nothing = |text: &String| ["", REFUSAL].contains(&text.strip_prefix("421").unwrap_or(text).trim());
    ensure!(tries.iter().flat_map(BTreeMap::values).all(is_nothing), "{origin}: {tries:#?}");
    ensure!(reached(&tries), "{origin} does not even reach the machine: {tries:#?}");
    Ok(tries[0].len())
}

/// Whether each attack that must read something did so.
fn robbed(tries: &[Read]) -> bool {
    READS.iter().all(|by| tries.iter().any(|it| it[*by].contains(LOOT)))
}

/// Where a page comes from.
struct Attacker<'a> {
    origin: &'a str,
    /// The name of its origin, when that leads elsewhere once the page is there.
    turn: Option<&'a Turn>,
}

/// Who is attacked, and where the name of the page's origin leads to then.
struct Target<'a> {
    origin: &'a str,
    address: Option<SocketAddr>,
}

impl Attacker<'_> {
    /// Opens a page and lets it attack: again, and with more patience, until `enough`. Returns what each try could read.
    async fn attack(
        &self,
        browser: &mut Browser,
        target: &Target<'_>,
        enough: impl Fn(&[Read]) -> bool,
    ) -> anyhow::Result<Vec<Read>> {
        let mut tries = Vec::new();
        for patience in PATIENCE {
            if let Some(turn) = self.turn {
                turn.name.lead(turn.first.address);
            }
            let page = browser.open(&format!("{}/", self.origin)).await?;
            if let (Some(turn), Some(address)) = (self.turn, target.address) {
                turn.name.lead(address);
            }
            let read = browser.run(&page, &format!("attack({}, {patience})", Value::from(target.origin))).await?;
            tries.push(serde_json::from_value(read)?);
            if enough(&tries) {
                break;
            }
        }
        Ok(tries)
    }
}

impl Stage {
    async fn open() -> anyhow::Result<Self> {
        let reached = Reached::default();
        let (safe, plain) = (Site::safe(EVIL, &["evil.test"], attacker()).await?, Site::plain(EVIL, attacker()).await?);
        // Another program on the same machine: the same site to a browser, and another origin.
        let beside = Site::safe(HERE, &["attic.test"], attacker()).await?;
        let sites = vec![
            (format!("https://evil.test:{}", safe.address.port()), safe),
            (format!("http://evil.test:{}", plain.address.port()), plain),
            (format!("https://attic.test:{}", beside.address.port()), beside),
        ];
        let rebinding = [
            Turn::of(
                "https",
                Site::safe(REBOUND, REBIND, attacker()).await?,
                Site::safe(HERE, REBIND, careless(&reached)).await?,
            )
            .await?,
            Turn::of("http", Site::plain(REBOUND, attacker()).await?, Site::plain(HERE, careless(&reached)).await?)
                .await?,
        ];
        let careless = Site::safe(HERE, &["careless.test"], careless(&reached)).await?;
        Ok(Self { sites, rebinding, careless, reached })
    }
}

impl Turn {
    async fn of(scheme: &'static str, first: Site, careless: Site) -> anyhow::Result<Self> {
        Ok(Self { scheme, name: Rebinding::to(REBOUND, first.address).await?, first, careless })
    }
}

async fn port(machine: &Machine) -> anyhow::Result<u16> {
    let told = machine.get("/pairing").await?;
    let port = told["urls"][0].as_str().and_then(|url| url.trim_end_matches('/').rsplit(':').next()?.parse().ok());
    port.with_context(|| format!("no port in {told}"))
}

/// Returns all that an attack could change: manifests, credentials, the container and what is in it.
async fn state(machine: &Machine, engine: &Engine) -> anyhow::Result<String> {
    let mut tokens = machine.get("/tokens").await?;
    for token in tokens["items"].as_array_mut().into_iter().flatten() {
        token.as_object_mut().map(|it| it.remove("lastUsed"));
    }
    let web = engine.inspect("web").await.context("there is no container")?;
    let evil = super::updates::docker(&["exec", "web", "sh", "-c", "ls /evil 2>/dev/null || true"]).await?;
    // Those of the same age come in any order.
    let images = super::updates::docker(&["images", "-q"]).await?;
    let images: BTreeSet<&str> = images.lines().collect();
    Ok(format!("{}\n{tokens}\n{}\n{evil}\n{images:?}", all_files(&machine.path(""))?, web.id))
}
