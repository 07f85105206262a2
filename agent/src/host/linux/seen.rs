//! From the engine's words to ours. Pure.

use std::net::Ipv4Addr;

use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, HealthStatusEnum, HostConfig, ImageSummary,
    RestartPolicyNameEnum,
};
use piccolo_schema::{container::Restart, image::Reference};

use super::{BUILD_LABEL, CONTAINER_LABEL, ROLLOUT_LABEL, SOURCE_LABEL, SPEC_LABEL, VARIABLES_LABEL};
use crate::host::{Built, ContainerSeen, Health, ImageSeen, Limits, Stamp, State};

/// Reads a line of the list, and the part of its status text that does not move with the time. The stamp stands in the
/// labels, unless it was adopted.
pub(super) fn listed(summary: ContainerSummary, adopted: Option<Stamp>) -> Option<(ContainerSeen, String)> {
    let name = name(&summary)?.to_owned();
    let labels = summary.labels.unwrap_or_default();
    let labelled = labels.get(CONTAINER_LABEL).map(|subject| Stamp {
        subject: subject.clone(),
        spec: labels.get(SPEC_LABEL).and_then(|spec| serde_json::from_str(spec).ok()),
        variables: labels.get(VARIABLES_LABEL).and_then(|all| serde_json::from_str(all).ok()).unwrap_or_default(),
        rollout: labels.get(ROLLOUT_LABEL).and_then(|rollout| serde_json::from_str(rollout).ok()),
    });
    let stamp = labelled.or(adopted);
    let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let address = networks.values().filter_map(|on| on.ip_address.as_deref()?.parse().ok()).min();
    let address = address.or_else(|| networks.contains_key("host").then_some(Ipv4Addr::LOCALHOST.into()));
    let attached = stamp.as_ref().is_none_or(|stamp| {
        let spec = stamp.spec.as_deref();
        let first = spec.and_then(|spec| spec.network.as_deref()).unwrap_or("bridge");
        let mut more = spec.into_iter().flat_map(|spec| &spec.more_networks);
        networks.contains_key(first) && more.all(|network| networks.contains_key(network))
    });
    let seen = ContainerSeen {
        id: summary.id?,
        name,
        stamp,
        state: state(summary.state?)?,
        health: None,
        exit_code: None,
        image_id: summary.image_id.unwrap_or_default(),
        image_digest: None,
        since: None,
        engine_restarts: 0,
        limits: Limits::default(),
        restarts: 0,
        address,
        attached,
    };
    Some((seen, lasting(&summary.status.unwrap_or_default())))
}

/// Returns the name of a container. A link shows it under further names, which have another slash.
pub(super) fn name(summary: &ContainerSummary) -> Option<&str> {
    let mut names = summary.names.iter().flatten().filter_map(|name| name.strip_prefix('/'));
    names.find(|name| !name.contains('/'))
}

/// Adds what an inspection tells.
pub(super) fn inspected(mut seen: ContainerSeen, inspected: &ContainerInspectResponse) -> ContainerSeen {
    if let Some(state) = &inspected.state {
        let health = state.health.as_ref().and_then(|health| health.status);
        seen.health = health.and_then(self::health).filter(|_| seen.state == State::Running);
        // One that was made but never ran has a code once the engine could not start it.
        seen.exit_code = state.exit_code.filter(|code| match seen.state {
            State::Exited | State::Restarting => true,
            State::Created => *code != 0,
            _ => false,
        });
        let since = if seen.state.is_live() { &state.started_at } else { &state.finished_at };
        seen.since = since.as_ref().filter(|_| seen.state != State::Created).and_then(|it| it.parse().ok());
    }
    seen.engine_restarts = inspected.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
    seen.limits = inspected.host_config.as_ref().map(limits).unwrap_or_default();
    seen
}

/// The images that are here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Images {
    /// Every one, sorted by identifier.
    pub(super) all: Vec<ImageSeen>,
}

impl Images {
    /// Reads the engine's list.
    pub(super) fn new(images: Vec<ImageSummary>) -> Self {
        let mut all: Vec<ImageSeen> = images.into_iter().map(image).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        Self { all }
    }

    /// Returns every name by which an image can be run, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.all.iter().flat_map(|image| image.names.iter().cloned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the identifier of the image of this name, in familiar form.
    pub(super) fn id(&self, name: &str) -> Option<&str> {
        self.all.iter().find(|image| image.names.iter().any(|it| it == name)).map(|image| image.id.as_str())
    }

    /// Returns the digest of the image that a container runs.
    pub(super) fn digest(&self, seen: &ContainerSeen) -> Option<String> {
        let wanted = Reference::parse(&seen.stamp.as_ref()?.spec.as_ref()?.image).ok()?;
        self.all.iter().find(|image| image.id == seen.image_id)?.digest(&wanted)
    }
}

fn image(summary: ImageSummary) -> ImageSeen {
    let names = summary.repo_tags.into_iter().chain(summary.repo_digests).filter(|name| !name.contains("<none>"));
    let mut names: Vec<String> =
        names.map(|name| Reference::parse(&name).map_or(name, |reference| reference.to_string())).collect();
    names.sort();
    let label = |key: &str| summary.labels.get(key).cloned();
    let built = label(BUILD_LABEL).zip(label(SOURCE_LABEL)).map(|(recipe, source)| Built { recipe, source });
    ImageSeen { id: summary.id, names, size: u64::try_from(summary.size).unwrap_or_default(), built }
}

fn limits(config: &HostConfig) -> Limits {
    let policy = config.restart_policy.as_ref().and_then(|policy| policy.name);
    let memory = config.memory.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    let both = config.memory_swap.and_then(|bytes| u64::try_from(bytes).ok());
    Limits {
        memory,
        swap: both.and_then(|both| both.checked_sub(memory?)).filter(|bytes| *bytes > 0),
        cpuset: config.cpuset_cpus.clone().filter(|cores| !cores.is_empty()),
        nano_cpus: config.nano_cpus.filter(|cpus| *cpus > 0),
        pids: config.pids_limit.filter(|pids| *pids > 0),
        restart: match policy {
            Some(RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED) => Restart::Always,
            Some(RestartPolicyNameEnum::ON_FAILURE) => Restart::OnFailure,
            _ => Restart::No,
        },
    }
}

const fn state(state: ContainerSummaryStateEnum) -> Option<State> {
    Some(match state {
        ContainerSummaryStateEnum::CREATED => State::Created,
        ContainerSummaryStateEnum::RUNNING => State::Running,
        ContainerSummaryStateEnum::PAUSED => State::Paused,
        ContainerSummaryStateEnum::RESTARTING => State::Restarting,
        ContainerSummaryStateEnum::REMOVING => State::Removing,
        ContainerSummaryStateEnum::EXITED => State::Exited,
        ContainerSummaryStateEnum::DEAD => State::Dead,
        _ => return None,
    })
}

const fn health(status: HealthStatusEnum) -> Option<Health> {
    match status {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        _ => None,
    }
}

/// Returns what stands in brackets: `Up 3 minutes (healthy)` is the same as `Up 4 minutes (healthy)`.
fn lasting(status: &str) -> String {
    let bracket = status.find('(').and_then(|start| Some(&status[start..=start + status[start..].find(')')?]));
    bracket.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn summary(labels: &[(&str, &str)]) -> ContainerSummary {
        ContainerSummary {
            id: Some("1f".into()),
            names: Some(vec!["/other/db".into(), "/web".into()]),
            state: Some(ContainerSummaryStateEnum::RUNNING),
            status: Some("Up 3 minutes (healthy)".into()),
            labels: Some(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            network_settings: Some(bollard::models::ContainerSummaryNetworkSettings {
                networks: Some(HashMap::from([("bridge".to_owned(), bollard::models::EndpointSettings::default())])),
            }),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn a_foreign_container_has_no_stamp() {
        let (seen, status) = listed(summary(&[]), None).unwrap_or_else(|| unreachable!());
        assert_eq!((seen.name.as_str(), seen.stamp, status.as_str()), ("web", None, "(healthy)"));
    }

    #[test]
    fn a_stamp_that_cannot_be_read_is_still_ours() {
        let labels = [(CONTAINER_LABEL, "web"), (SPEC_LABEL, r#"{"image": "x", "fromTheFuture": 1}"#)];
        let seen = listed(summary(&labels), None).map(|(seen, _)| seen.stamp);
        let stamp = Stamp { subject: "web".into(), spec: None, variables: Default::default(), rollout: None };
        assert_eq!(seen, Some(Some(stamp)));
    }

    #[test]
    fn attached_means_to_the_network_of_the_spec() {
        let on = |spec: &str| {
            listed(summary(&[(CONTAINER_LABEL, "web"), (SPEC_LABEL, spec)]), None).map(|(seen, _)| seen.attached)
        };
        assert_eq!(on(r#"{"image": "x"}"#), Some(true));
        assert_eq!(on(r#"{"image": "x", "network": "apps"}"#), Some(false));
        assert_eq!(on(r#"{"image": "x", "network": "bridge", "moreNetworks": ["apps"]}"#), Some(false));
    }

    #[test]
    fn time_does_not_change_a_status() {
        assert_eq!(lasting("Up 3 seconds"), lasting("Up 2 hours"));
        assert_eq!(lasting("Exited (137) 3 seconds ago"), "(137)");
        assert_ne!(lasting("Up 3 minutes (healthy)"), lasting("Up 3 minutes (unhealthy)"));
    }
}
