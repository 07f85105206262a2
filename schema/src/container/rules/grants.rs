use super::{ContainerSpec, note, paths};
use crate::{
    container::Grant,
    parse::{Code, Path, Violation},
};

/// Notes everything that could take over the machine and is not named among the grants.
pub(super) fn check(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    let network = spec.network.as_deref() == Some("host");
    let switches = [
        (spec.privileged, Grant::Privileged, "privileged"),
        (network, Grant::HostNetwork, "network"),
        (spec.host_pid, Grant::HostPid, "hostPid"),
        (spec.host_ipc, Grant::HostIpc, "hostIpc"),
    ];
    let switches = switches.into_iter().filter(|(on, ..)| *on).map(|(_, grant, key)| (grant, Path::spec(key)));
    let mounts = spec.mounts.iter().enumerate().filter_map(|(index, mount)| {
        let grant = Grant::for_path(&paths::plain(mount.host_path.as_deref()?), mount.read_only)?;
        Some((grant, Path::spec("mounts").index(index).key("hostPath")))
    });
    let capabilities = spec.capabilities.add.iter().enumerate().filter_map(|(index, name)| {
        Some((Grant::for_capability(name)?, Path::spec("capabilities").key("add").index(index)))
    });
    let needed: Vec<_> = switches.chain(mounts).chain(capabilities).collect();
    let mut all: Vec<_> = spec.grants.iter().copied().chain(needed.iter().map(|(grant, _)| *grant)).collect();
    all.sort_unstable();
    all.dedup();
    let all = all.iter().map(|grant| format!("\"{}\"", grant.as_str())).collect::<Vec<_>>().join(", ");
    for (grant, path) in needed.into_iter().filter(|(grant, _)| !spec.grants.contains(grant)) {
        let help = format_args!("take it out, or write `grants = [{all}]` if that is meant");
        note(out, Code::NeedsGrant, path, grant.danger(), help);
    }
}
