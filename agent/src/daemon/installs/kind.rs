//! The way to the installer, for the kind `Install`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::BoxStream};
use piccolo_schema::Install;
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};

use super::Door;
use crate::{
    api::Installer,
    clock,
    host::{
        HostError, InstallView, Installing, Order, Reason, RunsFrom, Target, Ticket, Tried, UnderWay,
        linux::{Running, running},
    },
    install::{Asked, Told, chosen},
};

/// How often disks are looked at on a stick: nothing tells of one that is plugged in.
const LOOK: Duration = Duration::from_secs(60);
/// How often it is told at most how far an installation is.
const REST: Duration = Duration::from_secs(1);

/// What is known of the installation that a manifest asked for.
#[derive(Default)]
pub(super) struct Followed {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Default)]
struct Known {
    /// As it was seen before the installation: while it goes on no disk is looked at.
    view: InstallView,
    under_way: Option<UnderWay>,
    told: Option<Instant>,
    tried: Option<Tried>,
}

/// All that the installer sees.
#[derive(Deserialize)]
struct Seen {
    targets: Vec<Target>,
    tickets: Vec<Ticket>,
}

impl Followed {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps how far it is. The recovery key is told to nobody here: it is on the screen of the machine.
    fn hear(&self, told: Told) {
        let mut known = self.lock();
        let is_next = known.under_way.as_ref().is_none_or(|it| it.step != told.at.step);
        known.under_way = Some(told.at);
        if is_next || known.told.is_none_or(|it| it.elapsed() >= REST) {
            known.told = Some(Instant::now());
            self.changed.notify_one();
        }
    }

    /// Keeps how an installation ended that wrote to its disk: it is not begun anew for ever.
    fn keep(&self, order: &Order, ended: &Result<(), HostError>) {
        let mut known = self.lock();
        let seqs = chosen(order, &known.view.targets).map(|all| all.iter().map(|it| it.disk.seq).collect::<Vec<_>>());
        if let Ok([seq, mirror @ ..]) = seqs.as_deref() {
            let failed = ended.as_ref().err().map(|error| error.message.clone());
            known.tried = Some(Tried { seq: *seq, mirror: mirror.first().copied(), order: order.clone(), failed });
        }
    }
}

/// An installation that is followed. Dropped, it goes on, and is followed no more.
struct Following<'a>(&'a Followed);

impl<'a> Following<'a> {
    fn begin(followed: &'a Followed) -> Self {
        followed.lock().under_way = Some(UnderWay { text: "asking the installer".to_owned(), ..UnderWay::default() });
        Self(followed)
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way = None;
        self.0.changed.notify_one();
    }
}

impl Installing for Door {
    async fn installing(&self) -> Result<InstallView, HostError> {
        let Running { from: runs_from, version } = running();
        let now = clock::now();
        if runs_from != RunsFrom::Stick {
            return Ok(InstallView { runs_from, version, now, ..InstallView::default() });
        }
        {
            let known = self.followed.lock();
            if known.under_way.is_some() {
                return Ok(InstallView { under_way: known.under_way.clone(), now, ..known.view.clone() });
            }
        }
        let strange = |error: serde_json::Error| format!("the installer can't be understood ({error})");
        let seen = self.answer(Asked::Targets {}).await;
        let seen = seen.and_then(|it| Seen::deserialize(it).map_err(strange));
        let tried = self.followed.lock().tried.clone();
        let view = match seen {
            Ok(Seen { targets, tickets }) => {
                InstallView { runs_from, version, targets, tickets, tried, now, ..InstallView::default() }
            }
            Err(why) => InstallView { runs_from, version, obstacle: Some(why), now, ..InstallView::default() },
        };
        self.followed.lock().view = view.clone();
        Ok(view)
    }

    async fn changed(&self) {
        // To look starts a process, which nobody needs who asks for nothing. One who begins to ask has it look at once.
        let is_on_a_stick = self.followed.lock().view.runs_from == RunsFrom::Stick;
        if is_on_a_stick && self.is_asked() {
            drop(tokio::time::timeout(LOOK, self.followed.changed.notified()).await);
        } else {
            self.followed.changed.notified().await;
        }
    }

    async fn install(&self, order: &Order) -> Result<(), HostError> {
        let _following = Following::begin(&self.followed);
        let told = Installer::install(self, order.clone()).await;
        let told = told.map_err(|why| HostError::new(Reason::Refused, why))?;
        let mut has_begun = false;
        let ended = self.follow(told, &mut has_begun).await;
        if has_begun {
            self.followed.keep(order, &ended);
        }
        ended
    }
}

impl Door {
    /// Returns true if a manifest asks for an installation.
    fn is_asked(&self) -> bool {
        !self.manifests.borrow().desired::<Install>().manifests.is_empty()
    }

    /// Follows an installation to its end, and says whether it began, so that its disk may be another one than before.
    async fn follow(&self, mut told: BoxStream<'static, Value>, has_begun: &mut bool) -> Result<(), HostError> {
        while let Some(document) = told.next().await {
            let told = Told::deserialize(document).map_err(|error| {
                HostError::new(Reason::Failed, format!("The installer can't be understood ({error})"))
            })?;
            if let Some(why) = told.refused {
                return Err(HostError::new(Reason::Failed, why));
            }
            *has_begun = true;
            if told.complete {
                return Ok(());
            }
            self.followed.hear(told);
        }
        Err(HostError::new(Reason::Failed, "The installer broke off; what it did is seen on the disk"))
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use piccolo_schema::{InstallSpec, Kind, Manifest, disk::Selector};
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::UnixListener,
        sync::watch,
    };

    use super::*;
    use crate::{
        host::{DiskSeen, Identity},
        manifests::{Declaration, Snapshot},
    };

    /// Returns a way into this directory, where no manifest asks for anything.
    fn door(dir: &Path) -> Door {
        let manifests = watch::channel(Arc::default()).1;
        Door { socket: dir.join("socket"), followed: Followed::default(), manifests, journal: Arc::new(drop) }
    }

    /// Answers one question with these lines, and returns it.
    async fn answer(socket: &UnixListener, lines: &'static str) -> String {
        let (stream, _) = socket.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut asked = String::new();
        stream.read_line(&mut asked).await.unwrap();
        stream.write_all(lines.as_bytes()).await.unwrap();
        asked
    }

    #[tokio::test]
    async fn what_the_installer_tells_is_followed_but_not_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let door = door(dir.path());
        let socket = UnixListener::bind(&door.socket).unwrap();
        let lines = "{\"step\":2,\"steps\":6,\"text\":\"writing\",\"done\":5,\"total\":9,\"rate\":1}\n\
                     {\"step\":5,\"steps\":6,\"text\":\"keys\",\"recoveryKey\":\"top-secret\"}\n\
                     {\"step\":6,\"steps\":6,\"text\":\"done\",\"complete\":true}\n";
        let order = Order::default();
        let (asked, done) = tokio::join!(answer(&socket, lines), Installing::install(&door, &order));
        assert!(asked.contains("install"), "{asked}");
        assert_eq!(done, Ok(()));
        assert_eq!(door.followed.lock().under_way, None);
        // Somebody was told that there is something to see.
        door.followed.changed.notified().await;
        door.followed.hear(serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap());
        assert!(!format!("{:?}", door.followed.lock().under_way).contains("top-secret"));
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_of_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let door = door(dir.path());
        let order = Order::default();
        let none = Installing::install(&door, &order).await.unwrap_err();
        assert!(none.message.contains("does not run from a stick"), "{none}");
        let socket = UnixListener::bind(&door.socket).unwrap();
        let refused = "{\"step\":0,\"steps\":0,\"text\":\"\",\"refused\":\"it is not blank\"}\n";
        let (_, done) = tokio::join!(answer(&socket, refused), Installing::install(&door, &order));
        assert_eq!(done.unwrap_err().message, "it is not blank");
        // A way that is there and leads to nobody does not make this another system.
        drop(socket);
        let silent = Installing::install(&door, &order).await.unwrap_err();
        assert!(silent.message.contains("the installer can't be reached"), "{silent}");
    }
    #[tokio::test]
    async fn what_wrote_and_failed_is_kept_and_what_wrote_nothing_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let door = door(dir.path());
        let identity = Identity { serial: "A".to_owned(), ..Identity::default() };
        let disk = DiskSeen { device: "sda".to_owned(), seq: 7, identity, ..DiskSeen::default() };
        door.followed.lock().view.targets = vec![Target { disk, ..Target::default() }];
        let select = Selector { serial: Some("A".to_owned()), ..Selector::default() };
        let order = Order { select, ..Order::default() };
        let socket = UnixListener::bind(&door.socket).unwrap();
        let refused = "{\"step\":0,\"steps\":0,\"text\":\"\",\"refused\":\"another one is under way\"}\n";
        let (_, done) = tokio::join!(answer(&socket, refused), Installing::install(&door, &order));
        assert_eq!((done.is_err(), door.followed.lock().tried.clone()), (true, None));
        let broken = "{\"step\":2,\"steps\":6,\"text\":\"writing\"}\n\
                      {\"step\":0,\"steps\":0,\"text\":\"\",\"refused\":\"writing failed\"}\n";
        let (_, done) = tokio::join!(answer(&socket, broken), Installing::install(&door, &order));
        assert_eq!(done.unwrap_err().message, "writing failed");
        let tried = Tried { seq: 7, order, mirror: None, failed: Some("writing failed".to_owned()) };
        assert_eq!(door.followed.lock().tried, Some(tried));
    }
    #[tokio::test(start_paused = true)]
    async fn on_a_stick_disks_are_looked_at_for_whom_asks_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut door = door(dir.path());
        door.followed.lock().view.runs_from = RunsFrom::Stick;
        let day = Duration::from_secs(86400);
        assert!(tokio::time::timeout(day, door.changed()).await.is_err());
        let declaration = Declaration {
            manifest: Arc::new(Manifest::Install(Box::new(Install::new(Install::NAME, InstallSpec::default())))),
            path: "install.toml".into(),
            text: "".into(),
            etag: String::new(),
            stale: None,
        };
        let declared = [((Kind::Install, Install::NAME.to_owned()), declaration)].into();
        door.manifests = watch::channel(Arc::new(Snapshot { declared, ..Snapshot::default() })).1;
        assert!(tokio::time::timeout(day, door.changed()).await.is_ok());
    }
}
