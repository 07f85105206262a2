//! The partitions of a disk by their names, and the table in which the state counts.

use serde::Deserialize;

use super::{SHORT, run};
use crate::host::{HostError, Reason, STATE, UNFINISHED};

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
    partlabel: Option<String>,
}

/// Lists the partitions of a disk.
pub(super) async fn of(device: &str) -> Result<Vec<Part>, HostError> {
    let path = format!("/dev/{device}");
    let text = run("lsblk", ["--json", "--list", "--output", "PATH,TYPE,PARTLABEL", &path], SHORT).await?;
    read(&text).map_err(|why| HostError::new(Reason::Failed, why))
}

fn read(text: &str) -> Result<Vec<Part>, String> {
    let listed: Listed =
        serde_json::from_str(text).map_err(|error| format!("`lsblk` can't be understood ({error})"))?;
    let parts = listed.blockdevices.into_iter().filter(|it| it.kind == "part");
    Ok(parts.map(|it| Part { path: it.path, name: it.partlabel.unwrap_or_default() }).collect())
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
    use proptest::prelude::*;

    use super::*;

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
    fn partitions_are_found_by_name() {
        let text = r#"{"blockdevices": [{"path":"/dev/vdb","type":"disk","partlabel":null},
            {"path":"/dev/vdb1","type":"part","partlabel":"esp"},{"path":"/dev/vdb2","type":"part","partlabel":null}]}"#;
        let parts = read(text).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].path.as_str(), parts[0].name.as_str()), ("/dev/vdb1", "esp"));
        assert!(read("{").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..DUMP.len(), what in "\\PC{0,12}") {
            drop(finished(&format!("{}{what}{}", &DUMP[..at], &DUMP[at..])));
            drop(read(&what));
        }
    }
}
