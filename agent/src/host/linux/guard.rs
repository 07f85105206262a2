//! A last look at what a container is given, where a manifest alone does not tell.

use std::{io, path::Path};

use piccolo_schema::{ContainerSpec, container::Grant};

use crate::host::{HostError, Reason};

/// Refuses mounts that lead, over symbolic links, to a part of the machine that the manifest has no grant for. What does
/// not exist is left to the engine to refuse.
pub(super) async fn check(spec: &ContainerSpec) -> Result<(), HostError> {
    for mount in &spec.mounts {
        let Some(path) = &mount.host_path else { continue };
        if let Some((real, grant)) = needed(path, mount.read_only).await
            && !spec.grants.contains(&grant)
        {
            let word = grant.as_str();
            let message = format!(
                "`{path}` leads to {}, and {}; write `grants = [\"{word}\"]` if that is meant",
                real.display(),
                grant.danger()
            );
            return Err(HostError::new(Reason::Refused, message));
        }
    }
    Ok(())
}

async fn needed(path: &str, read_only: bool) -> Option<(std::path::PathBuf, Grant)> {
    let real: io::Result<_> = tokio::fs::canonicalize(Path::new(path)).await;
    let real = real.ok()?;
    let grant = Grant::for_path(real.to_str()?, read_only)?;
    Some((real, grant))
}
