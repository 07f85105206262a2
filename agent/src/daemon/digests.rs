//! Which images containers run, as the history notes it.

use std::{sync::Arc, time::Duration};

use piccolo_schema::Kind;
use serde_json::Value;
use tokio::sync::{broadcast::error::RecvError, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    history::{Digests, Resolved},
    store::Reader,
};

/// Statuses come in flocks, and a note is a commit.
const REST: Duration = Duration::from_secs(1);

/// Says what containers run, whenever that changes, until the shutdown. May be dropped at any time.
pub(super) async fn tell(store: Reader, told: watch::Sender<Digests>, shutdown: CancellationToken) {
    shutdown.run_until_cancelled(follow(&store, &told)).await;
}

async fn follow(store: &Reader, told: &watch::Sender<Digests>) {
    loop {
        let (version, containers) = store.list(Kind::Container);
        told.send_if_modified(|before| {
            let now = settled(&containers, before);
            let is_new = now != *before;
            *before = now;
            is_new
        });
        tokio::time::sleep(REST).await;
        if !changes(store, version).await {
            return;
        }
    }
}

/// Waits until a container is not as it was. Returns false once nothing changes any more.
async fn changes(store: &Reader, version: u64) -> bool {
    let Some((changed, mut coming)) = store.since(version) else { return true };
    if changed.iter().any(|change| change.kind == Kind::Container) {
        return true;
    }
    loop {
        match coming.recv().await {
            Ok(change) if change.kind != Kind::Container => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}

/// Returns what each container runs. Of one that is still on its way to what its manifest says, that is what it ran before.
fn settled(containers: &[Arc<Value>], before: &Digests) -> Digests {
    let one = |object: &Arc<Value>| {
        let name = object["metadata"]["name"].as_str()?.to_owned();
        let status = &object["status"];
        if status["observedGeneration"] != object["metadata"]["generation"] {
            let resolved = before.get(&name)?.clone();
            return Some((name, resolved));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some((name, Resolved { image: text(&object["spec"]["image"])?, digest: text(&status["imageDigest"])? }))
    };
    containers.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(image: &str, generation: i64, observed: i64, digest: Option<&str>) -> Arc<Value> {
        Arc::new(json!({
            "metadata": { "name": "web", "generation": generation },
            "spec": { "image": image },
            "status": { "observedGeneration": observed, "imageDigest": digest },
        }))
    }

    #[test]
    fn what_is_under_way_counts_as_before() {
        let ran = settled(&[container("nginx:1", 1, 1, Some("sha256:a"))], &Digests::new());
        assert_eq!(ran["web"], Resolved { image: "nginx:1".to_owned(), digest: "sha256:a".to_owned() });
        assert_eq!(settled(&[container("nginx:2", 2, 1, Some("sha256:a"))], &ran), ran);
        assert_eq!(settled(&[container("nginx:2", 2, 2, Some("sha256:b"))], &ran)["web"].digest, "sha256:b");
        assert_eq!(settled(&[container("mine", 3, 3, None)], &ran), Digests::new());
        assert_eq!(settled(&[], &ran), Digests::new());
    }
}
