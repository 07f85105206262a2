//! The partitions of a disk by their names, as its table tells them, and the table in which the state counts.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{SHORT, run};
use crate::host::{HostError, Reason, STATE, UNFINISHED};

/// How often a partition is looked for that has to be there, and how long is waited in between.
const LOOKS: u32 = 50;
const REST: Duration = Duration::from_millis(200);

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) path: String,
    pub(super) name: String,
}

/// A table of partitions, as `sfdisk` writes and reads it, with a state that counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State(pub(super) String);

#[derive(Deserialize)]
struct Listed {
    blockdevices: Vec<Node>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Node {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Dumped {
    partitiontable: Table,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Table {
    partitions: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    node: String,
    name: String,
}

/// Lists the partitions of a disk.
pub(super) async fn of(device: &str) -> Result<Vec<Part>, HostError> {
    let path = format!("/dev/{device}");
    let text = run("lsblk", ["--json", "--list", "--output", "PATH,TYPE", &path], SHORT).await?;
    let paths = listed(&text).map_err(|why| HostError::new(Reason::Failed, why))?;
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    // A table that can't be read is not one of ours: its partitions have no names, and so nothing is taken for unfinished.
    let mut names = names(&path).await.unwrap_or_default();
    Ok(paths.into_iter().map(|path| Part { name: names.remove(&path).unwrap_or_default(), path }).collect())
}

/// Looks for the partition of this name until it is there. After a table was written udev has the kernel read it once more,
/// and there is none for a moment.
pub(super) async fn await_named<L>(name: &str, look: impl Fn() -> L + Send) -> Result<Option<Part>, HostError>
where
    L: Future<Output = Result<Vec<Part>, HostError>> + Send,
{
    let mut looks = 1;
    loop {
        // Who looks while they vanish may be told nothing at all.
        let parts = look().await;
        let found = parts.as_ref().is_ok_and(|parts| parts.iter().any(|it| it.name == name));
        if found || looks == LOOKS {
            return Ok(parts?.into_iter().find(|it| it.name == name));
        }
        looks += 1;
        tokio::time::sleep(REST).await;
    }
}

/// Reads the names of partitions from the table itself: what udev remembers of them may be older than what we wrote.
async fn names(path: &str) -> Result<BTreeMap<String, String>, HostError> {
    let text = run("sfdisk", ["--json", path], SHORT).await?;
    named(&text).map_err(|why| HostError::new(Reason::Failed, why))
}

fn listed(text: &str) -> Result<Vec<String>, String> {
    let listed: Listed =
        serde_json::from_str(text).map_err(|error| format!("`lsblk` can't be understood ({error})"))?;
    let is_one = |it: &Node| it.kind == "part" && it.path.starts_with("/dev/");
    Ok(listed.blockdevices.into_iter().filter(is_one).map(|it| it.path).collect())
}

fn named(text: &str) -> Result<BTreeMap<String, String>, String> {
    let dumped: Dumped =
        serde_json::from_str(text).map_err(|error| format!("`sfdisk` can't be understood ({error})"))?;
    Ok(dumped.partitiontable.partitions.into_iter().map(|it| (it.node, it.name)).collect())
}

/// Returns the table in which the unfinished state is finished: found by a start, under its own name. None if there is none.
pub(super) fn finished(dump: &str) -> Option<State> {
    let unfinished = format!("name=\"{UNFINISHED}\"");
    let mut found = false;
    let line = |line: &str| {
        if !line.contains(&unfinished) {
            return line.to_owned();
        }
        found = true;
        let line = line.replace(&unfinished, &format!("name=\"{STATE}\""));
        // It was kept from being found by an attribute alone.
        match line.split_once(", attrs=\"") {
            Some((before, rest)) => format!("{before}{}", rest.split_once('"').map_or("", |(_, after)| after)),
            None => line,
        }
    };
    let mut table: String = dump.lines().map(line).collect::<Vec<_>>().join("\n");
    table.push('\n');
    found.then_some(State(table))
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicU32, Ordering},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const LISTED: &str = r#"{"blockdevices": [{"path":"/dev/vdb","type":"disk"},{"path":"/dev/vdb1","type":"part"}, {"path":"vdb2","type":"part"}]}"#;
    const NAMED: &str = r#"{"partitiontable": {"label":"gpt", "id":"A", "device":"/dev/vdb", "partitions": [
        {"node":"/dev/vdb1", "start":2048, "size":4096, "type":"C12A7328", "name":"esp"}]}}"#;
    const DUMP: &str = "label: gpt\nunit: sectors\n\n\
        /dev/vdb1 : start=2048, size=1048576, type=C12A7328, uuid=1, name=\"esp\"\n\
        /dev/vdb6 : start=4261888, size=4126680, type=4F68BCE3, uuid=2, name=\"piccolo-half-made\", attrs=\"GUID:63\"\n";

    #[test]
    fn the_state_counts_and_all_else_stays() {
        let State(table) = finished(DUMP).unwrap();
        let expected = DUMP.replace("piccolo-half-made", "piccolo-state").replace(", attrs=\"GUID:63\"", "");
        assert_eq!(table, expected);
        assert_eq!(finished(&table), None);
    }

    #[test]
    fn partitions_are_found() {
        assert_eq!(listed(LISTED).unwrap(), ["/dev/vdb1"]);
        assert_eq!(named(NAMED).unwrap()["/dev/vdb1"], "esp");
        assert!(listed("{").unwrap_err().contains("`lsblk` can't be understood"));
        assert!(named("{").unwrap_err().contains("`sfdisk` can't be understood"));
        // A table of another kind has no names.
        let text = r#"{"partitiontable": {"label":"dos", "partitions": [{"node":"/dev/vdb1","type":"83"}]}}"#;
        assert_eq!(named(text).unwrap()["/dev/vdb1"], "");
    }

    #[tokio::test]
    async fn names_are_those_of_the_table_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        std::fs::File::create_new(&disk).unwrap().set_len(8 << 20).unwrap();
        let disk = disk.display().to_string();
        let path = disk.as_str();
        assert!(names(path).await.is_err());
        let table = "label: gpt\nstart=2048, size=2048, name=\"esp\"\n\
            start=4096, size=2048, name=\"piccolo-half-made\", attrs=\"GUID:63\"\n";
        super::super::fed("sfdisk", ["--quiet", path], table, SHORT).await.unwrap();
        assert_eq!(names(path).await.unwrap().into_values().collect::<Vec<_>>(), ["esp", UNFINISHED]);
        let State(table) = finished(&run("sfdisk", ["--dump", path], SHORT).await.unwrap()).unwrap();
        super::super::fed("sfdisk", ["--quiet", "--no-reread", "--force", path], &table, SHORT).await.unwrap();
        assert_eq!(names(path).await.unwrap().into_values().collect::<Vec<_>>(), ["esp", STATE]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_is_waited_for_and_not_for_ever() {
        let looks = AtomicU32::new(0);
        let look = || {
            let part = Part { path: "/dev/vdb6".to_owned(), name: STATE.to_owned() };
            let is_there = looks.fetch_add(1, Ordering::Relaxed) > 1;
            ready(Ok(if is_there { vec![part] } else { Vec::new() }))
        };
        assert_eq!(await_named(STATE, look).await.unwrap().unwrap().path, "/dev/vdb6");
        assert_eq!(await_named("esp", || ready(Ok(Vec::new()))).await, Ok(None));
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_text_breaks_it(dump in malformed(DUMP), list in malformed(LISTED), names in malformed(NAMED)) {
            let unfinished = format!("name=\"{UNFINISHED}\"");
            let is_whole = |table: State| table.0.contains(STATE) && !table.0.contains(&unfinished);
            prop_assert!(finished(&dump).is_none_or(is_whole), "{:?}", dump);
            prop_assert!(listed(&list).unwrap_or_default().iter().all(|it| it.starts_with("/dev/")), "{:?}", list);
            drop(named(&names));
        }
    }
}
