//! The keys of a compose file, so that a misspelt one is found, and why some have no place in a manifest.

/// Keys of a service that no manifest can say, and what to do instead.
pub(super) const UNSAID: &[(&str, &str)] = &[
    ("annotations", "the engine's annotations are not kept; a `labels` entry may do"),
    ("attach", "only `docker compose up` shows output; see `piccolo logs -f`"),
    ("cgroup", "containers have their own control group"),
    ("cgroup_parent", "containers have their own control group"),
    ("cpu_count", "for Windows only"),
    ("cpu_percent", "for Windows only"),
    ("cpu_period", "write `cpus` instead"),
    ("cpu_quota", "write `cpus` instead"),
    ("cpu_rt_period", "real-time scheduling is not offered"),
    ("cpu_rt_runtime", "real-time scheduling is not offered"),
    ("cpu_shares", "there are no shares of the processor; write `cpus`"),
    ("credential_spec", "for Windows only"),
    ("develop", "for development with `docker compose watch` only"),
    ("device_cgroup_rules", "name the devices themselves in `devices`"),
    ("dns_opt", "options of the resolver can't be set"),
    ("dns_search", "search domains can't be set; write whole names"),
    ("domainname", "put the whole name into `hostname`"),
    ("external_links", "put both containers on one network"),
    ("isolation", "for Windows only"),
    ("label_file", "write the labels into the manifest"),
    ("mac_address", "the engine picks it"),
    ("mem_reservation", "no memory is reserved; `memory` is the most it may use"),
    ("mem_swappiness", "the machine's own setting holds"),
    ("memswap_reservation", "no memory is reserved"),
    ("models", "models are not run by Piccolo"),
    ("oom_kill_disable", "a container that takes all memory is ended"),
    ("oom_score_adj", "the kernel decides whom it ends"),
    ("platform", "the machine's own platform is pulled"),
    ("post_start", "let the program do it at its start"),
    ("pre_stop", "let the program do it on the stop signal"),
    ("provider", "providers are programs of `docker compose`"),
    ("runtime", "the engine's own runtime is used; graphics processors are asked for with `gpus`"),
    ("stdin_open", "nobody types into it"),
    ("tty", "it has no terminal; its output is plain"),
    ("use_api_socket", "mount the engine's socket and name the grant `docker-socket`"),
    ("userns_mode", "the engine's own user namespaces hold"),
    ("uts", "it has a host name of its own"),
    ("volumes_from", "name the mounts in each container"),
];

/// Keys of a service that are read.
pub(super) const READ: &[&str] = &[
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "command",
    "configs",
    "container_name",
    "cpus",
    "cpuset",
    "depends_on",
    "deploy",
    "devices",
    "dns",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "labels",
    "links",
    "logging",
    "mem_limit",
    "memswap_limit",
    "network_mode",
    "networks",
    "pid",
    "pids_limit",
    "ports",
    "privileged",
    "profiles",
    "pull_policy",
    "read_only",
    "restart",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "ulimits",
    "user",
    "volumes",
    "working_dir",
];

/// Says why a key of a service has no place in a manifest.
pub(super) fn unsaid(key: &str) -> Option<&'static str> {
    UNSAID.iter().find(|(word, _)| *word == key).map(|(_, why)| *why)
}

/// Says what to do about an unknown key of a service.
pub(super) fn advice_for_service(key: &str) -> String {
    let all: Vec<_> = UNSAID.iter().map(|(word, _)| *word).chain(READ.iter().copied()).collect();
    advice(key, &all)
}

/// Says what to do about an unknown key, when these are known.
pub(super) fn advice(key: &str, known: &[&str]) -> String {
    let near = known.iter().map(|word| (strsim::damerau_levenshtein(key, word), *word)).min();
    match near {
        Some((distance, word)) if distance <= 2.max(key.len() / 3) => format!("did you mean `{word}`?"),
        _ => "take it out, or put `x-` before it if it is a note".to_owned(),
    }
}
