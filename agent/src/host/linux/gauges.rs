//! What the engine counts of running containers.

use bollard::{
    models::{ContainerBlkioStats, ContainerMemoryStats, ContainerStatsResponse},
    query_parameters::StatsOptionsBuilder,
};
use futures_util::StreamExt;

use super::{docker::Docker, error};
use crate::{
    clock,
    console::Usage,
    host::{Gauges, HostError, Reason},
};

impl Gauges for Docker {
    async fn usage(&self, id: &str) -> Result<Usage, HostError> {
        let client = self.client().await?;
        let once = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        match Box::pin(client.stats(id, Some(once))).next().await {
            Some(counted) => usage(&counted.map_err(|error| error::translate(&error))?),
            None => Err(stopped()),
        }
    }
}

fn usage(counted: &ContainerStatsResponse) -> Result<Usage, HostError> {
    // Of a container that does not run the engine tells zeros.
    let memory = counted.memory_stats.as_ref().filter(|memory| memory.usage.is_some()).ok_or_else(stopped)?;
    let networks = || counted.networks.iter().flat_map(|networks| networks.values());
    let (read, written) = counted.blkio_stats.as_ref().map(disks).unwrap_or_default();
    let processor = counted.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage);
    Ok(Usage {
        at: counted.read.as_ref().and_then(|at| at.parse().ok()).unwrap_or_else(clock::now),
        processor_nanoseconds: processor.unwrap_or(0),
        memory_bytes: held(memory),
        memory_limit_bytes: memory.limit.unwrap_or(0),
        received_bytes: total(networks().filter_map(|network| network.rx_bytes)),
        sent_bytes: total(networks().filter_map(|network| network.tx_bytes)),
        read_bytes: read,
        written_bytes: written,
        tasks: counted.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or(0),
    })
}

/// Returns what is held beside files that the kernel keeps in memory because there is room.
fn held(memory: &ContainerMemoryStats) -> u64 {
    let usage = memory.usage.unwrap_or(0);
    // The first is the word of cgroups v1, where the second leaves out what is beneath.
    let cached = memory.stats.as_ref().and_then(|all| all.get("total_inactive_file").or(all.get("inactive_file")));
    usage.saturating_sub(cached.copied().unwrap_or(0))
}

/// Returns the bytes that were read and written.
fn disks(disks: &ContainerBlkioStats) -> (u64, u64) {
    let entries = || disks.io_service_bytes_recursive.iter().flatten();
    let sum = |word: &str| {
        let of_word = entries().filter(|it| it.op.as_ref().is_some_and(|op| op.eq_ignore_ascii_case(word)));
        total(of_word.filter_map(|it| it.value))
    };
    (sum("read"), sum("write"))
}

/// Adds up what may be told as more than there is.
fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn stopped() -> HostError {
    HostError::new(Reason::Gone, "It does not run")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(counted: Value) -> Result<Usage, HostError> {
        usage(&serde_json::from_value(counted).unwrap())
    }

    #[test]
    fn both_kinds_of_control_groups_are_understood() {
        let first = json!({
            "read": "2026-03-01T12:00:00.5Z",
            "cpu_stats": { "cpu_usage": { "total_usage": 7000 } },
            "memory_stats": { "usage": 1000, "limit": 9000, "stats": { "total_inactive_file": 400, "inactive_file": 1 } },
            "networks": { "eth0": { "rx_bytes": 1, "tx_bytes": 2 }, "eth1": { "rx_bytes": 10, "tx_bytes": 20 } },
            "blkio_stats": { "io_service_bytes_recursive": [
                { "op": "Read", "value": 5 }, { "op": "Write", "value": 6 }, { "op": "Total", "value": 11 } ] },
            "pids_stats": { "current": 3 },
        });
        let expected = Usage {
            at: "2026-03-01T12:00:00.5Z".parse().unwrap(),
            processor_nanoseconds: 7000,
            memory_bytes: 600,
            memory_limit_bytes: 9000,
            received_bytes: 11,
            sent_bytes: 22,
            read_bytes: 5,
            written_bytes: 6,
            tasks: 3,
        };
        assert_eq!(read(first), Ok(expected));
        let second = json!({
            "memory_stats": { "usage": 1000, "limit": 9000, "stats": { "inactive_file": 100 } },
            "blkio_stats": { "io_service_bytes_recursive": [{ "op": "read", "value": 5 }, { "op": "read", "value": 5 }] },
        });
        let second = read(second).unwrap();
        assert_eq!(
            (second.memory_bytes, second.read_bytes, second.written_bytes, second.received_bytes),
            (900, 10, 0, 0)
        );
    }

    #[test]
    fn counts_that_make_no_sense_break_nothing() {
        let counted = json!({
            "read": "yesterday",
            "memory_stats": { "usage": 1, "stats": { "inactive_file": u64::MAX } },
            "networks": { "a": { "rx_bytes": u64::MAX, "tx_bytes": 1 }, "b": { "rx_bytes": u64::MAX } },
            "blkio_stats": { "io_service_bytes_recursive": [{ "op": "read", "value": u64::MAX }, { "op": "read", "value": 1 }, { "op": null }] },
        });
        let usage = read(counted).unwrap();
        assert_eq!((usage.memory_bytes, usage.received_bytes, usage.read_bytes), (0, u64::MAX, u64::MAX));
    }

    #[test]
    fn what_does_not_run_has_no_usage() {
        let stopped = json!({ "read": "0001-01-01T00:00:00Z", "memory_stats": {}, "pids_stats": {} });
        assert_eq!(read(stopped).unwrap_err().reason, Reason::Gone);
    }
}
