//! A thousand edits through the API, by every kind of write: not one byte changes that nobody asked for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and plays an editor"
)]

#[path = "api/support.rs"]
mod support;

use std::{collections::BTreeMap, fs};

use piccolo_agent::manifests::Snapshot;
use piccolo_schema::Kind;
use serde_json::{Value, json};

use support::{CONTAINERS, House};

const EDITS: usize = 1_000;

/// Each value stands between `<` and `>`: where it is in the object, and how a person has spelt it. No other program
/// would write any of these files so.
const FILES: [(&str, &str); 3] = [("plain", PLAIN), ("dense", DENSE), ("odd", ODD)];

const PLAIN: &str = "#:schema ../schema/json/container.json
# What the house reads.
apiVersion = \"piccolo.os/v1alpha1\"   # the first
kind = 'Container'

  [metadata]   # who
  name=\"plain\"
  labels = { tier = </metadata/labels/tier|'front'> , owner = \"anna\" }  # hers

[spec]
# The image, pinned on purpose.
image    = </spec/image|'''nginx:1.27'''>   # see the notes
memory   = </spec/memory|\"131072Ki\"># tight
hostname = </spec/hostname|'reader'>
stopGracePeriod=</spec/stopGracePeriod|\"60s\">\t# a tab before
command = [
\t\"serve\",   # the verb
\t</spec/command/1|'--all'>,
\t# nothing more
]

# The ports.
[[spec.ports]]   # plain
hostPort = </spec/ports/0/hostPort|8_080>
containerPort = 80

[[spec.ports]]
containerPort = 443   # encrypted
  hostPort   =   </spec/ports/1/hostPort|0x20fb>

[spec.env]
# Where it is.
TZ = </spec/env/TZ|'Europe/Berlin'>
'MODE' = </spec/env/MODE|\"\"\"calm\"\"\">   # or not


# The end.
";

const DENSE: &str = "kind=\"Container\"
apiVersion=\"piccolo.os/v1alpha1\"
metadata={name=\"dense\",labels={tier=</metadata/labels/tier|\"x\">}}
spec.image = </spec/image|'redis:7'>   # dotted
spec.memory=</spec/memory|'64Mi'>
spec.hostname   = </spec/hostname|\"cache\">
spec.stopGracePeriod = </spec/stopGracePeriod|\"10s\"> # short
spec.command=[ 'run' , </spec/command/1|\"--quiet\"> ,]
spec.ports=[{containerPort=6379,hostPort=</spec/ports/0/hostPort|6379>},{ hostPort=</spec/ports/1/hostPort|6_380> , containerPort=6380 }]
spec.env.TZ = </spec/env/TZ|'UTC'>
spec.env.MODE = </spec/env/MODE|\"fast\">
# no newline after this";

const ODD: &str = "\u{feff}# Written on another system.\r
kind = 'Container' # what\r
apiVersion = 'piccolo.os/v1alpha1'\r
[spec]\r
\timage = </spec/image|\"busybox:1\">\t# \u{fc}ber alles\r
\tmemory = </spec/memory|\"1Gi\">\r
\r
\thostname = </spec/hostname|'odd'>\r
\tstopGracePeriod = </spec/stopGracePeriod|\"1m\">\r
\tcommand = [ \"x\",\r
\t\t</spec/command/1|\"y\"> ] # two\r
\tports = [ # both\r
\t\t{ containerPort = 1, hostPort = </spec/ports/0/hostPort|1001> },\r
\t\t{ containerPort = 2, hostPort = </spec/ports/1/hostPort|1_002> }, # the last\r
\t]\r
\tenv = { TZ = </spec/env/TZ|\"UTC\">, MODE = </spec/env/MODE|'odd'> }\r
[metadata]\r
\tname = 'odd'\r
\tlabels.tier = </metadata/labels/tier|\"back\"> # dotted\r
\r
# The end.\r
";

/// A file in pieces: what nobody touches, and between these the values.
struct File {
    name: &'static str,
    rest: Vec<String>,
    values: Vec<(String, String)>,
}

impl File {
    fn new(name: &'static str, marked: &str) -> Self {
        let (mut rest, mut values) = (vec![String::new()], Vec::new());
        for (nth, piece) in marked.split("</").enumerate() {
            match piece.split_once('>').filter(|_| nth > 0) {
                Some((value, after)) => {
                    let (place, spelt) = value.split_once('|').unwrap();
                    values.push((format!("/{place}"), spelt.to_owned()));
                    rest.push(after.to_owned());
                }
                None => rest[0] = piece.to_owned(),
            }
        }
        Self { name, rest, values }
    }

    fn text(&self) -> String {
        let values = self.values.iter().map(|(_, spelt)| spelt.as_str()).chain([""]);
        self.rest.iter().zip(values).flat_map(|(rest, value)| [rest.as_str(), value]).collect()
    }
}

/// Returns a value for a place that no edit has put there before.
fn fresh(place: &str, number: usize) -> Value {
    match place {
        "/spec/image" => json!(format!("app:{number}")),
        "/spec/memory" => json!(format!("{}Mi", 2 * number + 65)),
        "/spec/stopGracePeriod" => json!(format!("{}s", 1 + number % 59)),
        "/spec/hostname" => json!(format!("h{number}")),
        "/metadata/labels/tier" => json!(format!("t{number}")),
        "/spec/ports/0/hostPort" => json!(10_000 + number),
        "/spec/ports/1/hostPort" => json!(20_000 + number),
        _ => json!(format!("\u{e4} {number} # no comment")),
    }
}

fn declared(snapshot: &Snapshot, name: &str) -> Value {
    json!(*snapshot.declared[&(Kind::Container, name.to_owned())].manifest)
}

/// Returns the object that merged into another changes these places; lists are written whole.
fn merge_patch(changed: &Value, places: &BTreeMap<String, Value>) -> Value {
    let mut patch = json!({});
    for pointer in places.keys() {
        let words: Vec<&str> = pointer.split('/').skip(1).take_while(|word| word.parse::<usize>().is_err()).collect();
        let mut inner = &mut patch;
        for word in &words {
            inner = &mut inner[*word];
        }
        *inner = changed.pointer(&format!("/{}", words.join("/"))).unwrap().clone();
    }
    patch
}

/// Returns one of the ways to write an object: method, form and body.
fn write(way: u8, object: &Value, places: &BTreeMap<String, Value>) -> (&'static str, &'static str, Value) {
    let replace = |(path, value)| json!({ "op": "replace", "path": path, "value": value });
    match way {
        0 => ("PUT", "application/json", object.clone()),
        1 => ("PATCH", "application/merge-patch+json", merge_patch(object, places)),
        2 => ("PATCH", "application/json-patch+json", places.iter().map(replace).collect()),
        _ => ("PATCH", "application/apply-patch+yaml", object.clone()),
    }
}

#[tokio::test]
async fn a_thousand_edits_change_what_is_asked_and_no_other_byte() {
    let house = House::open().await;
    let mut files: Vec<File> = FILES.iter().map(|(name, marked)| File::new(name, marked)).collect();
    for file in &files {
        fs::write(house.file(&format!("{}.toml", file.name)), file.text()).unwrap();
    }
    let snapshot = house.manifests.look().await.unwrap();
    let mut objects: Vec<Value> = files.iter().map(|file| declared(&snapshot, file.name)).collect();
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..EDITS {
        let which = random.usize(..files.len());
        let (file, object) = (&mut files[which], &mut objects[which]);
        let mut places = BTreeMap::new();
        for _ in 0..random.usize(1..4) {
            let (pointer, spelt) = random.choice(&mut file.values).unwrap();
            let now = object.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
            // One time in eight it is asked to be what it is already, and its spelling stays.
            if random.u8(..8) > 0 {
                *now = fresh(pointer, number);
                *spelt = now.to_string();
            }
            places.insert(pointer.clone(), now.clone());
        }
        let (method, media, body) = write(random.u8(..4), object, &places);
        let path = format!("{CONTAINERS}/{}?fieldManager=a-test&force=true", file.name);
        let path = if media.contains("apply") { &path[..] } else { path.split('?').next().unwrap() };
        let answer = house.send(method, path, &[("content-type", media)], body.to_string()).await;
        assert_eq!(answer.status, 200, "{number} {method} {media} {places:?}: {}", answer.text);
        let written = house.read(&format!("{}.toml", file.name));
        assert!(written == file.text(), "{number} {media} {places:?}\n{written:?}\n---\n{:?}", file.text());
    }
    let snapshot = house.manifests.snapshot();
    assert!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
    let now: Vec<Value> = files.iter().map(|it| declared(&snapshot, it.name)).collect();
    assert_eq!(now, objects);
}
