//! The plan for all volumes.

use std::collections::BTreeMap;

use piccolo_schema::{Declared, Desired, Volume, VolumeSpec, quantity::Bytes};

use super::step::{Act, VolumeStep};
use crate::{
    host::{Access, Directory, Ground, Quota, VolumeSeen, VolumesView},
    reconcile::{Plan, Waiting},
};

/// The plan goes up to here; what is missing is said in the answer.
type Halt = Result<(), Waiting>;

/// Plans the whole kind, each subject by name. What no manifest asks for stays as it is.
pub(super) fn plan(desired: &Desired<Volume>, observed: &VolumesView) -> Plan<VolumeStep> {
    let wanted: BTreeMap<&str, &VolumeSpec> = desired.manifests.iter().map(|it| (it.name(), &it.spec)).collect();
    let seen: BTreeMap<&str, &VolumeSeen> = observed.volumes.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut first_on = BTreeMap::new();
    let mut plan = Plan::default();
    for (name, spec) in &wanted {
        let mut subject = Subject { name, spec, grounds: &observed.grounds, acts: Vec::new() };
        let halt = subject.has_its_own_path(&mut first_on).and_then(|()| subject.decide(seen.get(name).copied()));
        let step = |act| VolumeStep { subject: (*name).to_owned(), act };
        plan.steps.extend(subject.acts.into_iter().map(step));
        plan.waiting.extend(halt.err());
    }
    plan
}

/// Says whether what a spec limits can't be limited: `Err` with the reason where it can't.
pub(super) fn limit_wanted(spec: &VolumeSpec, quota: &Quota) -> Result<Option<u64>, String> {
    let Some(wanted) = spec.quota else { return Ok(None) };
    match (&quota.unsupported, quota.room) {
        (Some(why), _) => Err(why.clone()),
        (None, Some(room)) if room <= Quota::rounded(wanted.get()) => {
            Err(format!("The whole file system has no more than {}", Bytes::new(room)))
        }
        _ => Ok(Some(Quota::rounded(wanted.get()))),
    }
}

/// Returns the disk that the directory of a volume lies on, if it is not mounted.
pub(super) fn bare<'a>(spec: &VolumeSpec, grounds: &'a [Ground]) -> Option<&'a Ground> {
    let path = spec.plain_path()?;
    grounds.iter().find(|ground| !ground.mounted && ground.holds(&path))
}

/// Says that a disk is not mounted, and what comes of it.
pub(super) fn not_mounted(Ground { disk, at, .. }: &Ground) -> String {
    format!("The disk `{disk}` is not mounted at `{at}`; this goes on once it is; see: piccolo describe disk {disk}")
}

struct Subject<'a> {
    name: &'a str,
    spec: &'a VolumeSpec,
    grounds: &'a [Ground],
    acts: Vec<Act>,
}

impl<'a> Subject<'a> {
    /// Two volumes on one directory would fight for its owner. The first by name has it.
    fn has_its_own_path(&self, first_on: &mut BTreeMap<String, &'a str>) -> Halt {
        let Some(path) = self.spec.plain_path() else { return Ok(()) };
        let first = *first_on.entry(path.clone()).or_insert(self.name);
        if first == self.name {
            return Ok(());
        }
        let message = format!("`{path}` is the directory of the Volume manifest `{first}` too; give each its own");
        Err(self.wait("PathTaken", message))
    }

    fn decide(&mut self, seen: Option<&VolumeSeen>) -> Halt {
        let Some(seen) = seen else {
            self.is_on_firm_ground()?;
            self.acts.push(Act::Create { spec: self.spec.clone() });
            return Ok(());
        };
        if let Some(driver) = &seen.driver {
            let message = format!(
                "The engine has a volume `{}` of the kind {driver} already; give this manifest another name",
                self.name
            );
            return Err(self.wait("NameTaken", message));
        }
        if seen.path != self.spec.plain_path() {
            return self.move_from(seen);
        }
        if !seen.stamped {
            return self.only_use();
        }
        self.is_on_firm_ground()?;
        match &seen.directory {
            Some(directory) => self.tend(directory),
            None => Err(self.wait("DirectoryMissing", missing(seen))),
        }
    }

    /// Passes if the disk that its directory lies on is mounted. What is made or changed on a bare mount point is not the
    /// data, and keeps the disk from being mounted.
    fn is_on_firm_ground(&self) -> Halt {
        bare(self.spec, self.grounds).map_or(Ok(()), |bare| Err(self.wait("MountMissing", not_mounted(bare))))
    }

    /// Plans for a volume that stands elsewhere than it is asked to.
    fn move_from(&mut self, seen: &VolumeSeen) -> Halt {
        let name = self.name;
        if !seen.stamped {
            let message = format!(
                "A volume that is not Piccolo's is called `{name}`, and its data is {}; give this manifest another \
                 name, or ask for no other place",
                place(seen)
            );
            return Err(self.wait("NameTaken", message));
        }
        let Some(path) = &seen.path else {
            let message = format!(
                "The data of `{name}` is {} and is not moved or erased; give this manifest another name and copy the \
                 data, or remove the volume yourself",
                place(seen)
            );
            return Err(self.wait("PathChanged", message));
        };
        if !seen.users.is_empty() {
            let message = format!(
                "Its data is {} and {} it; give this manifest another name and let the containers mount that, or \
                 remove them first",
                place(seen),
                users(&seen.users)
            );
            return Err(self.wait("PathChanged", message));
        }
        self.is_on_firm_ground()?;
        self.acts.push(Act::Release { path: path.clone() });
        self.acts.push(Act::Create { spec: self.spec.clone() });
        Ok(())
    }

    /// Plans for a volume that is not ours: containers may use it, but nothing about it is changed.
    fn only_use(&self) -> Halt {
        if Access::of(self.spec).is_nothing() && self.spec.quota.is_none() {
            return Ok(());
        }
        let message = format!(
            "A volume that is not Piccolo's is called `{}`; it can be used, but `owner`, `mode` and `quota` are not \
             applied to it: take them out, or give this manifest another name",
            self.name
        );
        Err(self.wait("NotOurs", message))
    }

    /// Plans for the directory of a volume that is ours and stands where it should.
    fn tend(&mut self, directory: &Directory) -> Halt {
        let access = directory.lacks(&Access::of(self.spec));
        if !access.is_nothing() {
            self.acts.push(Act::SetAccess { access });
        }
        if let Ok(limit) = limit_wanted(self.spec, &directory.quota)
            && limit != directory.quota.limit
        {
            self.acts.push(Act::SetQuota { quota: self.spec.quota });
        }
        Ok(())
    }

    fn wait(&self, reason: &str, message: String) -> Waiting {
        Waiting { subject: self.name.to_owned(), reason: reason.to_owned(), message }
    }
}

fn missing(seen: &VolumeSeen) -> String {
    seen.trouble.clone().unwrap_or_else(|| {
        format!(
            "Its directory is gone: its data was {}; is a disk not mounted? Bring it back, or make an empty one \
             yourself",
            place(seen)
        )
    })
}

fn place(seen: &VolumeSeen) -> String {
    seen.path.as_ref().map_or_else(|| "kept by the engine".to_owned(), |path| format!("in `{path}`"))
}

/// Returns "`a` mounts", or "`a` and `b` mount".
fn users(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => format!("{last} mounts"),
        Some((last, rest)) => format!("{} and {last} mount", rest.join(", ")),
        None => "something mounts".to_owned(),
    }
}
