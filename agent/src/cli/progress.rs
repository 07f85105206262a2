//! How far an image has come that is pulled, built or pushed, in words and as a bar.

use piccolo_schema::Progress;
use serde::Deserialize;
use serde_json::Value;

use super::top::size;

/// How many characters the inside of a bar takes.
const BAR: usize = 20;

/// Returns how far a pull, a build or a push for an object has come, if one is under way.
pub(super) fn of(object: &Value) -> Option<Progress> {
    Progress::deserialize(&object["status"]["progress"]).ok()
}

/// Says it in words: `42 %, 12M of 48M, 3 of 7 layers unpacked`, `step 3 of 7`, `to lan:5000/app:1: 3
/// of 7 layers`.
pub(super) fn words(it: &Progress) -> String {
    if it.steps > 0 {
        return format!("step {} of {}", it.step, it.steps);
    }
    if let Some(to) = &it.to {
        return format!("to {to}: {} of {} layers", it.layers_done, it.layers);
    }
    let done = size(it.done.get());
    let bytes = it.total.map_or_else(|| format!("{done} so far"), |total| format!("{done} of {}", size(total.get())));
    format!("{} %, {bytes}, {} of {} layers unpacked", it.percent, it.layers_done, it.layers)
}

/// Draws it: `[########            ]`.
pub(super) fn bar(it: &Progress) -> String {
    let full = usize::from(it.percent.min(100)) * BAR / 100;
    format!("[{:BAR$}]", "#".repeat(full))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_told_with_and_without_the_whole_size() {
        let told = |total: Option<&str>| {
            let it = json!({ "percent": 25, "done": "12582912", "total": total, "layersDone": 3, "layers": 7 });
            of(&json!({ "status": { "progress": it } })).map(|it| words(&it))
        };
        assert_eq!(told(Some("48Mi")).as_deref(), Some("25 %, 12M of 48M, 3 of 7 layers unpacked"));
        assert_eq!(told(None).as_deref(), Some("25 %, 12M so far, 3 of 7 layers unpacked"));
        let build = json!({ "percent": 28, "done": "0", "layersDone": 0, "layers": 0, "step": 3, "steps": 7 });
        assert_eq!(
            of(&json!({ "status": { "progress": build } })).map(|it| words(&it)).as_deref(),
            Some("step 3 of 7")
        );
        let push = json!({ "percent": 50, "done": "0", "layersDone": 2, "layers": 4, "to": "lan:5000/app:1" });
        let words = of(&json!({ "status": { "progress": push } })).map(|it| words(&it));
        assert_eq!(words.as_deref(), Some("to lan:5000/app:1: 2 of 4 layers"));
        assert_eq!(of(&json!({ "status": {} })), None);
    }

    #[test]
    fn a_bar_has_always_the_same_width() {
        let drawn = |percent| bar(&Progress { percent, ..Progress::default() });
        assert_eq!(drawn(0), "[                    ]");
        assert_eq!(drawn(42), "[########            ]");
        assert_eq!(drawn(100), "[####################]");
        assert_eq!(drawn(255), drawn(100));
    }
}
