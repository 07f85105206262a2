//! `piccolo why`: from a condition back to the lines it comes from, and on to what is behind it.

use std::collections::{BTreeSet, VecDeque};

use hyper::{Method, header::ACCEPT};
use piccolo_schema::Kind;
use serde_json::Value;

use super::{
    client::Client,
    events,
    failure::Failure,
    output, plan,
    screen::{Screen, Tone},
    subject,
};
use crate::store::PlanView;

/// The most manifests that are told of; a chain that is longer has been told often enough to be understood.
const MOST: usize = 8;
/// The most lines of a manifest that are shown.
const MOST_LINES: usize = 6;

/// Says why something is as it is: the lines of the manifest, the plan, what happened, and what is behind it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo why container/web\n  piccolo why network lan")]
pub(super) struct Args {
    /// `KIND NAME` or `KIND/NAME`.
    #[arg(required = true)]
    what: Vec<String>,
}

type Subject = (Kind, String);

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let plans = plan::read(&client.get("/plan").await?)?;
    let mut told = BTreeSet::new();
    let mut ahead = VecDeque::from([subject::subject(&args.what)?]);
    while let Some(subject) = ahead.pop_front().filter(|_| told.len() < MOST) {
        if !told.insert(subject.clone()) {
            continue;
        }
        if told.len() > 1 {
            screen.line("")?;
        }
        let said = tell(&subject, &plans, client, screen).await?;
        ahead.extend(behind(&said, &subject, client).await?);
    }
    Ok(())
}

/// Tells of one manifest. Returns what is said of it, in words.
async fn tell((kind, name): &Subject, plans: &[PlanView], client: &Client, screen: &Screen) -> Result<String, Failure> {
    let path = subject::path(*kind, name);
    let object = client.get(&path).await?;
    let ready = ready(&object);
    let text = |key: &str| ready[key].as_str().unwrap_or_default();
    let (word, tone) = if is_ready(&object) { ("ready", Tone::Good) } else { ("not ready", Tone::Warning) };
    let since = output::age(text("lastTransitionTime"));
    screen.line(screen.paint(tone, &format!("{kind} {name} is {word} since {since}: {}", text("reason"))))?;
    screen.line(format!("  {}", text("message")))?;

    let plan: Vec<_> = plans.iter().filter(|plan| plan.kind == *kind).cloned().collect();
    let steps: Vec<_> = plan.iter().flat_map(|plan| &plan.steps).filter(|step| step.subject == *name).collect();
    let journal = client.get(&format!("/journal?limit=5&kind={kind}&name={}", subject::escape(name))).await?;
    let journal = journal["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut said = text("message").to_owned();
    let happened = journal.iter().filter_map(|event| event["message"].as_str());
    for words in steps.iter().map(|step| step.text.as_str()).chain(happened) {
        said.push('\n');
        said.push_str(words);
    }

    let manifest = client.send(Method::GET, &path, &[(ACCEPT, "application/toml")], "").await?;
    let file = manifest.file.as_deref().unwrap_or("the manifest");
    let generation = &object["metadata"]["generation"];
    screen.line(screen.paint(Tone::Title, &format!("{file}, generation {generation}")))?;
    for (number, line) in lines(&String::from_utf8_lossy(&manifest.body), &words(&said)) {
        screen.line(format!("{number:>4}  {line}"))?;
    }
    screen.line(screen.paint(Tone::Title, "plan"))?;
    plan::show(&plan, screen, |_, subject| subject == name)?;
    screen.line(screen.paint(Tone::Title, "events"))?;
    events::table(journal, screen)?;
    Ok(text("message").to_owned())
}

/// Finds the manifests that this message names and that are not ready themselves.
async fn behind(message: &str, subject: &Subject, client: &Client) -> Result<Vec<Subject>, Failure> {
    let named: BTreeSet<_> = quoted(message).collect();
    let mut found = Vec::new();
    if named.is_empty() {
        return Ok(found);
    }
    for kind in Kind::ALL {
        let list = client.get(&subject::list_path(*kind)).await?;
        for object in list["items"].as_array().into_iter().flatten().filter(|it| !is_ready(it)) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let other = (*kind, name.to_owned());
            if named.contains(name) && other != *subject {
                found.push(other);
            }
        }
    }
    Ok(found)
}

fn ready(object: &Value) -> &Value {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|it| it["type"] == "Ready").unwrap_or(&Value::Null)
}

fn is_ready(object: &Value) -> bool {
    ready(object)["status"] == "True"
}

/// Returns what a sentence has in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the names and keys that sentences speak of: what is in backticks, and `memory` of `(memory changed)`.
fn words(said: &str) -> BTreeSet<&str> {
    let changed = said.split(" changed)").filter_map(|before| before.rsplit_once('(')).map(|(_, keys)| keys);
    let keys = changed.flat_map(|keys| keys.split(", "));
    quoted(said).chain(keys).filter(|word| !word.is_empty() && !word.contains(char::is_whitespace)).collect()
}

/// Returns the lines of a spec, with their numbers, that hold one of these words.
fn lines<'a>(manifest: &'a str, words: &BTreeSet<&str>) -> Vec<(usize, &'a str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || "-_.:/@".contains(letter);
    let speaks = |line: &str| !line.starts_with('#') && line.split(|it| !is_part(it)).any(|it| words.contains(it));
    let numbered = manifest.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let spec = numbered.skip_while(|(_, line)| !line.trim_start_matches('[').starts_with("spec"));
    spec.filter(|(_, line)| speaks(line)).take(MOST_LINES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_that_the_sentence_speaks_of() {
        let manifest = "kind = \"Container\"\nmetadata.name = \"db\"\n\n[spec]\n# db\nimage = \"db:1\"\nmemory = \"1Gi\"\n\n\
                        [[spec.dependsOn]]\ncontainer = \"db\"\n";
        let found = |said: &str| lines(manifest, &words(said)).into_iter().map(|it| it.0).collect::<Vec<_>>();
        assert_eq!(found("`db` is not running yet"), [10]);
        assert_eq!(found("there is no `db:1`"), [6]);
        assert_eq!(found("update web (cpus, memory changed)"), [7]);
        assert_eq!(found("It runs"), [0; 0]);
        assert_eq!(found("a lonely ` and (nothing changed"), [0; 0]);
    }
}
