//! The machine of the tests does what it is asked to, if what was typed is right.

use std::sync::Mutex;

use futures_util::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use piccolo_agent::{
    api::{Approvals, DiskDoor, DiskShown, Installer, Pruned, Prunes, Resetter, Trust, Wakes, WipeTicket},
    install::{Order, Told, UnderWay},
    reset::{Asked, Data, Erase, ResetOrder},
    trust::{
        DiskKey, DiskRebinding, DiskRecovery, DiskWish, Meant, Moved, Pcrs, Quote, Rebinding, Rebound, Standing,
        StateStanding, Undone, Verdict, Why, Wish as SealWish,
    },
};
use piccolo_schema::{DiskSpec, install::Mirror};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Approves one digest; what is called `updated` has been another image before.
pub(super) struct Willing;

impl Approvals for Willing {
    fn approve<'a>(&'a self, _: &'a str, digest: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let known = digest == "sha256:new";
        Box::pin(async move { if known { Ok(()) } else { Err(format!("{digest} is not offered")) } })
    }

    fn go_back<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<String, String>> {
        let known = container == "updated";
        Box::pin(async move { if known { Ok("sha256:old".to_owned()) } else { Err("nothing is kept".to_owned()) } })
    }

    fn return_to<'a>(&'a self, _: &'a str, _: &'a str, digest: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let known = digest == "sha256:old";
        Box::pin(async move { if known { Ok(()) } else { Err(format!("{digest} was tried and failed")) } })
    }
}

impl DiskDoor for Willing {
    fn list(&self) -> BoxFuture<'_, Result<Vec<DiskShown>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn wipe_ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<WipeTicket, String>> {
        Box::pin(async move {
            if disk != typed {
                return Err(format!("`{typed}` is not the serial number of {disk}"));
            }
            Ok(WipeTicket { ticket: "wipe-0123456789abcdef01234567".to_owned(), ..WipeTicket::default() })
        })
    }

    fn unlock<'a>(
        &'a self,
        _: &'a str,
        _: &'a DiskSpec,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<Option<Undone>, String>> {
        let opened = match key.as_str() {
            key if key == recovery_key() => Ok(None),
            "of one partition" => Ok(Some(Undone::Partly("/dev/sdb2 stays shut".to_owned()))),
            "without a TPM" => Ok(Some(Undone::NotAdded("/dev/sdb is open, and a key was not added".to_owned()))),
            _ => Err("The key does not open /dev/sdb".to_owned()),
        };
        Box::pin(async move { opened })
    }

    fn recovery_key<'a>(
        &'a self,
        meant: &'a Meant,
        key: Option<&'a Zeroizing<String>>,
    ) -> BoxFuture<'a, Result<(Option<u8>, Zeroizing<String>), String>> {
        let known = key.is_none_or(|key| **key == recovery_key());
        Box::pin(async move {
            if known {
                Ok((slot(meant), Zeroizing::new(recovery_key())))
            } else {
                Err("The key does not open /dev/sdb".to_owned())
            }
        })
    }

    fn prove_recovery<'a>(
        &'a self,
        meant: &'a Meant,
        key: &'a Zeroizing<String>,
    ) -> BoxFuture<'a, Result<Option<u8>, String>> {
        let known = **key == recovery_key();
        Box::pin(
            async move { if known { Ok(slot(meant)) } else { Err("This is no recovery key of /dev/sdb".to_owned()) } },
        )
    }

    fn rebind<'a>(&'a self, meant: &'a Meant, key: &'a Zeroizing<String>) -> BoxFuture<'a, Result<Rebound, String>> {
        let of = slot(meant).is_none().then(|| "partition `films`".to_owned());
        let known = **key == recovery_key();
        let moved = Moved { of, device: "sdb".to_owned(), old: 0, new: 3, kept: false };
        let rebound = Rebound { moved: vec![moved], failed: None };
        Box::pin(async move { if known { Ok(rebound) } else { Err("The key does not open /dev/sdb".to_owned()) } })
    }
}

/// Returns the slot of the recovery key, if it is one alone.
fn slot(meant: &Meant) -> Option<u8> {
    (meant.many() < 2).then_some(2)
}

/// The one recovery key that there is.
pub(crate) fn recovery_key() -> String {
    ["cbcbcbcb"; 8].join("-")
}

impl Installer for Willing {
    fn look(&self) -> BoxFuture<'_, Result<Value, String>> {
        let blank = json!({ "device": "vda", "name": "a disk, 8 GB", "serial": "S4EVNX0N123456", "model": "", "size": 8_000_000_000_u64,
            "holds": "nothing", "ready": true, "why": "it is blank" });
        Box::pin(async move { Ok(json!({ "items": [blank] })) })
    }

    fn ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move { self.wipe_ticket(disk, typed).await.map(|it| json!(it)) })
    }

    fn install(&self, order: Order) -> BoxFuture<'_, Result<BoxStream<'static, Value>, String>> {
        Box::pin(async move {
            let serials: Vec<&str> = order.disks().filter_map(|(select, _)| select.serial.as_deref()).collect();
            let serial = serials.join(" and ");
            let at = UnderWay { step: 1, steps: 1, text: format!("marking {serial}"), ..UnderWay::default() };
            let begun = Told { at, ..Told::default() };
            let Some(ticket) = order.wipe else {
                let refused = Told::refused(format!("{serial}: it is not blank"));
                return Ok(stream::iter([json!(begun), json!(refused)]).boxed());
            };
            let key = Told { recovery_key: Some(format!("key-of-{ticket}").into()), ..begun.clone() };
            let at = UnderWay { text: format!("{serial} holds the system"), ..begun.at.clone() };
            let last = Told { complete: true, at, ..begun.clone() };
            Ok(stream::iter([json!(begun), json!(key), json!(last)]).boxed())
        })
    }

    fn replace(&self, with: Mirror) -> BoxFuture<'_, Result<BoxStream<'static, Value>, String>> {
        let as_one = Order { select: with.select, wipe: with.wipe, ..Order::default() };
        self.install(as_one)
    }
}

/// A machine `attic` with one disk for data, which has the next start reset it for whoever types its name.
#[derive(Default)]
pub(crate) struct Renewable {
    leave: Mutex<Option<ResetOrder>>,
    pending: Mutex<Option<ResetOrder>>,
}

impl Resetter for Renewable {
    fn look(&self) -> BoxFuture<'_, Result<Value, String>> {
        let disk = json!({ "device": "sdb", "name": "WD-1", "serial": "WD-1", "holds": "ext4 \"photos\"" });
        let all = json!({ "machine": "attic", "disks": [disk], "pending": self.pending() });
        Box::pin(async move { Ok(all) })
    }

    fn ticket<'a>(&'a self, asked: &'a Asked) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move {
            if asked.machine != "attic" {
                return Err(format!("`{}` is not the name of this machine, which is `attic`", asked.machine));
            }
            let erase = match &asked.data {
                Data::Keep => Vec::new(),
                Data::Erase(all) => all.iter().map(|it| Erase { name: it.disk.clone(), ..Erase::default() }).collect(),
            };
            let order = ResetOrder { ticket: "reset-1".to_owned(), erase, ..ResetOrder::default() };
            *self.leave.lock().unwrap() = Some(order);
            Ok(json!({ "ticket": "reset-1" }))
        })
    }

    fn order<'a>(&'a self, ticket: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move {
            let leave = self.leave.lock().unwrap().take_if(|it| it.ticket == ticket);
            let leave = leave.ok_or_else(|| format!("there is no ticket `{ticket}`, or it was used up"))?;
            *self.pending.lock().unwrap() = Some(leave);
            Ok(json!({ "pending": self.pending() }))
        })
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Err("it goes on".to_owned()) })
    }

    fn cancel(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async { Ok(self.pending.lock().unwrap().take().is_some()) })
    }

    fn pending(&self) -> Option<ResetOrder> {
        self.pending.lock().unwrap().clone()
    }
}

impl Prunes for Willing {
    fn prune(&self, _: bool) -> BoxFuture<'_, Result<Vec<Pruned>, String>> {
        let image =
            Pruned { id: "sha256:0123456789abcdef".to_owned(), names: vec!["nginx:1.26".to_owned()], size: 2048 };
        Box::pin(async move { Ok(vec![image]) })
    }
}

impl Trust for Willing {
    fn look(&self) -> BoxFuture<'_, Standing> {
        Box::pin(async { Standing::new(Vec::new(), false) })
    }

    fn state(&self) -> Option<StateStanding> {
        None
    }

    fn quote<'a>(&'a self, _: &'a [u8], _: Pcrs) -> BoxFuture<'a, Result<Quote, String>> {
        Box::pin(async { Err("this machine has no TPM".to_owned()) })
    }

    fn why(&self) -> BoxFuture<'_, Result<Why, String>> {
        let message = "this machine has no TPM".to_owned();
        Box::pin(async { Ok(Why::nothing(Verdict::NoLog, message, Pcrs::NONE)) })
    }

    fn seal(&self, _: SealWish) -> BoxFuture<'_, Result<Standing, String>> {
        Box::pin(async { Err("this machine has no TPM".to_owned()) })
    }

    fn reseal(&self, _: Rebinding) -> BoxFuture<'_, Result<Standing, String>> {
        Box::pin(async { Err("this machine has no TPM".to_owned()) })
    }

    fn rebind(&self, _: DiskRebinding) -> BoxFuture<'_, Result<Rebound, String>> {
        Box::pin(async { Err("this is no encrypted disk".to_owned()) })
    }

    fn unseal(&self) -> BoxFuture<'_, Result<Standing, String>> {
        Box::pin(async { Ok(Standing::new(Vec::new(), false)) })
    }

    fn enrol(&self, _: DiskWish) -> BoxFuture<'_, Result<u8, String>> {
        Box::pin(async { Err("this machine has no TPM".to_owned()) })
    }

    fn recovery(&self, _: DiskKey) -> BoxFuture<'_, Result<DiskRecovery, String>> {
        Box::pin(async { Err("this is no encrypted disk".to_owned()) })
    }

    fn forget(&self, _: DiskKey, _: u8) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Err("this is no encrypted disk".to_owned()) })
    }
}

impl Wakes for Willing {
    fn wake(&self, source: &str) -> bool {
        source == "home"
    }
}
