//! How everything stands, on one screen: what is wrong, what waits, what is well.

use axum::{Extension, Json, extract::State as Extract};
use piccolo_schema::{API_VERSION, Kind};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

use super::State;
use crate::{
    access::Caller,
    clock,
    manifests::{Problem, Trial},
    reset::ResetOrder,
    store::{Health, PlanView},
    trust::StateStanding,
};

/// One thing, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    /// What: `container/web`, a file, or a part of the daemon.
    about: String,
    /// The cause in PascalCase.
    reason: String,
    /// One sentence.
    message: String,
    /// A command that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Overview {
    wrong: Vec<Line>,
    waits: Vec<Line>,
    well: Vec<Line>,
}

/// Answers with how everything stands, for people who look at it again and again.
pub(super) async fn show(Extract(state): Extract<State>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let snapshot = state.manifests.snapshot();
    let mut overview = Overview::default();
    overview.parts(&state.store.healths());
    overview.files(&snapshot.problems);
    overview.trial(state.manifests.trial().as_deref());
    overview.reset(state.resetter.pending().as_ref());
    overview.keys(state.trust.state().as_ref());
    let plans = state.store.plans();
    for kind in Kind::ALL.iter().copied() {
        overview.kind(kind, plans.get(&kind).map(AsRef::as_ref), &state.store.list(kind).1);
    }
    Json(json!({
        "apiVersion": API_VERSION, "kind": "Overview", "name": state.plate.name(), "version": state.version,
        "mode": state.mode, "time": clock::now_text(), "caller": { "name": &*caller.name, "role": caller.role },
        "verdict": overview.verdict(), "wrong": overview.wrong, "waits": overview.waits, "well": overview.well,
    }))
}

impl Overview {
    const fn verdict(&self) -> &'static str {
        match (self.wrong.is_empty(), self.waits.is_empty()) {
            (false, _) => "wrong",
            (true, false) => "waits",
            (true, true) => "well",
        }
    }

    /// Takes in the parts that are not well. What several say alike, as when the engine is gone, is said once.
    fn parts(&mut self, healths: &BTreeMap<&'static str, Health>) {
        for (part, health) in healths.iter().filter(|(_, it)| !it.ok) {
            match self.wrong.iter_mut().find(|it| it.message == health.message) {
                Some(line) => line.about = format!("{}, {part}", line.about),
                None => self.wrong.push(line(*part, "NotReady", &health.message)),
            }
        }
    }

    fn files(&mut self, problems: &[Problem]) {
        for problem in problems {
            let path = problem.path.display().to_string();
            for mistake in &problem.diagnostics {
                let place = format!("{path}:{}:{}", mistake.line, mistake.column);
                self.wrong.push(Line {
                    help: Some(format!("piccolo explain {}", mistake.code)),
                    ..line(place, problem.reason, &mistake.reason)
                });
            }
            if problem.diagnostics.is_empty() {
                self.wrong.push(line(path, problem.reason, &problem.message));
            }
        }
    }

    fn trial(&mut self, trial: Option<&Trial>) {
        let Some(trial) = trial else { return };
        let until = clock::text(trial.until);
        self.waits.push(Line {
            help: Some(format!("piccolo confirm {}", trial.id)),
            ..line("change", "OnTrial", &format!("It is put back at {until} unless it is confirmed"))
        });
    }

    fn reset(&mut self, order: Option<&ResetOrder>) {
        let Some(order) = order else { return };
        let help = Some("piccolo reset --cancel".to_owned());
        self.waits.push(Line { help, ..line("machine", "ResetPending", &order.words()) });
    }

    /// Takes in what its owner should do about the keys of the system's own disk.
    fn keys(&mut self, state: Option<&StateStanding>) {
        let notes = state.into_iter().flat_map(|it| &it.notes);
        self.waits.extend(notes.map(|it| {
            let help = Some(it.help.to_owned());
            Line { help, ..line("state", it.name, &it.message) }
        }));
    }

    /// Takes in a kind: the plan says what is to come, the objects how they stand.
    fn kind(&mut self, kind: Kind, plan: Option<&PlanView>, objects: &[Arc<Value>]) {
        let about = |name: &str| format!("{}/{name}", kind.singular());
        let is_said = |why: &String| self.wrong.iter().any(|it| it.message == *why);
        if let Some(why) = plan.and_then(|it| it.unseen.as_ref()).filter(|it| !is_said(it)) {
            let words = format!("Nobody knows what is to be done: {why}");
            self.wrong.push(line(kind.plural(), "Unseen", &words));
        }
        if let Some(held) = plan.and_then(|it| it.held.as_ref()) {
            let words = format!("The removal of {} is held: {}", held.names.len(), held.names.join(", "));
            let help = Some(format!("piccolo confirm {}", held.id));
            self.wrong.push(Line { help, ..line(kind.plural(), "Held", &words) });
        }
        let waiting = plan.map(|it| it.waiting.as_slice()).unwrap_or_default();
        self.waits.extend(waiting.iter().map(|it| line(about(&it.subject), &it.reason, &it.message)));
        let steps = plan.map(|it| it.steps.as_slice()).unwrap_or_default();
        let named = |name: &str| objects.iter().any(|it| it["metadata"]["name"] == name);
        // What no manifest asks for any more is no object.
        let gone = steps.iter().filter(|it| !named(&it.subject));
        self.waits.extend(gone.map(|it| line(about(&it.subject), "Planned", &it.text)));
        for object in objects {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            if !waiting.iter().any(|it| it.subject == name) {
                let step = steps.iter().find(|it| it.subject == name).map(|it| it.text.as_str());
                self.object(about(name), object, step);
            }
        }
    }

    fn object(&mut self, about: String, object: &Value, step: Option<&str>) {
        let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
        let told = |it: &Value| line(about.clone(), &text(it, "reason"), &text(it, "message"));
        let failed = |it: &&Value| text(it, "type").ends_with("Failed") && it["status"] == "True";
        self.wrong.extend(conditions.iter().filter(failed).map(told));
        let ready = conditions.iter().find(|it| it["type"] == "Ready");
        let is_latest = ready.is_some_and(|it| {
            it["observedGeneration"].as_i64().is_none_or(|it| Some(it) == object["metadata"]["generation"].as_i64())
        });
        let Some(ready) = ready.filter(|_| is_latest) else {
            return self.waits.push(line(about, "Unseen", step.unwrap_or("It was not looked at yet")));
        };
        let is_on_its_way = ["Applying", "Observed"].contains(&text(ready, "reason").as_str());
        match (ready["status"].as_str(), step) {
            (Some("True"), Some(step)) => self.waits.push(line(about, "Planned", step)),
            (Some("True"), None) => self.well.push(told(ready)),
            (Some("False"), _) if !is_on_its_way => self.wrong.push(told(ready)),
            _ => self.waits.push(told(ready)),
        }
    }
}

fn line(about: impl Into<String>, reason: &str, message: &str) -> Line {
    Line { about: about.into(), reason: reason.to_owned(), message: message.to_owned(), help: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{HeldView, StepView, WaitingView};

    fn object(name: &str, status: &str, reason: &str, observed: i64) -> Arc<Value> {
        let ready = json!({ "type": "Ready", "status": status, "reason": reason, "message": "said", "observedGeneration": observed });
        Arc::new(json!({ "metadata": { "name": name, "generation": 2 }, "status": { "conditions": [ready] } }))
    }

    fn step(subject: &str) -> StepView {
        let (text, disruption) = (format!("create container `{subject}`"), "none".to_owned());
        StepView {
            subject: subject.to_owned(),
            text,
            disruption,
            removal: false,
            loses: None,
            observed: false,
            trial: false,
        }
    }

    fn plan() -> PlanView {
        PlanView {
            kind: Kind::Container,
            steps: Vec::new(),
            waiting: Vec::new(),
            unseen: None,
            held: None,
            complete: true,
        }
    }

    fn seen(plan: &PlanView, objects: &[Arc<Value>]) -> (String, Vec<String>) {
        let mut overview = Overview::default();
        overview.kind(Kind::Container, Some(plan), objects);
        let lines = [("!", &overview.wrong), ("~", &overview.waits), ("+", &overview.well)];
        let lines =
            lines.iter().flat_map(|(sign, all)| all.iter().map(move |it| format!("{sign} {} {}", it.about, it.reason)));
        (overview.verdict().to_owned(), lines.collect())
    }

    #[test]
    fn each_thing_stands_in_one_place() {
        let objects = [
            object("up", "True", "Running", 2),
            object("down", "False", "ExitedWithError", 2),
            object("soon", "False", "Applying", 2),
            object("old", "True", "Running", 1),
            object("hidden", "Unknown", "EngineUnavailable", 2),
            object("changed", "True", "Running", 2),
            object("needy", "False", "VolumeMissing", 2),
        ];
        let needy = WaitingView { subject: "needy".into(), reason: "VolumeMissing".into(), message: "said".into() };
        let plan = PlanView { steps: vec![step("changed"), step("gone")], waiting: vec![needy], ..plan() };
        let (verdict, lines) = seen(&plan, &objects);
        assert_eq!(verdict, "wrong");
        assert_eq!(
            lines,
            [
                "! container/down ExitedWithError",
                "~ container/needy VolumeMissing",
                "~ container/gone Planned",
                "~ container/soon Applying",
                "~ container/old Unseen",
                "~ container/hidden EngineUnavailable",
                "~ container/changed Planned",
                "+ container/up Running",
            ]
        );
    }

    #[test]
    fn what_nobody_sees_or_believes_is_wrong_and_never_well() {
        let unseen = PlanView { unseen: Some("Docker does not answer".into()), ..plan() };
        assert_eq!(seen(&unseen, &[]), ("wrong".to_owned(), vec!["! containers Unseen".to_owned()]));
        let mut overview = Overview::default();
        let ill = |message: &str| Health { ok: false, message: message.to_owned() };
        let gone = "Docker does not answer";
        overview.parts(&BTreeMap::from([
            ("containers", ill(gone)),
            ("key", ill("It is lost")),
            ("networks", ill(gone)),
        ]));
        overview.kind(Kind::Container, Some(&unseen), &[]);
        let about: Vec<_> = overview.wrong.iter().map(|it| it.about.as_str()).collect();
        assert_eq!(about, ["containers, networks", "key"]);
        let held = HeldView { id: "abc".into(), names: vec!["a".into(), "b".into()] };
        let held = PlanView { held: Some(held), ..plan() };
        assert_eq!(seen(&held, &[]), ("wrong".to_owned(), vec!["! containers Held".to_owned()]));
        assert_eq!(seen(&plan(), &[object("up", "True", "Running", 2)]).0, "well");
        let mut failed = (*object("up", "True", "Running", 2)).clone();
        let note = json!({ "type": "UpdateFailed", "status": "True", "reason": "Unhealthy" });
        failed["status"]["conditions"].as_array_mut().unwrap().push(note);
        let (verdict, lines) = seen(&plan(), &[Arc::new(failed)]);
        assert_eq!((verdict.as_str(), lines.len()), ("wrong", 2));
    }
}
