//! How it is found out whether it does its work.

use piccolo_schema::duration::Duration;
use serde_json::{Map, Value as Json};

use super::{
    container::Source,
    json::{entries, is_nothing, number, object, words},
};
use crate::foreign::Draft;

const TIMES: [(&str, &str); 3] = [("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "startPeriod")];

pub(super) fn take(draft: &mut Draft, source: &Source<'_>, key: &str, value: &Json) -> bool {
    if key != "Config.Healthcheck" {
        return false;
    }
    let images = &source.image["Config"]["Healthcheck"];
    if told(value) == told(images) {
        return true;
    }
    let command = match words(&value["Test"])[..] {
        ["NONE"] if is_nothing(&images["Test"]) => return true,
        ["NONE"] => {
            draft.lost("", "the image's own check can't be turned off");
            return true;
        }
        ["CMD", ref command @ ..] if !command.is_empty() => command.to_vec(),
        ["CMD-SHELL", line] => vec!["/bin/sh", "-c", line],
        _ => {
            draft.lost("", "the test is in no known form");
            return true;
        }
    };
    // An engine only says that it is unhealthy.
    let mut check = object([("command", command.into()), ("onUnhealthy", "none".into())]);
    for (theirs, ours) in TIMES {
        let millis = u64::try_from(number(&value[theirs]) / 1_000_000).unwrap_or_default();
        if millis > 0 {
            check.insert(ours.to_owned(), Duration::from_millis(millis).to_string().into());
        }
    }
    if number(&value["Retries"]) > 0 {
        check.insert("retries".to_owned(), value["Retries"].clone());
    }
    if number(&value["StartInterval"]) > 0 {
        draft.lost(".StartInterval", "the `interval` holds from the start");
    }
    draft.kept("", "nothing is done when it is unhealthy; leave `onUnhealthy` out to have it restarted then");
    draft.put("healthCheck", check);
    true
}

fn told(value: &Json) -> Map<String, Json> {
    let told = entries(value).filter(|(_, value)| !is_nothing(value));
    told.map(|(key, value)| (key.clone(), value.clone())).collect()
}
