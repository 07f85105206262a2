//! Compose files in the manner of popular applications, and the manifests and reports that become of them.
//!
//! `compose/<app>/` holds `compose.yaml` with what stands beside it, and under `out/` the answers. To add a case is to
//! add a folder. `compose_broken/` holds files that are refused, each with what a person is told. `PICCOLO_BLESS=1 cargo
//! test --test compose` writes the answers down; read them before you commit them.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use piccolo_agent::{
    compose::{self, Imported, Mistake, Outcome, Source},
    host::{Engine, Health, fake::FakeEngine},
    reconcile::{network::Networks, volume::Volumes},
};
use piccolo_schema::{Container, Declared, Desired, Manifest, Network, Volume, container::Restart, parse::parse};
use support::golden::{differences, differences_of, entries, folders, root};

/// The widest line of a report.
const WIDTH: usize = 80;

#[test]
fn popular_applications_become_what_is_written_down() {
    let (mut wrong, cases) = (Vec::new(), folders("compose"));
    for case in &cases {
        let imported = import(case).unwrap_or_else(|mistakes| {
            panic!("{}:\n{}", case.display(), mistakes.iter().map(|it| it.render("compose.yaml")).collect::<String>())
        });
        let mut answers: BTreeMap<String, String> = BTreeMap::new();
        for it in &imported.manifests {
            answers.insert(format!("{}/{}.toml", it.kind.plural(), it.name), it.text.clone());
        }
        answers.insert("report.txt".to_owned(), imported.report.lines(WIDTH).join("\n") + "\n");
        wrong.extend(differences(&case.join("out"), &answers));
    }
    assert!(wrong.is_empty(), "run with PICCOLO_BLESS=1 and look at the change:\n{}", wrong.join("\n"));
    assert!(cases.len() >= 25, "only {} applications", cases.len());
}

#[test]
fn every_key_of_every_service_is_spoken_of() {
    for case in folders("compose") {
        let name = case.display().to_string();
        let imported = import(&case).unwrap();
        let text = fs::read_to_string(case.join("compose.yaml")).unwrap();
        let tree: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        for (service, keys) in tree["services"].as_object().unwrap() {
            let subject =
                |it: &str| it == format!("service {service}") || it.starts_with(&format!("service {service} -> "));
            let about: Vec<_> = imported.report.rows.iter().filter(|row| subject(&row.subject)).collect();
            for key in keys.as_object().unwrap().keys() {
                let told = about.iter().any(|row| row.key.split(['.', '[']).next() == Some(key));
                assert!(told, "{name}: nothing is said of `{key}` of `{service}`");
            }
        }
        for row in &imported.report.rows {
            assert!(row.outcome == Outcome::Kept || !row.note.is_empty(), "{name}: no word on {row:?}");
        }
        assert!(imported.report.lines(WIDTH).iter().all(|line| line.chars().count() <= WIDTH), "{name}: too wide");
    }
}

/// A password is in a manifest where a person wants it, and nowhere else.
#[test]
fn reports_hold_no_value_of_a_variable() {
    for (case, canary) in [("vaultwarden", "argon2id"), ("postgres-redis", "p@ss#1"), ("gluetun", "wOEI9rqqbDwnN8")] {
        let imported = import(&root("compose").join(case)).unwrap();
        assert!(imported.manifests.iter().any(|it| it.text.contains(canary)), "{case}");
        assert!(!format!("{:?}", imported.report).contains(canary), "{case}: the report tells a secret");
    }
}

#[test]
fn every_manifest_is_accepted_and_comes_to_stand() {
    for case in folders("compose") {
        let name = case.display().to_string();
        let imported = import(&case).unwrap();
        let manifests: Vec<Manifest> = imported.manifests.iter().map(|it| parse(&it.text).unwrap()).collect();
        let networks: Desired<Network> = of_kind(&manifests);
        let containers: Desired<Container> = of_kind(&manifests);
        let machine = FakeEngine::new();
        let made: BTreeSet<_> = networks.manifests.iter().map(|it| it.name().to_owned()).collect();
        for wanted in containers.manifests.iter().flat_map(|it| it.spec.joins()).filter(|it| !made.contains(*it)) {
            machine.add_foreign_network(wanted);
        }
        let machine = std::sync::Arc::new(machine);
        support::pass(&Volumes(machine.clone(), machine.clone()), &of_kind::<Volume>(&manifests));
        stand(&name, &machine, &networks, &containers);
    }
}

/// Brings everything up, as time passes: checks pass and jobs end well.
fn stand(
    name: &str,
    machine: &std::sync::Arc<FakeEngine>,
    networks: &Desired<Network>,
    containers: &Desired<Container>,
) {
    let (net, run) = (Networks(machine.clone()), support::containers(machine));
    for _ in 0..20 {
        let settled = support::pass(&net, networks) & support::pass(&run, containers);
        let plan = support::plan(&run, containers).unwrap();
        if settled && plan.waiting.is_empty() {
            let view = futures_util::FutureExt::now_or_never(machine.containers()).unwrap().unwrap();
            assert_eq!(view.containers.len(), containers.manifests.len(), "{name}");
            return;
        }
        for it in &containers.manifests {
            if it.spec.restart == Restart::No && is_awaited(it.name(), containers) {
                machine.exit(it.name(), 0);
            } else {
                machine.set_health(it.name(), Health::Healthy);
            }
        }
    }
    panic!("{name} does not come to stand: {:?}", support::plan(&run, containers));
}

fn is_awaited(name: &str, containers: &Desired<Container>) -> bool {
    let completed = piccolo_schema::container::DependencyCondition::Completed;
    let needs = containers.manifests.iter().flat_map(|it| &it.spec.depends_on);
    needs.into_iter().any(|it| it.container == name && it.condition == completed)
}

#[test]
fn what_cannot_be_understood_is_explained() {
    let mut wrong = Vec::new();
    let files: Vec<_> = entries("compose_broken").into_iter().filter(|it| it.extension().unwrap() == "yaml").collect();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let Err(mistakes) = read(&text, "shop", BTreeMap::new(), &|_| None) else { panic!("{name} is accepted") };
        let answer: String = mistakes.iter().map(|it| it.render(name)).collect();
        assert!(mistakes.iter().all(|it| it.place.line > 0), "{name}: no place\n{answer}");
        let golden = BTreeMap::from([(name.replace(".yaml", ".txt"), answer)]);
        wrong.extend(differences_of(file.parent().unwrap(), &golden));
    }
    assert!(wrong.is_empty(), "run with PICCOLO_BLESS=1 and look at the change:\n{}", wrong.join("\n"));
    assert!(files.len() >= 15, "only {} broken files", files.len());
}

fn import(case: &Path) -> Result<Imported, Vec<Mistake>> {
    let text = fs::read_to_string(case.join("compose.yaml")).unwrap();
    let env = fs::read_to_string(case.join(".env")).unwrap_or_default();
    let variables = compose::read_env(&env, &BTreeMap::new())
        .unwrap()
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    read(&text, case.file_name().unwrap().to_str().unwrap(), variables, &|path| {
        fs::read_to_string(case.join(path)).ok()
    })
}

fn read(
    text: &str,
    name: &str,
    variables: BTreeMap<String, String>,
    read: &dyn Fn(&str) -> Option<String>,
) -> Result<Imported, Vec<Mistake>> {
    let directory = format!("/srv/{name}");
    compose::import(&Source { text, directory: &directory, name: None, variables, profiles: Vec::new(), read })
}

fn of_kind<M: Declared>(manifests: &[Manifest]) -> Desired<M> {
    Desired::complete(manifests.iter().filter_map(M::of).cloned().collect())
}
