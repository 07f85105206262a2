//! What holds for every text: no panic, every mistake has a place, what is accepted survives the way through JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]

use piccolo_schema::{
    ContainerSpec, Kind, json,
    order::{Cycles, Wanted, stopping},
    parse::{Code, Rejected, parse, parse_value},
};
use proptest::prelude::*;
use serde_json::Value;

const SEED: &str = include_str!("../../examples/hardened.toml");

fn has_places(text: &str, rejected: &Rejected) {
    let lines = u32::try_from(text.split('\n').count()).unwrap();
    assert!(!rejected.diagnostics.is_empty());
    for it in &rejected.diagnostics {
        assert!((1..=lines).contains(&it.line) && it.column >= 1 && it.length >= 1, "{it:?}");
        assert!(it.render("file.toml").contains(&format!("file.toml:{}:{}", it.line, it.column)));
    }
}

/// Looks at a text; what is accepted must survive the way through JSON.
fn look(text: &str) {
    match parse(text) {
        Err(rejected) => has_places(text, &rejected),
        Ok(manifest) => assert_eq!(parse_value(&serde_json::to_value(&manifest).unwrap()).unwrap(), manifest),
    }
}

fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "image",
        "cpus",
        "pids",
        "memory",
        "restart",
        "ports",
        "mounts",
        "env",
        "healthCheck",
        "[spec]",
        "[metadata]",
        "[[spec.ports]]",
        "[[spec.mounts]]",
        "[spec.env]",
        "hostPort",
        "containerPort",
        "path",
        "volume",
        "kind",
        "name",
        "metadata.name",
        "apiVersion",
        "a.b.c",
        "\"ä\"",
        "[spec.a.b]",
        "[[spec]]",
        "subnet",
        "gateway",
    ]);
    let value = prop::sample::select(vec![
        "",
        " = 1",
        " = 1.5",
        " = \"x\"",
        " = true",
        " = []",
        " = {}",
        " = { a = 1 }",
        " = 2024-01-01",
        " = \"256Mi\"",
        " = [1, \"a\", {}]",
        " = \"Container\"",
        " = \"Network\"",
        " = \"piccolo.os/v1alpha1\"",
        " = \"",
        " = [",
        " = 'é",
        " = 0xff",
        " = inf",
        " = nan",
        " = -9223372036854775808",
        " = '''\n",
        " # ←",
        " = \"10.0.0.0/8\"",
        " = \"/data\"",
    ]);
    (key, value).prop_map(|(key, value)| format!("{key}{value}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever depends on another one is stopped before it, unless the two are in a circle.
    #[test]
    fn dependants_are_stopped_first(needs in proptest::collection::vec(proptest::collection::vec(0..8usize, 0..3), 1..8)) {
        let name = |index: usize| format!("c{index}");
        let spec = |needs: &Vec<usize>| -> ContainerSpec {
            let on: Vec<_> = needs.iter().map(|it| serde_json::json!({ "container": name(*it) })).collect();
            serde_json::from_value(serde_json::json!({ "image": "app", "dependsOn": on })).unwrap()
        };
        let specs: Vec<_> = needs.iter().enumerate().map(|(index, needs)| (name(index), spec(needs))).collect();
        let wanted: Wanted<'_> = specs.iter().map(|(name, spec)| (name.as_str(), spec)).collect();
        let waves = stopping(&wanted);
        let all: Vec<&str> = waves.iter().flatten().copied().collect();
        prop_assert_eq!(all.len(), wanted.len());
        let wave = |name: &str| waves.iter().position(|wave| wave.contains(&name));
        let circles = !Cycles::new(&wanted).all().is_empty();
        for (name, spec) in &specs {
            for on in spec.depends_on.iter().filter_map(|it| wave(&it.container)) {
                let mine = wave(name).unwrap();
                prop_assert!(mine < on || (circles && mine == on && mine + 1 == waves.len()), "{:?}", waves);
            }
        }
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC*|[ -~\n\t]*") {
        look(&text);
    }

    #[test]
    fn any_lines_get_an_answer(lines in prop::collection::vec(line(), 0..20)) {
        look(&lines.concat());
    }

    #[test]
    fn any_damage_gets_an_answer(at in 0..SEED.len(), cut in 0usize..12, put in "[\\[\\]{}=\".#\n aä0-9]{0,6}") {
        let floor = |mut at: usize| { while !SEED.is_char_boundary(at) { at -= 1 } at };
        let (from, to) = (floor(at), floor((at + cut).min(SEED.len())));
        look(&format!("{}{put}{}", &SEED[..from], &SEED[to..]));
    }

    #[test]
    fn right_manifests_are_accepted(manifest in container()) {
        let text = toml::to_string(&manifest).unwrap();
        let parsed = parse(&text).unwrap_or_else(|it| panic!("{text}\n{:#?}", it.diagnostics));
        let again = serde_json::to_value(&parsed).unwrap();
        prop_assert_eq!(parse_value(&again).unwrap(), parsed.clone());
        prop_assert_eq!(parse(&toml::to_string(&again).unwrap()).unwrap(), parsed);
    }
}

fn container() -> impl Strategy<Value = Value> {
    let scalars = (
        "[a-z][a-z0-9-]{0,20}[a-z0-9]",
        "([a-z]{1,8}/)?[a-z0-9]{1,12}(:[a-z0-9][a-z0-9.]{0,5})?",
        prop::collection::vec("[^\0]{0,12}", 0..4),
        prop::collection::btree_map("[A-Z_]{1,8}", "[^\0]{0,12}", 0..4),
        prop::sample::select(vec!["no", "onFailure", "always"]),
        6u64..100_000,
        1u32..400_000,
        any::<[bool; 3]>(),
    );
    let lists = (
        prop::collection::btree_set(1u16.., 0..4),
        prop::collection::btree_set("[a-z]{1,6}", 0..4),
        0u64..3_600_000,
        1u16..1000,
    );
    (scalars, lists).prop_map(
        |((name, image, command, env, restart, memory, cpus, [a, b, c]), (ports, paths, ms, n))| {
            let ports: Vec<_> =
                ports.iter().map(|it| serde_json::json!({ "hostPort": it, "containerPort": 80 })).collect();
            let mounts: Vec<_> = paths
                .iter()
                .map(|it| serde_json::json!({ "path": format!("/{it}"), "volume": format!("{it}-0") }))
                .collect();
            serde_json::json!({
                "apiVersion": "piccolo.os/v1alpha1",
                "kind": "Container",
                "metadata": { "name": name },
                "spec": {
                    "image": image, "command": command, "env": env, "restart": restart, "memory": format!("{memory}Mi"),
                    "cpus": f64::from(cpus) / 100.0 + 0.01, "init": a, "readOnlyRoot": b, "running": c, "ports": ports,
                    "mounts": mounts, "stopGracePeriod": format!("{ms}ms"),
                    "healthCheck": { "command": ["true"], "retries": n },
                },
            })
        },
    )
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let rejected = parse(&"#".repeat((1 << 20) + 1)).unwrap_err();
    assert_eq!(rejected.diagnostics[0].code, Code::TooLarge);
    assert_eq!((rejected.diagnostics[0].line, rejected.diagnostics[0].column), (1, 1));
}

#[test]
fn no_depth_exhausts_a_small_stack() {
    let deep = |open: &str, close: &str| format!("x = 1\nx = {}1{}\n", open.repeat(80_000), close.repeat(80_000));
    let dots = ".a".repeat(400_000);
    let nested: String = (0..70).map(|_| "{a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = \n").collect();
    let texts = [
        format!("a{dots} = 1\n"),
        format!("[a{dots}]\n"),
        format!("x = 1\nx = {{ a{dots} = 1 }}\n"),
        format!("x = {nested}1{}\n", "}".repeat(70)),
        deep("[", "]"),
        deep("{ a = ", "}"),
        "[".repeat(1_000_000),
    ];
    let small = std::thread::Builder::new().stack_size(1 << 20);
    small
        .spawn(move || texts.iter().for_each(|text| has_places(text, &parse(text).unwrap_err())))
        .unwrap()
        .join()
        .unwrap();
}

/// Collects every key of a schema with the table that holds it, a table being the text that leads to it.
fn keys(schema: &Value, root: &Value, before: &str, out: &mut Vec<(String, String)>) {
    let inner = schema["allOf"].get(0).unwrap_or(schema);
    let schema = inner["$ref"].as_str().map_or(inner, |it| root.pointer(&it[1..]).unwrap());
    // A table that takes any key has no wrong ones.
    let strict = !schema["additionalProperties"].is_object();
    for (key, value) in schema["properties"].as_object().into_iter().flatten().filter(|_| strict) {
        out.push((before.to_owned(), key.clone()));
        let path = before.trim_matches(['[', ']', '\n']);
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        keys(value, root, &format!("[{path}]\n"), out);
        keys(&value["items"], root, &format!("[[{path}]]\n"), out);
    }
}

/// Returns every way to mistype a word by one letter: left out, doubled, swapped, replaced.
fn typos(word: &str) -> Vec<String> {
    let letters: Vec<_> = word.chars().collect();
    let mut out = Vec::new();
    for at in 0..letters.len() {
        let with = |middle: &str, rest: usize| {
            letters[..at].iter().collect::<String>() + middle + &letters[rest..].iter().collect::<String>()
        };
        out.push(with("", at + 1));
        out.push(with(&letters[at].to_string().repeat(2), at + 1));
        out.push(with("q", at + 1));
        if at + 1 < letters.len() && letters[at] != letters[at + 1] {
            out.push(with(&format!("{}{}", letters[at + 1], letters[at]), at + 2));
        }
    }
    out.retain(|typo| !typo.is_empty());
    out
}

#[test]
fn a_mistyped_key_is_recognised() {
    let (mut right, mut wrong) = (0, Vec::new());
    for kind in Kind::ALL {
        let (schema, mut all) = (json::schema(*kind), Vec::new());
        keys(&schema, &schema, "", &mut all);
        for (table, key) in &all {
            for typo in typos(key).into_iter().filter(|typo| !all.contains(&(table.clone(), typo.clone()))) {
                let head = if key == "kind" { String::new() } else { format!("kind = \"{kind}\"\n") };
                let Err(rejected) = parse(&format!("{head}{table}{typo} = 1\n")) else { panic!("{typo} is accepted") };
                let help = Some(format!("did you mean `{key}`?"));
                let seen = rejected.diagnostics.iter().any(|it| it.code == Code::UnknownKey && it.help == help);
                if seen { right += 1 } else { wrong.push(format!("{table}{typo} for {key}")) }
            }
        }
    }
    let all = right + wrong.len();
    assert!(wrong.len() * 50 <= all, "{} of {all} typos are not recognised: {wrong:#?}", wrong.len());
}
