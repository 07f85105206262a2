//! What the machine is called and how it is set.

use std::sync::Arc;

use futures_util::FutureExt;
use piccolo_agent::{
    host::{
        FileThere, OwnFile, Service, SettingsView,
        fake::{FakeSettings, When},
    },
    reconcile::{Reconciler, host::Hosts},
};
use piccolo_schema::{Desired, Host, HostSpec};
use proptest::prelude::*;

use crate::{World, converges, laws, support};

/// Settings in memory.
struct Own(Arc<FakeSettings>);

impl World for Own {
    type Reconciler = Hosts<FakeSettings>;

    fn reconciler(&self) -> Hosts<FakeSettings> {
        Hosts(Arc::clone(&self.0))
    }

    fn picture(&self) -> String {
        format!("{:?}", self.reconciler().observe().now_or_never().unwrap().unwrap())
    }

    fn mutations(&self) -> u64 {
        self.0.mutations()
    }

    fn lose_the_next_answer(&self) {
        self.0.lose_the_next_answer();
    }

    fn wait(&self) {
        self.0.calm();
    }
}

/// Any of the settings, each of two values.
fn host_spec() -> impl Strategy<Value = HostSpec> {
    use proptest::{bool::weighted, option::of, sample::select};
    let values = (
        of(select(&["attic", "cellar"])),
        of(select(&["Europe/Berlin", "Nowhere"])),
        of(select(&["C.UTF-8", "de_DE.UTF-8"])),
    );
    let files = (of(select(&["ptbtime1.ptb.de", "10.0.0.1"])), weighted(0.4), of(select(&["anna", "nobody-here"])));
    let rest = (of(select(&["10", "20"])), of(select(&["10.0.0.5", "10.0.0.6"])));
    (values, files, rest).prop_map(|((hostname, timezone, locale), (ntp, mdns, user), (swappiness, nas))| {
        let spec = serde_json::json!({
            "hostname": hostname, "timezone": timezone, "locale": locale, "mdns": mdns,
            "ntp": ntp.into_iter().collect::<Vec<_>>(),
            "ssh": user.map(|user| serde_json::json!({ "user": user, "keys": ["ssh-ed25519 AAAA"] })),
            "sysctls": swappiness.map(|it| serde_json::json!({ "vm.swappiness": it })).unwrap_or(serde_json::json!({})),
            "hosts": nas.map(|it| serde_json::json!({ "nas": it })).unwrap_or(serde_json::json!({})),
        });
        serde_json::from_value(spec).unwrap()
    })
}

/// What a hand does to settings.
fn by_a_hand(machine: &FakeSettings, what: u8) {
    machine.by_hand(|view| match what {
        0 => view.hostname = Some("by-hand".to_owned()),
        1 => view.kept_hostname = None,
        2 => view.timezone = Some("Etc/UTC".to_owned()),
        3 => view.files.values_mut().for_each(|it| it.text.push_str("# a hand\n")),
        4 => view.files.clear(),
        5 => drop(view.sysctls.insert("vm.swappiness".to_owned(), "99".to_owned())),
        6 => view.names.clear(),
        7 => drop(view.files.insert(OwnFile::Ntp, FileThere::default())),
        8 => drop(view.others_names.insert("nas".to_owned(), ["10.0.0.9".parse().unwrap()].into())),
        9 => drop(view.services.insert(Service::Ssh, false)),
        10 => drop(view.services.insert(Service::Timesyncd, false)),
        11 => drop(view.others_sysctls.insert("vm.swappiness".to_owned(), "/etc/sysctl.conf".to_owned())),
        // The machine is started anew: the kernel has its own values, but for those that our file sets.
        12 => {
            let file = view.files.get(&OwnFile::Sysctl).map(|it| it.text.clone()).unwrap_or_default();
            let value = file.lines().find_map(|line| line.strip_prefix("vm.swappiness = ")).unwrap_or("60");
            view.sysctls.insert("vm.swappiness".to_owned(), value.to_owned());
        }
        13 => drop(view.enabled.insert(Service::Ssh)),
        14 => view.ssh_unread = true,
        _ => drop(view.services.insert(Service::Avahi, true)),
    });
}

fn own(earlier: &Option<HostSpec>, hands: &[u8]) -> Arc<FakeSettings> {
    let services = [(Service::Timesyncd, true), (Service::Resolved, true), (Service::Ssh, false)];
    let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect();
    let machine = Arc::new(FakeSettings::new(SettingsView {
        hostname: Some("debian".to_owned()),
        kept_hostname: Some("debian".to_owned()),
        timezones: words(&["Etc/UTC", "Europe/Berlin"]),
        users: words(&["anna", "root"]),
        sysctls: [("vm.swappiness".to_owned(), "60".to_owned())].into(),
        services: services.into(),
        ..SettingsView::default()
    }));
    for _ in 0..3 {
        support::pass(&Hosts(Arc::clone(&machine)), &asked(earlier));
    }
    hands.iter().for_each(|what| by_a_hand(&machine, *what));
    machine
}

fn asked(spec: &Option<HostSpec>) -> Desired<Host> {
    Desired::complete(spec.iter().map(|spec| Host::new(Host::NAME, spec.clone())).collect())
}

proptest! {
    #![proptest_config(support::cases(500))]

    #[test]
    fn settings_keep_the_laws(
        earlier in proptest::option::of(host_spec()),
        hands in proptest::collection::vec(0..16_u8, 0..4),
        today in proptest::option::of(host_spec()),
    ) {
        laws(|| Own(own(&earlier, &hands)), &asked(&today));
    }

    /// Anything happens: files come and go, hands are at work, verbs fail. Once it is quiet all is as the last file says,
    /// what runs has read it, nothing of others was touched, and nothing of ours is left when no file asks for it.
    #[test]
    fn settings_converge_after_anything(
        days in proptest::collection::vec(
            (proptest::option::of(host_spec()), proptest::collection::vec(0..16_u8, 0..2), proptest::option::of(any::<bool>())),
            1..6,
        ),
    ) {
        let machine = own(&None, &[]);
        let world = Own(Arc::clone(&machine));
        for (spec, hands, fault) in &days {
            hands.iter().for_each(|what| by_a_hand(&machine, *what));
            if let Some(after) = fault {
                machine.fail(if *after { When::After } else { When::Before });
            }
            support::pass(&world.reconciler(), &asked(spec));
        }
        machine.calm();
        let last = &days.last().unwrap().0;
        converges(&world, &asked(last));
        prop_assert!(machine.trespasses().is_empty(), "{:?}", machine.trespasses());
        let view = world.reconciler().observe().now_or_never().unwrap().unwrap();
        for (file, there) in view.files.iter().filter(|(_, it)| it.ours) {
            if file.read_by().is_some_and(|it| view.services.get(&it) == Some(&true)) {
                prop_assert_eq!(machine.read_by_its_service(*file), Some(there.text.clone()));
            }
        }
        if last.is_none() {
            prop_assert!(view.files.values().all(|it| !it.ours) && view.names.is_empty() && view.before.is_empty());
            prop_assert!(!view.ssh_by_us);
        }
    }
}
