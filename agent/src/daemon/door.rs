//! The way in from networks: opened at the start, and kept up.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{sync::watch, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use zeroize::Zeroizing;

use super::{Options, banner::Banner, sockets};
use crate::{
    access::{Access, Authority, Names, Planted, Seed, Shown},
    api::{Gate, Plate},
    audit::Entry,
    clock, file,
    host::linux::{addresses, hostname, reload_screens},
    store::{Event, Writer},
};

/// The key of the authority where it is sealed; none inside where it is not, none at all where it can't be opened.
pub(super) type Key = Option<Option<Zeroizing<String>>>;

/// How often it is looked for what changed without a word: names, addresses, the clock.
const EVERY: Duration = Duration::from_secs(15);
/// The credential of systemd that holds a seed.
const CREDENTIAL: &str = "piccolo.seed";
/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// The way in.
pub(super) struct Door {
    pub(super) access: Arc<Access>,
    pub(super) plate: Plate,
    /// Where connections come in; none if they can't.
    pub(super) gate: Option<Gate>,
    pub(super) keeper: Keeper,
    /// What the audit is to be told: the seed comes before there is one.
    pub(super) planted: Option<Entry>,
}

/// Keeps the way in as it should be.
pub(super) struct Keeper {
    access: Arc<Access>,
    authority: Option<Authority>,
    names: watch::Sender<Arc<Names>>,
    more: Vec<String>,
    shown: Arc<Shown>,
    plate: Plate,
    issue: PathBuf,
    said: Option<String>,
    /// What is not as it should be, and was told of.
    ill: BTreeSet<&'static str>,
    store: Arc<Writer>,
}

impl Door {
    /// Opens the door. What can't be read or used leaves it shut, and says so: the machine is kept all the same, and the
    /// socket is enough to mend that.
    pub(super) async fn open(options: &Options, store: &Arc<Writer>, key: Key) -> anyhow::Result<Self> {
        let directory = options.state_dir.join("access");
        let (access, authority) = (access(&directory, store)?, authority(&directory, store, key));
        let planted = plant(&access, &options.seed, store);
        let more = [options.names.clone(), access.names()].concat();
        let names = watch::Sender::new(Arc::new(look(&more)));
        let shown = Arc::new(Shown::default());
        let listener = if authority.is_some() { sockets::listen(options.listen, store).await } else { None };
        let plate = Plate {
            names: names.subscribe(),
            listen: listener.as_ref().and_then(|it| it.local_addr().ok()),
            print: authority.as_ref().map(Authority::print),
            pem: authority.as_ref().map(Authority::pem).unwrap_or_default(),
        };
        let mut keeper = Keeper {
            access: Arc::clone(&access),
            authority,
            names,
            more,
            shown: Arc::clone(&shown),
            plate: plate.clone(),
            issue: options.issue.clone(),
            said: None,
            ill: BTreeSet::new(),
            store: Arc::clone(store),
        };
        keeper = keeper.turn().await?;
        let tls = shown.config().context("can't speak TLS")?;
        let gate = listener.map(|listener| Gate {
            listener,
            tls,
            names: plate.names.clone(),
            proxies: options.proxies.iter().map(IpAddr::to_canonical).collect(),
        });
        Ok(Self { access, plate, gate, keeper, planted })
    }
}

impl Keeper {
    /// Keeps names, certificate, tokens and screens up until the shutdown.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut changed = self.access.subscribe();
        loop {
            let word = async {
                // Many wrong codes are one word.
                tokio::time::sleep(PAUSE).await;
                // The other end is ours.
                drop(tokio::time::timeout(EVERY, changed.changed()).await);
            };
            let is_over = shutdown.run_until_cancelled(word).await.is_none();
            match self.turn().await {
                Ok(keeper) => self = keeper,
                Err(error) => return warn!(%error, "the way in is not kept up"),
            }
            if is_over {
                return drop(std::fs::remove_file(&self.issue));
            }
        }
    }

    /// Looks once, and does what is to be done. Dropped half-way, it is done all the same.
    async fn turn(self) -> anyhow::Result<Self> {
        let (keeper, is_news) = spawn_blocking(move || self.look()).await.context("the daemon ends")?;
        if is_news {
            reload_screens().await;
        }
        Ok(keeper)
    }

    fn look(mut self) -> (Self, bool) {
        let names = look(&self.more);
        self.names.send_if_modified(|now| {
            let is_other = **now != names;
            if is_other {
                *now = Arc::new(names);
            }
            is_other
        });
        let now = clock::now();
        let shown = self.authority.as_ref().map(|it| it.leaf(&self.names.borrow(), now)).transpose();
        let shown = shown.map(|it| it.into_iter().for_each(|(certificate, _)| self.shown.show(certificate)));
        self.tell("certificate", shown);
        self.tell("tokens", self.access.tidy((Instant::now(), now)));
        let is_news = self.say();
        (self, is_news)
    }

    /// Writes what screens say, and returns whether that is something new.
    fn say(&mut self) -> bool {
        let Some(print) = self.plate.print.map(|it| (it.to_string(), format!("{it:#}"))) else { return false };
        let code = self.access.code(Instant::now()).ok().flatten().map(|(code, _)| code);
        let urls = self.plate.urls();
        let text = Banner { urls: &urls, print: &print, code: code.as_ref().map(|it| it.as_str()) }.text();
        if self.said.as_ref() == Some(&text) {
            return false;
        }
        let written = file::replace(&self.issue, text.as_bytes());
        self.said = written.is_ok().then_some(text);
        self.tell("screens", written);
        true
    }

    /// Tells of what is not as it should be, and when it is again.
    fn tell<E: std::error::Error + Send + Sync + 'static>(&mut self, part: &'static str, done: Result<(), E>) {
        match done.map_err(anyhow::Error::new) {
            Ok(()) if self.ill.remove(part) => self.store.health(part, true, "it is again as it should be"),
            Ok(()) => {}
            Err(error) => {
                self.store.health(part, false, format!("{error:#}"));
                if self.ill.insert(part) {
                    warn!(part, error = %format!("{error:#}"), "the way in is not as it should be");
                }
            }
        }
    }
}

fn look(more: &[String]) -> Names {
    let addresses = addresses().unwrap_or_else(|error| {
        warn!(%error, "it is not known by which addresses this machine is reached");
        Vec::new()
    });
    Names::new(&hostname(), addresses, more)
}

/// Reads who may come in. If that can't be read, nobody is let in over a network.
fn access(directory: &Path, store: &Writer) -> anyhow::Result<Arc<Access>> {
    let access = Access::open(directory, Instant::now()).or_else(|error| {
        report(store, "access", "AccessUnusable", &anyhow::Error::new(error));
        Access::shut(directory, Instant::now())
    });
    Ok(Arc::new(access.context("can't make a code")?))
}

/// Takes the seed, if there is one and nobody has claimed the machine. Returns what the audit says of that.
fn plant(access: &Access, file: &Path, store: &Writer) -> Option<Entry> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|it| Path::new(&it).join(CREDENTIAL));
    for path in credential.iter().map(PathBuf::as_path).chain([file]) {
        let planted = match Seed::read(path) {
            Ok(None) => continue,
            Ok(Some(seed)) => access.plant(&seed, clock::now()).map_err(anyhow::Error::new),
            Err(_) if access.is_claimed() => return None,
            Err(error) => Err(anyhow::Error::new(error)),
        };
        return match planted {
            Ok(planted) => told(planted, store),
            Err(error) => {
                report(store, "seed", "SeedUnusable", &error);
                None
            }
        };
    }
    None
}

/// Tells what a seed did.
fn told(planted: Planted, store: &Writer) -> Option<Entry> {
    let entry = Entry { door: "seed", result: "applied".to_owned(), ..Entry::default() };
    match planted {
        Planted::Nothing => None,
        Planted::Token(token) => {
            let words = format!("The machine is claimed by its seed: token {} ({})", token.id, token.label);
            store.event(Event::new("Claimed", words));
            let (object, role) = (Some(format!("token/{}", token.id)), Some(token.role.to_string()));
            Some(Entry { who: token.label, role, action: "claim the machine".to_owned(), object, ..entry })
        }
        Planted::Key(print) => {
            let words = format!("By its seed the machine waits for the owner of the key {print}");
            store.event(Event::new("WaitsForKey", words));
            let action = format!("wait for the owner of the key {print}");
            Some(Entry { who: "piccolod".to_owned(), action, ..entry })
        }
    }
}

fn authority(directory: &Path, store: &Writer, key: Key) -> Option<Authority> {
    // Where the key is sealed and does not open, none is made in its place: every client would have to be told of it.
    let authority = Authority::open_with(directory, key?);
    authority.map_err(|error| report(store, "certificate", "CertificateUnusable", &anyhow::Error::new(error))).ok()
}

fn report(store: &Writer, part: &'static str, reason: &'static str, error: &anyhow::Error) {
    store.event(Event::new(reason, format!("{error:#}")).warning());
    store.health(part, false, format!("{error:#}"));
}
