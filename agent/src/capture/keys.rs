//! Keys of an inspection that no reader has.

/// Keys that say nothing of what a container is: how it was begun by hand, and what the engine keeps for itself.
pub(super) const SILENT: &[&str] = &[
    "Config.ArgsEscaped",
    "Config.AttachStderr",
    "Config.AttachStdin",
    "Config.AttachStdout",
    "Config.ExposedPorts",
    "Config.OnBuild",
    "Config.Shell",
    "Config.StdinOnce",
    "Config.Volumes",
    "HostConfig.Annotations",
    "HostConfig.ConsoleSize",
    "HostConfig.ContainerIDFile",
    "HostConfig.Isolation",
];

/// Says why a key is lost.
pub(super) fn unsaid(key: &str) -> &'static str {
    match key {
        "Config.Tty" | "Config.OpenStdin" => "there is no terminal and no open input in a manifest",
        "Config.Domainname" => "write the whole name as `hostname`",
        "HostConfig.AutoRemove" => "it would go at its end; a container of a manifest is kept",
        "HostConfig.Links" => "on a network of their own containers find each other by name",
        "HostConfig.CpuShares" => "shares of processor time can't be said, `cpus` limits it",
        "HostConfig.MemoryReservation" | "HostConfig.MemorySwappiness" | "HostConfig.KernelMemory" => {
            "`memory` and `swap` are all that is said of memory"
        }
        "HostConfig.OomKillDisable" | "HostConfig.OomScoreAdj" => "whom the kernel ends first can't be said",
        "HostConfig.UTSMode" | "HostConfig.UsernsMode" | "HostConfig.CgroupnsMode" => {
            "of the machine's namespaces only those of network, processes and memory can be shared"
        }
        "HostConfig.Runtime" => "containers are run by the engine's usual runtime; `gpus` gives graphics processors",
        "HostConfig.DnsSearch" | "HostConfig.DnsOptions" => "of name servers only their addresses can be said",
        "HostConfig.MaskedPaths" | "HostConfig.ReadonlyPaths" => "what the engine hides of the machine stays hidden",
        _ => "this can't be said in a manifest",
    }
}
