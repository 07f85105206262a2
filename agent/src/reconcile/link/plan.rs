//! The plan for all links.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{
    Declared, Desired, Link, LinkSpec,
    link::{Clash, clashes},
    parse::Code,
};

use super::{
    foreign,
    render::units,
    state,
    step::{Act, LinkStep},
    wifi::Radio,
};
use crate::{
    host::{DeviceSeen, LinksView, UnitSeen, WifiSeen, firewall},
    reconcile::{Plan, Waiting},
};

/// The plan goes up to here; what is missing is said in the answer.
type Halt = Result<(), Waiting>;

/// All links by name.
pub(super) type Wanted<'a> = BTreeMap<&'a str, &'a LinkSpec>;

/// Plans the whole kind: first what goes, then each subject by name.
pub(super) fn plan(desired: &Desired<Link>, view: &LinksView) -> Plan<LinkStep> {
    let wanted: Wanted<'_> = desired.manifests.iter().map(|it| (it.name(), &it.spec)).collect();
    let mut plan = Plan::default();
    if let Some(problem) = &view.problem {
        plan.waiting = wanted.keys().map(|name| wait(name, "NetworkdUnavailable", problem.clone())).collect();
        return plan;
    }
    let goes = |name: &str| !wanted.contains_key(name) && (desired.complete || desired.consented.contains(name));
    for name in owners(view).into_iter().filter(|name| goes(name)) {
        let step = |act| LinkStep { subject: name.to_owned(), removal: true, act };
        plan.steps.extend(remove(name, view).into_iter().map(step));
    }
    // Its files are gone, but networkd was not told: the daemon ended in between.
    let files = owners(view);
    let digest = firewall::digest("");
    for name in view.loaded.keys().filter(|name| !files.contains(name.as_str()) && goes(name)) {
        let act = Act::Load { devices: Vec::new(), digest: digest.clone() };
        plan.steps.push(LinkStep { subject: name.clone(), removal: true, act });
    }
    let mut clashes: BTreeMap<String, Clash> =
        clashes(&wanted).into_iter().rev().map(|it| (it.link.clone(), it)).collect();
    let able: Wanted<'_> =
        wanted.iter().filter(|(name, _)| !clashes.contains_key(**name)).map(|(name, spec)| (*name, *spec)).collect();
    for (name, spec) in &wanted {
        if let Some(clash) = clashes.remove(*name) {
            plan.waiting.push(wait(name, reason(&clash), format!("{}; {}", clash.reason, clash.help)));
            continue;
        }
        let mut subject = Subject { name, spec, able: &able, view, acts: Vec::new() };
        let halt = subject.decide();
        let step = |act| LinkStep { subject: (*name).to_owned(), removal: false, act };
        plan.steps.extend(subject.acts.into_iter().map(step));
        plan.waiting.extend(halt.err());
    }
    plan
}

/// Returns the names of the manifests that have files here.
pub(super) fn owners(view: &LinksView) -> BTreeSet<&str> {
    let files = view.wifi.iter().filter_map(|it| it.subject.as_deref());
    view.units.iter().filter_map(|unit| unit.subject.as_deref()).chain(files).collect()
}

fn of<'a>(name: &str, view: &'a LinksView) -> Vec<&'a UnitSeen> {
    view.units.iter().filter(|unit| unit.subject.as_deref() == Some(name)).collect()
}

fn remove(name: &str, view: &LinksView) -> Vec<Act> {
    let files = of(name, view);
    let radios: Vec<_> = view.wifi.iter().filter(|it| it.subject.as_deref() == Some(name)).collect();
    let governed = |it: &&DeviceSeen| {
        it.unit.as_ref().is_some_and(|unit| files.iter().any(|file| file.path() == *unit))
            || radios.iter().any(|radio| radio.device == it.name)
    };
    let devices: Vec<_> = view.devices.iter().filter(governed).collect();
    let digest = firewall::digest("");
    let mut acts = Vec::new();
    if let Some(device) = devices.iter().find(|it| view.reached_by.contains(&it.name)) {
        if view.refused.get(name) == Some(&digest) {
            return acts;
        }
        acts.push(Act::Try { device: device.name.clone(), digest: digest.clone() });
    }
    let made = files.iter().any(|file| file.name.ends_with(".netdev"));
    if made && view.devices.iter().any(|it| it.name == name) {
        acts.push(Act::RemoveDevice { because: "no manifest asks for it" });
    }
    let ends = |it: &&WifiSeen| Act::RemoveWifi { device: it.device.clone(), digest: digest.clone() };
    acts.extend(radios.iter().map(ends));
    acts.push(Act::RemoveFiles { digest: digest.clone() });
    let devices = devices.iter().map(|it| it.name.clone()).filter(|it| !made || it != name).collect();
    acts.push(Act::Load { devices, digest });
    acts
}

fn reason(clash: &Clash) -> &'static str {
    match clash.code {
        Code::NotDeclared => "LinkMissing",
        Code::DependencyCycle => "LinkCycle",
        Code::SubnetOverlap => "SubnetOverlap",
        Code::Duplicate => "Duplicate",
        _ => "Conflict",
    }
}

fn wait(name: &str, reason: &str, message: String) -> Waiting {
    Waiting { subject: name.to_owned(), reason: reason.to_owned(), message }
}

struct Subject<'a> {
    name: &'a str,
    spec: &'a LinkSpec,
    /// The links that nothing speaks against.
    able: &'a Wanted<'a>,
    view: &'a LinksView,
    acts: Vec<Act>,
}

impl<'a> Subject<'a> {
    fn decide(&mut self) -> Halt {
        let devices = foreign::meant(self.name, self.spec, self.view);
        self.is_ours(&devices)?;
        self.is_alone(&devices)?;
        if devices.len() > 1 && !self.spec.addresses.is_empty() {
            let names: Vec<_> = devices.iter().map(|it| it.name.as_str()).collect();
            let message = format!(
                "It means {}, which can't all have its addresses; narrow `match`, for example with a `mac`",
                names.join(" and ")
            );
            return Err(self.wait("Ambiguous", message));
        }
        let given = self.key()?;
        // What a Secret says belongs to the change as what the manifest says does.
        let key = given.filter(|it| self.view.keys.get(self.name) != Some(*it));
        let radio = Radio::of(self.name, self.spec, &devices, self.view);
        let mut radio = radio.map_err(|(reason, message)| self.wait(reason, message))?;
        let units = units(self.name, self.spec, self.able);
        let seen = of(self.name, self.view);
        let differs = |file: &str, text: &str| !seen.iter().any(|it| it.name == file && it.text == text && !it.closed);
        let mut names: Vec<String> =
            units.iter().filter(|it| differs(&it.name, &it.text)).map(|it| it.name.clone()).collect();
        let stale = seen.iter().filter(|it| !units.iter().any(|unit| unit.name == it.name));
        names.extend(stale.map(|it| format!("without {}", it.name)));
        let texts =
            units.iter().map(|it| it.text.as_str()).chain(radio.digest.as_deref()).chain(given.map(String::as_str));
        let digest = firewall::digest(&texts.collect::<String>());
        if names.is_empty() && key.is_none() && !radio.changes() {
            self.acts.extend(radio.serve.take());
            return self.keep(&devices, digest);
        }
        // Without any key, as after a start of the machine, there is nothing to go back to.
        let lacks_key = names.is_empty() && !radio.changes() && !self.view.keys.contains_key(self.name);
        if !lacks_key {
            self.is_not_refused(&digest)?;
        }
        self.acts.extend(radio.check());
        let affected = self.affected(&devices);
        if let Some(device) = affected.iter().find(|it| self.view.reached_by.contains(**it)) {
            let tried = self.view.trial.as_ref().and_then(|trial| trial.tried.get(self.name));
            if tried != Some(&digest) {
                self.acts.push(Act::Try { device: (*device).to_owned(), digest: digest.clone() });
            }
        }
        let remade = names.iter().any(|it| it.contains(".netdev")) || key.is_some();
        if remade && self.has_device_of_ours(&devices) {
            self.acts.push(Act::RemoveDevice { because: "it is to be made otherwise" });
        }
        let from = self.spec.key().filter(|_| key.is_some()).cloned();
        self.acts.extend(from.map(|from| Act::WriteKey { from, digest: digest.clone() }));
        let rewritten = !names.is_empty();
        if rewritten {
            self.acts.push(Act::Write { units, names, digest: digest.clone() });
        }
        self.acts.extend(radio.acts(&digest));
        let devices = devices.iter().map(|it| it.name.clone()).filter(|_| rewritten && !remade).collect();
        self.acts.push(Act::Load { devices, digest });
        Ok(())
    }

    /// Nobody else's file is for the same link, and what is to be made is not there by others.
    fn is_ours(&self, devices: &[&DeviceSeen]) -> Halt {
        if let Some(unit) = foreign::claims(self.name, devices, self.view) {
            let message = format!(
                "`{}` is for this link too and is not Piccolo's; remove it, or choose another link",
                unit.path()
            );
            return Err(self.wait("LinkClaimed", message));
        }
        if self.spec.makes().is_some() && !devices.is_empty() && !self.has_device_of_ours(devices) {
            let message = format!(
                "The machine has a link `{name}` that is not Piccolo's; take it out of what makes it, then `ip link delete {name}`, \
                 and it is made anew as the manifest says; or give this manifest another name",
                name = self.name
            );
            return Err(self.wait("NameTaken", message));
        }
        Ok(())
    }

    /// No other manifest means one of these ports, in whatever words. networkd takes the first that it finds.
    fn is_alone(&self, devices: &[&DeviceSeen]) -> Halt {
        let earlier = self.able.range(..self.name).filter(|(_, spec)| spec.select.is_some());
        for (other, spec) in earlier.filter(|_| self.spec.select.is_some()) {
            let meant = foreign::meant(other, spec, self.view);
            if let Some(both) = devices.iter().find(|it| meant.iter().any(|meant| meant.name == it.name)) {
                let message = format!(
                    "Links `{other}` and `{}` both mean {}, though in other words; narrow `match` in one of the two",
                    self.name, both.name
                );
                return Err(self.wait("Duplicate", message));
            }
        }
        Ok(())
    }

    /// Returns true if the link that it makes is there, and was made from a file of ours.
    fn has_device_of_ours(&self, devices: &[&DeviceSeen]) -> bool {
        let has_file = of(self.name, self.view).iter().any(|file| file.name.ends_with(".netdev"));
        has_file && devices.iter().any(|device| device.name == self.name)
    }

    /// Returns the digest of the key that networkd is to have.
    fn key(&self) -> Result<Option<&'a String>, Waiting> {
        let Some(from) = self.spec.key() else { return Ok(None) };
        let Some(digest) = self.view.secrets.get(&from.secret).and_then(|keys| keys.get(&from.key)) else {
            let message = format!(
                "There is no value `{key}` of a Secret `{secret}`; `{source}piccolo secret set {secret} {key}` makes one",
                secret = from.secret,
                key = from.key,
                source = if self.spec.wireguard.is_some() { "wg genkey | " } else { "" },
            );
            return Err(self.wait("SecretMissing", message));
        };
        Ok(self.spec.wireguard.is_some().then_some(digest))
    }

    fn is_not_refused(&self, digest: &String) -> Halt {
        if self.view.refused.get(self.name) != Some(digest) {
            return Ok(());
        }
        if let Some(why) = self.view.failed.get(self.name) {
            let message = format!(
                "It was tried, and what was before is back, as {why}; change the manifest, or have it tried again with \
                 `piccolo net retry`"
            );
            return Err(self.wait("CheckFailed", message));
        }
        let message =
            "It was tried, nobody confirmed it, and what was before is back; change the manifest, or have it \
                       tried again with `piccolo net retry`"
                .to_owned();
        Err(self.wait("NotConfirmed", message))
    }

    /// Returns the names of the links whose packets may stop: those meant, those it is set up by now, its members and the
    /// one that it stands on.
    fn affected(&self, devices: &[&DeviceSeen]) -> BTreeSet<&str> {
        let files = of(self.name, self.view);
        let mut all: BTreeSet<&str> = BTreeSet::new();
        let governed = self
            .view
            .devices
            .iter()
            .filter(|it| it.unit.as_ref().is_some_and(|unit| files.iter().any(|file| file.path() == *unit)));
        all.extend(governed.map(|it| it.name.as_str()));
        for name in self.spec.members() {
            let Some(spec) = self.able.get(name.as_str()) else { continue };
            all.extend(foreign::meant(name, spec, self.view).iter().map(|it| it.name.as_str()));
        }
        let own = |it: &&DeviceSeen| devices.iter().any(|device| device.name == it.name);
        all.extend(self.view.devices.iter().filter(own).map(|it| it.name.as_str()));
        all
    }

    /// Plans for a link whose files are as they should be.
    fn keep(&mut self, devices: &[&DeviceSeen], digest: String) -> Halt {
        if self.view.loaded.get(self.name) != Some(&digest) {
            let devices = devices.iter().map(|it| it.name.clone()).collect();
            self.acts.push(Act::Load { devices, digest });
            return Ok(());
        }
        if devices.is_empty() {
            return self.bring(digest);
        }
        let file =
            of(self.name, self.view).into_iter().find(|file| file.name.ends_with(".network")).map(UnitSeen::path);
        for device in devices {
            if let Some(because) = state::lacks(self.name, self.spec, device, file.as_deref(), self.able) {
                if state::is_busy(device) {
                    return Err(self.wait("SettingUp", format!("{} is being set up: {because}", device.name)));
                }
                self.acts.push(Act::Reconfigure { device: device.name.clone(), because });
            }
        }
        Ok(())
    }

    /// Plans for a link that is not there.
    fn bring(&mut self, digest: String) -> Halt {
        if self.spec.makes().is_none() {
            let message = "The machine has no such link; is it plugged in? `piccolo net` shows those that are there";
            return Err(self.wait("DeviceMissing", message.to_owned()));
        }
        if let Some(parent) = self.spec.parent().filter(|_| self.parent_device().is_none()) {
            return Err(self.wait("LinkMissing", format!("The Link `{parent}` that it stands on is not there")));
        }
        self.acts.push(Act::Load { devices: Vec::new(), digest });
        // What stands on another link is made when that is set up.
        if let Some(device) = self.parent_device() {
            self.acts.push(Act::Reconfigure { device, because: format!("{} is missing on it", self.name) });
        }
        Ok(())
    }

    fn parent_device(&self) -> Option<String> {
        let parent = self.spec.parent()?;
        foreign::meant(parent, self.able.get(parent)?, self.view).first().map(|it| it.name.clone())
    }

    fn wait(&self, reason: &str, message: String) -> Waiting {
        wait(self.name, reason, message)
    }
}
