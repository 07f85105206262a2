//! What was done to the machine, as the audit tells it.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{
    audit::{Audit, Entry},
    store::{Event, EventQuery, Reader},
};

/// Has each step that was applied, or failed, written down until the shutdown. May be dropped at any time.
pub(super) async fn tell(store: Reader, audit: Audit, shutdown: CancellationToken) {
    let (_, mut events) = store.follow_events(&EventQuery { limit: 1, ..EventQuery::default() });
    shutdown
        .run_until_cancelled(async {
            loop {
                match events.recv().await {
                    Ok(event) => {
                        if let Some(entry) = entry(&event) {
                            audit.record(entry).await;
                        }
                    }
                    Err(RecvError::Lagged(many)) => audit.lose(many),
                    Err(RecvError::Closed) => return,
                }
            }
        })
        .await;
}

fn entry(event: &Arc<Event>) -> Option<Entry> {
    let result = match event.reason.as_str() {
        "Applied" => "applied",
        "Failed" => "failed",
        _ => return None,
    };
    let object = event.kind.zip(event.name.as_ref()).map(|(kind, name)| format!("{}/{name}", kind.singular()));
    Some(Entry {
        who: "piccolod".to_owned(),
        door: "controller",
        action: event.message.clone(),
        object,
        generation: event.generation,
        result: result.to_owned(),
        ..Entry::default()
    })
}

#[cfg(test)]
mod tests {
    use piccolo_schema::Kind;

    use super::*;

    #[test]
    fn only_what_was_done_is_told() {
        let event = |reason: &str| Arc::new(Event::new(reason, "start web").about(Kind::Container, "web").at(3));
        let told = entry(&event("Applied")).unwrap();
        assert_eq!(
            (told.result.as_str(), told.object.as_deref(), told.generation),
            ("applied", Some("container/web"), Some(3))
        );
        assert_eq!(entry(&event("Failed")).unwrap().result, "failed");
        assert_eq!(entry(&event("Planned")), None);
    }
}
