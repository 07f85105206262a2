//! Which settings of the kernel a manifest may change: those by which nobody gains a right, and nothing else that Piccolo
//! keeps is changed.

/// The settings that may be changed.
pub const ALLOWED: &[&str] = &[
    "fs.aio-max-nr",
    "fs.file-max",
    "fs.inotify.max_queued_events",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "fs.nr_open",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.pid_max",
    "kernel.threads-max",
    "net.core.default_qdisc",
    "net.core.netdev_max_backlog",
    "net.core.optmem_max",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "net.netfilter.nf_conntrack_max",
    "vm.compaction_proactiveness",
    "vm.dirty_background_ratio",
    "vm.dirty_expire_centisecs",
    "vm.dirty_ratio",
    "vm.dirty_writeback_centisecs",
    "vm.max_map_count",
    "vm.min_free_kbytes",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
    "vm.page-cluster",
    "vm.swappiness",
    "vm.vfs_cache_pressure",
    "vm.watermark_boost_factor",
    "vm.watermark_scale_factor",
];

/// Why some are not among them, by the beginning of their names; the first that fits counts.
const REFUSED: &[(&str, &str)] = &[
    ("kernel.core_pattern", "it names a program that the kernel runs as root"),
    ("kernel.modprobe", "it names a program that the kernel runs as root"),
    ("kernel.hotplug", "it names a program that the kernel runs as root"),
    ("kernel.usermodehelper", "it decides what programs may do that the kernel runs as root"),
    ("kernel.hostname", "it is what `spec.hostname` sets"),
    ("kernel.domainname", "no program of today reads it"),
    ("kernel.randomize_va_space", "it takes a guard off every program"),
    ("kernel.kptr_restrict", "it takes a guard off the kernel"),
    ("kernel.dmesg_restrict", "it takes a guard off the kernel"),
    ("kernel.unprivileged_", "it takes a guard off the kernel"),
    ("kernel.yama.", "it takes a guard off every program"),
    ("kernel.perf_event_", "it takes a guard off the kernel"),
    ("kernel.sysrq", "it decides what a keyboard may do to the machine"),
    ("kernel.modules_disabled", "it can't be taken back, and the engine needs modules"),
    ("fs.protected_", "it takes a guard off every program"),
    ("fs.suid_dumpable", "it takes a guard off every program"),
    ("net.ipv4.ip_forward", "the container engine keeps it, as containers need it"),
    ("net.ipv4.conf.", "networkd and the container engine keep what is of one link"),
    ("net.ipv6.conf.", "networkd and the container engine keep what is of one link"),
    ("net.ipv4.neigh.", "networkd and the container engine keep what is of one link"),
    ("net.ipv6.neigh.", "networkd and the container engine keep what is of one link"),
    ("net.bridge.", "the rules of networks with a policy need it as it is"),
    ("vm.mmap_", "it takes a guard off the kernel"),
    ("vm.drop_caches", "it is a deed and no setting"),
    ("vm.compact_memory", "it is a deed and no setting"),
];

/// Says why a setting may not be changed, if so.
#[must_use]
pub fn refusal(name: &str) -> Option<&'static str> {
    if ALLOWED.binary_search(&name).is_ok() {
        return None;
    }
    let known = REFUSED.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, why)| *why);
    Some(known.unwrap_or("it is none of those of which it is known that they harm nobody"))
}

/// Returns a value as the kernel shows it and as it is compared: one space between words.
#[must_use]
pub fn plain(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_refuses_what_gives_rights() {
        assert!(ALLOWED.is_sorted());
        assert_eq!(refusal("vm.swappiness"), None);
        for (beginning, why) in REFUSED {
            assert!(!ALLOWED.iter().any(|it| it.starts_with(beginning)), "{beginning}");
            assert_eq!(refusal(&format!("{beginning}x")), Some(*why));
        }
        assert_eq!(plain("4096\t 131072  6291456\n"), "4096 131072 6291456");
    }
}
