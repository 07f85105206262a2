//! A real browser, in which somebody is known to the machine, shows pages of others that try everything on it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use anyhow::{Context, ensure};
use piccolo_e2e::{
    Engine, Machine,
    attacks::{LOOT, Reached, Rebinding, Site, attacker, careless},
    browser::{Browser, Page},
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
        // A browser gives up what it does when a network comes or goes.
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
        let seen = browser.run(&own, "fetch('/whoami').then((it) => it.text())").await?;
        ensure!(seen.as_str().is_some_and(|it| it.contains("\"admin\"")), "{seen}");
        let confirm = "fetch('/confirm', { method: 'POST', headers: { 'content-type': 'application/json' }, \
                       body: '{\"id\":\"none\"}' }).then((it) => it.status)";
        ensure!(browser.run(&own, confirm).await? == 404);

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
    let page = browser.open(&format!("{origin}/")).await?;
    let careless = format!("https://careless.test:{}", stage.careless.address.port());
    let read = attack(browser, &page, &careless).await?;
    let reached = std::mem::take(&mut *stage.reached.lock().map_err(|_| anyhow::anyhow!("a lock"))?);
    for by in read.keys() {
        ensure!(reached.contains(by), "from {origin} {by} does not reach even a careless machine: {reached:?}");
    }
    for by in READS {
        ensure!(read[by].contains(LOOT), "from {origin} {by} reads nothing even of a careless machine: {read:#?}");
    }
    let page = browser.open(&format!("{origin}/")).await?;
    let read = attack(browser, &page, home).await?;
    ensure!(read.values().all(String::is_empty), "from {origin}: {read:#?}");
    Ok(read.len())
}

/// Attacks by a name that leads to the machine only once the page is there: the browser takes both for one.
async fn rebound(browser: &mut Browser, turn: &Turn, machine: SocketAddr) -> anyhow::Result<usize> {
    let Turn { scheme, name: rebinding, first, careless } = turn;
    let origin = format!("{scheme}://rebind.test:{}", rebinding.address.port());
    let page = browser.open(&format!("{origin}/")).await?;
    rebinding.lead(careless.address);
    let read = attack(browser, &page, &origin).await?;
    for by in READS {
        ensure!(read[by].contains(LOOT), "{origin}: {by} reads nothing even of a careless machine: {read:#?}");
    }
    rebinding.lead(first.address);
    let page = browser.open(&format!("{origin}/")).await?;
    rebinding.lead(machine);
    let read = attack(browser, &page, &origin).await?;
    // All that it learns is that it asked the wrong one, in words that are the same everywhere.
    let is_nothing = |text: &str| ["", REFUSAL].contains(&text.strip_prefix("421").unwrap_or(text).trim());
    ensure!(read.values().all(|it| is_nothing(it)), "{origin}: {read:#?}");
    ensure!(read["fetch-cors"].starts_with("421"), "{origin} does not even reach the machine: {read:#?}");
    Ok(read.len())
}

async fn attack(browser: &mut Browser, page: &Page, target: &str) -> anyhow::Result<Read> {
    let read = browser.run(page, &format!("attack({})", Value::from(target))).await?;
    Ok(serde_json::from_value(read)?)
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
    let images = super::updates::docker(&["images", "-q"]).await?;
    Ok(format!("{}\n{tokens}\n{}\n{evil}\n{images}", all_files(&machine.path(""))?, web.id))
}
