//! `piccolo top`: what containers use.

use std::{cmp::Reverse, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    client::Client,
    failure::Failure,
    output::{self, Format},
    screen::Screen,
    table::Table,
};

/// Shows what containers use: processors, memory, networks, disks. On a terminal it goes on until it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo top\n  piccolo top --once")]
pub(super) struct Args {
    /// Shows it once, as it also does when the output is no terminal.
    #[arg(long)]
    once: bool,
    /// The form of the output; all but a table is what has been counted, once.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// How long a processor is watched before anything is said.
const FIRST: Duration = Duration::from_secs(1);
/// How long a picture stays.
const NEXT: Duration = Duration::from_secs(2);

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut before = client.get("/top").await?;
    if output::document(screen, args.output, &before)? {
        return Ok(());
    }
    let once = args.once || screen.width().is_none();
    if once && items(&before).is_empty() {
        screen.note("no container runs");
        return Ok(());
    }
    tokio::time::sleep(FIRST).await;
    loop {
        let now = client.get("/top").await?;
        let lines = table(&before, &now).lines(screen.width());
        if once {
            return lines.iter().try_for_each(|line| screen.line(line));
        }
        screen.picture(&lines)?;
        before = now;
        tokio::time::sleep(NEXT).await;
    }
}

/// Shows what is used, who keeps the processors busiest first.
fn table(before: &Value, now: &Value) -> Table {
    let mut rows: Vec<_> = items(now).iter().map(|item| (busy(before, item), item)).collect();
    rows.sort_by_key(|(busy, item)| (Reverse(*busy), item["name"].as_str()));
    let mut table = Table::new(["name", "cpu", "memory", "limit", "in", "out", "read", "written", "tasks"]);
    for (busy, item) in rows {
        let name = item["name"].as_str().unwrap_or_default().to_owned();
        let share = busy.map_or_else(|| "-".to_owned(), |busy| format!("{}.{}%", busy / 10, busy % 10));
        let usage = &item["usage"];
        let keys = ["memoryBytes", "memoryLimitBytes", "receivedBytes", "sentBytes", "readBytes", "writtenBytes"];
        let sizes = keys.iter().map(|key| usage[key].as_u64().map_or_else(|| "-".to_owned(), size));
        let tasks = usage["tasks"].as_u64().map_or_else(|| "-".to_owned(), |tasks| tasks.to_string());
        table.row([name, share].into_iter().chain(sizes).chain([tasks]));
    }
    table
}

/// Returns how busy a container kept the processors since it was counted before, in thousandths of one; none when it was
/// not counted then, or began anew.
fn busy(before: &Value, item: &Value) -> Option<u64> {
    let earlier = &items(before).iter().find(|it| it["name"] == item["name"])?["usage"];
    let usage = &item["usage"];
    let spent = |usage: &Value| usage["processorNanoseconds"].as_u64();
    let at = |usage: &Value| usage["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    let spent = spent(usage)?.checked_sub(spent(earlier)?)?;
    let passed = u64::try_from(at(usage)?.duration_since(at(earlier)?).as_nanos()).ok()?;
    spent.saturating_mul(1000).checked_div(passed)
}

fn items(document: &Value) -> &[Value] {
    document["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Writes a number of bytes in at most five characters: `1023B`, `1.5K`, `512M`.
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P", "E"];
    let step = (0..units.len() - 1).find(|step| bytes >> (10 * step) < 1024).unwrap_or(units.len() - 1);
    let tenths = (u128::from(bytes) * 10) >> (10 * step);
    let unit = units[step];
    if step == 0 || tenths >= 100 {
        format!("{}{unit}", tenths / 10)
    } else {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counted(name: &str, second: u64, processor: u64) -> Value {
        let usage = json!({ "at": format!("2026-03-01T12:00:{second:02}Z"), "processorNanoseconds": processor,
            "memoryBytes": 3 << 29, "memoryLimitBytes": u64::MAX, "receivedBytes": 1023, "sentBytes": 1024,
            "readBytes": 0, "writtenBytes": 99 << 20, "tasks": 12 });
        json!({ "kind": "Container", "name": name, "usage": usage })
    }

    #[test]
    fn the_busiest_come_first_and_eighty_columns_are_enough() {
        let long = "a-name-as-long-as-the-longest-that-is-allowed-for-any-manifest";
        let before = json!({ "items": [counted("calm", 0, 0), counted(long, 0, 0), counted("anew", 0, 9_000)] });
        let gone = json!({ "kind": "Container", "name": "gone", "error": "It does not run" });
        let now = json!({ "items": [
            counted("anew", 2, 5), counted("calm", 2, 3_000_000), gone, counted(long, 2, 21_000_000_000),
        ] });
        let lines = table(&before, &now).lines(Some(80));
        let expected = [
            "NAME                   CPU      MEMORY  LIMIT  IN     OUT   READ  WRITTEN  TASKS",
            "a-name-as-long-as-th…  1050.0%  1.5G    15E    1023B  1.0K  0B    99M      12",
            "calm                   0.1%     1.5G    15E    1023B  1.0K  0B    99M      12",
            "anew                   -        1.5G    15E    1023B  1.0K  0B    99M      12",
            "gone                   -        -       -      -      -     -     -        -",
        ];
        assert_eq!(lines, expected);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 1, 1023, 1024, 1536, 10 << 10, 1 << 20, (1 << 20) - 1, 5 << 40, u64::MAX].map(size);
        assert_eq!(sizes, ["0B", "1B", "1023B", "1.0K", "1.5K", "10K", "1.0M", "1023K", "5.0T", "15E"]);
    }
}
