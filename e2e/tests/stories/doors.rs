//! A hand, the API and git change the same manifests at the same time: nobody's change is lost, all of it is in the history
//! with its author, and once it is quiet the machine is as the files say and rests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use bollard::models::VolumeCreateRequest;
use fastrand::Rng;
use http_body_util::BodyExt;
use piccolo_e2e::{Engine, Machine, container, http, image, machine::story};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use tempfile::TempDir;

use crate::push::{git, words};

/// How much comes in by each door.
const CHANGES: u32 = 200;
/// The manifests that all of them change.
const MANIFESTS: usize = 4;
/// Passes that must change nothing after that.
const REST: u64 = 100;
const CONTAINERS: &str = "/apis/piccolo.os/v1alpha1/containers";

/// What each door changes in each manifest: a count that grows with every change by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Memory,
    Cpus,
    Pids,
}

const FIELDS: [Field; 3] = [Field::Memory, Field::Cpus, Field::Pids];

/// The count that a door came to in each manifest.
type Counts = BTreeMap<usize, u32>;

impl Field {
    const fn start(self) -> &'static str {
        match self {
            Self::Memory => "memory = ",
            Self::Cpus => "cpus = ",
            Self::Pids => "pids = ",
        }
    }

    fn value(self, count: u32) -> String {
        match self {
            Self::Memory => format!("\"{}Mi\"", 16 + count),
            Self::Cpus => format!("0.{}", 1000 + count),
            Self::Pids => (100 + count).to_string(),
        }
    }

    fn count(self, text: &str) -> anyhow::Result<u32> {
        let value = text.lines().find_map(|line| line.strip_prefix(self.start())).context("a field is gone")?;
        let (prefix, zero) = match self {
            Self::Memory => ("\"", 16),
            Self::Cpus => ("0.", 1000),
            Self::Pids => ("", 100),
        };
        let digits: String =
            value.strip_prefix(prefix).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        // A number that ends with zeros is written without them.
        let digits = if self == Self::Cpus { format!("{digits:0<4}") } else { digits };
        digits.parse::<u32>().ok().and_then(|it| it.checked_sub(zero)).with_context(|| format!("odd: {value}"))
    }

    fn set(self, text: &str, count: u32) -> String {
        let line = |line: &str| {
            if line.starts_with(self.start()) { self.start().to_owned() + &self.value(count) } else { line.to_owned() }
        };
        text.lines().map(|it| line(it) + "\n").collect()
    }
}

#[tokio::test]
async fn three_doors_lose_nothing() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    story(&engine, async {
        let mut machine = Machine::new()?;
        for number in 0..MANIFESTS {
            machine.write(&format!("c{number}.toml"), &manifest(number)?)?;
        }
        machine.start().await?;
        machine.until_settled().await?;

        let (hand, api, git) = (hand(&machine, rng.fork()), api(&machine, rng.fork()), pushes(&machine, rng.fork()));
        let (hand, api, git) = tokio::join!(hand, api, git);
        let (hand, api, git) = (hand?, api?, git?);
        println!("{} of a hand's saves fell on another's; {} pushes were refused", hand.1.len(), git.1);
        machine.until_settled().await?;

        let said = [(Field::Memory, &hand.0), (Field::Cpus, &api), (Field::Pids, &git.0)];
        for number in 0..MANIFESTS {
            let text = fs::read_to_string(machine.path(&format!("c{number}.toml")))?;
            ensure!(text.matches('#').count() == manifest(number)?.matches('#').count(), "a comment is lost: {text}");
            for (field, counts) in said {
                let (wanted, is) = (counts.get(&number).copied().unwrap_or_default(), field.count(&text)?);
                ensure!(wanted == is, "c{number}: {field:?} is {is}, not {wanted}");
            }
            let memory = i64::from(16 + hand.0.get(&number).copied().unwrap_or_default()) << 20;
            ensure!(engine.inspect(&format!("c{number}")).await.is_some_and(|it| it.memory == memory), "c{number}");
        }
        the_history_is_whole(&machine, &hand.1).await?;
        nothing_moves(&machine, &engine).await?;
        machine.stop().await
    })
    .await
}

/// A person who saves as an editor does that takes over what others saved meanwhile. Tells also what was.
async fn hand(machine: &Machine, mut rng: Rng) -> anyhow::Result<(Counts, BTreeSet<(usize, u32)>)> {
    let (mut counts, mut met) = (Counts::new(), BTreeSet::new());
    for _ in 0..CHANGES {
        pause(&mut rng).await;
        let number = rng.usize(..MANIFESTS);
        let count = next(&mut counts, number);
        let (path, new) = (machine.path(&format!("c{number}.toml")), machine.path(".new"));
        let mut theirs = BTreeMap::<Field, u32>::new();
        loop {
            let seen = fs::read_to_string(&path)?;
            let mut text = Field::Memory.set(&seen, count);
            for (field, their) in &theirs {
                text = field.set(&text, field.count(&seen)?.max(*their));
            }
            fs::write(&new, text)?;
            renameat_with(CWD, &new, CWD, &path, RenameFlags::EXCHANGE)?;
            let out = fs::read_to_string(&new)?;
            if out == seen {
                break;
            }
            met.insert((number, Field::Cpus.count(&out)?));
            for field in [Field::Cpus, Field::Pids] {
                let their = theirs.entry(field).or_default();
                *their = field.count(&out)?.max(*their);
            }
        }
    }
    Ok((counts, met))
}

/// A program that writes through the API: merges, and whole manifests if nobody else was there meanwhile.
async fn api(machine: &Machine, mut rng: Rng) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for _ in 0..CHANGES {
        pause(&mut rng).await;
        let number = rng.usize(..MANIFESTS);
        let cpus: f64 = Field::Cpus.value(next(&mut counts, number)).parse()?;
        let path = format!("{CONTAINERS}/c{number}");
        let is_whole = rng.bool();
        for round in 0.. {
            let status = if is_whole {
                let mut object = machine.get(&path).await?;
                object["spec"]["cpus"] = json!(cpus);
                http::put(&machine.socket(), &path, &object).await?
            } else {
                http::patch(&machine.socket(), &path, &json!({ "spec": { "cpus": cpus } })).await?
            };
            match status.as_u16() {
                200 => break,
                // A hand was there meanwhile.
                409 | 412 if round < 50 => {}
                other => bail!("{path}: {other}"),
            }
        }
    }
    Ok(counts)
}

/// A person who pushes one to ten changes at once, and takes over what others did where that is refused. Tells also how
/// often it was.
async fn pushes(machine: &Machine, mut rng: Rng) -> anyhow::Result<(Counts, u32)> {
    let (mut counts, mut refused, clone) = (Counts::new(), 0, TempDir::new()?);
    let repository = machine.state().join("config.git").display().to_string();
    // The first revision is made beside all else.
    let cloned = async || run(clone.path(), &["clone", "--quiet", &repository, "."]).await.is_ok();
    machine.until("it can be cloned", cloned).await?;
    let mut left = CHANGES;
    while left > 0 {
        let many = rng.u32(1..=10).min(left);
        left -= many;
        for _ in 0..many {
            let number = rng.usize(..MANIFESTS);
            let path = clone.path().join(format!("c{number}.toml"));
            let text = Field::Pids.set(&fs::read_to_string(&path)?, next(&mut counts, number));
            fs::write(path, text)?;
            run(clone.path(), &["commit", "--quiet", "--all", "--message", "one"]).await?;
        }
        loop {
            let said = git(clone.path(), &["push", "--quiet", "origin", "HEAD:main"]).await?;
            if said.status.success() {
                break;
            }
            ensure!(words(&said).contains("rejected"), "{}", words(&said));
            refused += 1;
            run(clone.path(), &["pull", "--quiet", "--rebase", "origin", "main"]).await?;
        }
    }
    Ok((counts, refused))
}

/// All that came in by the API is in some revision, but what a hand's save fell on at once; all that was pushed is there;
/// each has its author, and the latest revision is what the files say.
async fn the_history_is_whole(machine: &Machine, met: &BTreeSet<(usize, u32)>) -> anyhow::Result<()> {
    recorded(machine).await?;
    let repository = machine.state().join("config.git");
    let log = run(&repository, &["log", "--format=%an|%ae", "main"]).await?;
    ensure!(log.lines().all(|line| line.split('|').all(|it| !it.is_empty())), "no author: {log}");
    let pushed = log.lines().filter(|line| line.starts_with("Anna|")).count();
    ensure!(pushed == CHANGES as usize, "{pushed} of {CHANGES} pushed revisions are in the history");
    for number in 0..MANIFESTS {
        let file = format!("c{number}.toml");
        let shown = run(&repository, &["show", &format!("main:{file}")]).await? + "\n";
        ensure!(shown == fs::read_to_string(machine.path(&file))?, "{file} is not what the history says");
        let patches = run(&repository, &["log", "--format=", "--patch", "main", "--", &file]).await?;
        let lines = patches.lines().filter_map(|line| line.strip_prefix('+'));
        for field in FIELDS {
            let seen: BTreeSet<u32> =
                lines.clone().filter(|it| it.starts_with(field.start())).flat_map(|it| field.count(it)).collect();
            let last = seen.last().copied().unwrap_or_default();
            // A hand may save twice before anybody looks.
            let missing: Vec<_> = (1..=last).filter(|it| field != Field::Memory && !seen.contains(it)).collect();
            let excused = |it: &u32| field == Field::Cpus && met.contains(&(number, *it));
            ensure!(missing.iter().all(excused), "{file}: {field:?} {missing:?} are not in the history");
        }
    }
    Ok(())
}

/// A hundred passes make no commit and no change.
async fn nothing_moves(machine: &Machine, engine: &Engine) -> anyhow::Result<()> {
    let before = (recorded(machine).await?, figure(machine, "piccolo_steps_applied_total").await?);
    let first = figure(machine, "piccolo_passes_total").await?;
    let poke = async {
        loop {
            let request = VolumeCreateRequest { name: Some("bystander".to_owned()), ..Default::default() };
            engine.0.create_volume(request).await?;
            let none = None::<bollard::query_parameters::RemoveVolumeOptions>;
            engine.0.remove_volume("bystander", none).await?;
            // The commits are looked for as well.
            recorded(machine).await?;
            if figure(machine, "piccolo_passes_total").await? >= first + REST {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(piccolo_e2e::PATIENCE, poke).await.context("it does not look")??;
    let after = (recorded(machine).await?, figure(machine, "piccolo_steps_applied_total").await?);
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

/// Returns the figure of containers.
async fn figure(machine: &Machine, metric: &str) -> anyhow::Result<u64> {
    let page = http::send(&machine.socket(), "GET", "/metrics").await?.into_body().collect().await?.to_bytes();
    let page = String::from_utf8_lossy(&page).into_owned();
    let start = format!("{metric}{{kind=\"Container\"}} ");
    let figure = page.lines().find_map(|line| line.strip_prefix(&*start)).context("no such figure")?;
    Ok(figure.parse()?)
}

/// Returns the refs of the repository once all is recorded that a look finds.
async fn recorded(machine: &Machine) -> anyhow::Result<Vec<u8>> {
    let refs = "/git/config.git/info/refs?service=git-upload-pack";
    Ok(http::send(&machine.socket(), "GET", refs).await?.into_body().collect().await?.to_bytes().to_vec())
}

fn manifest(number: usize) -> anyhow::Result<String> {
    let between = "# Nobody\n# changes\n# this.";
    let fields = FIELDS.map(|field| format!("{between}\n{}{}", field.start(), field.value(0))).join("\n");
    let spec = format!("command = [\"sleep\", \"1000000\"]\nstopSignal = \"SIGKILL\"\n{fields}\n{between}");
    Ok(container(&format!("c{number}"), &image("1")?, &spec))
}

fn next(counts: &mut Counts, number: usize) -> u32 {
    let count = counts.entry(number).or_default();
    *count += 1;
    *count
}

async fn pause(rng: &mut Rng) {
    tokio::time::sleep(Duration::from_millis(rng.u64(0..200))).await;
}

async fn run(place: &Path, args: &[&str]) -> anyhow::Result<String> {
    let said = git(place, args).await?;
    ensure!(said.status.success(), "{args:?}: {}", words(&said));
    Ok(String::from_utf8_lossy(&said.stdout).trim_end().to_owned())
}
