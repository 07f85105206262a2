//! `piccolo get`: lists, in the columns that the kinds define.

use hyper::{Method, header};
use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::{client::Client, failure::Failure, output, output::Format, screen::Screen, subject, table::Table};

const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io, application/problem+json";

/// Lists manifests and how they stand.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo get containers\n  piccolo get container web -o yaml")]
pub(super) struct Args {
    /// A kind, or a kind and a name; all kinds when left out.
    what: Vec<String>,
    /// Only those with these labels, `tier=web`.
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Goes on with what changes from now on, until it is interrupted.
    #[arg(short, long)]
    watch: bool,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let targets = targets(&args.what)?;
    if args.watch {
        let [(kind, name)] = targets.as_slice() else {
            return Err(Failure::Usage("say which kind to watch: piccolo get containers -w".to_owned()));
        };
        return watch(args, client, screen, *kind, name.as_deref()).await;
    }
    if matches!(args.output, Format::Table | Format::Wide) {
        return tables(args, client, screen, &targets).await;
    }
    let document = match targets.as_slice() {
        [(kind, Some(name))] => client.get(&subject::path(*kind, name)).await?,
        [(kind, None)] => client.get(&list(args, *kind)).await?,
        several => {
            let mut items = Vec::new();
            for (kind, _) in several {
                let mut list = client.get(&list(args, *kind)).await?;
                items.extend(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
            }
            json!({ "apiVersion": "v1", "kind": "List", "items": items })
        }
    };
    output::document(screen, args.output, &document).map(drop)
}

fn targets(what: &[String]) -> Result<Vec<(Kind, Option<String>)>, Failure> {
    match what {
        [] => Ok(Kind::ALL.iter().map(|kind| (*kind, None)).collect()),
        [word] if !word.contains('/') => Ok(vec![(subject::kind(word)?, None)]),
        words => subject::subject(words).map(|(kind, name)| vec![(kind, Some(name))]),
    }
}

fn list(args: &Args, kind: Kind) -> String {
    let selector = args.selector.as_deref().map(|it| format!("labelSelector={}", subject::escape(it)));
    format!("{}?{}", subject::list_path(kind), selector.unwrap_or_default())
}

async fn tables(
    args: &Args,
    client: &Client,
    screen: &Screen,
    targets: &[(Kind, Option<String>)],
) -> Result<(), Failure> {
    let mut printed = 0;
    for (kind, name) in targets {
        let path = name.as_ref().map_or_else(|| list(args, *kind), |name| subject::path(*kind, name));
        let answer = client.send(Method::GET, &path, &[(header::ACCEPT, AS_TABLE)], "").await?;
        let table = client.json(&answer)?;
        if table["rows"].as_array().is_none_or(Vec::is_empty) {
            continue;
        }
        // Names of several kinds are told apart by their kind.
        let prefix = if targets.len() > 1 { format!("{}/", kind.singular()) } else { String::new() };
        if printed > 0 {
            screen.line("")?;
        }
        printed += 1;
        lines(&table, args.output, &prefix, screen.width()).iter().try_for_each(|line| screen.line(line))?;
    }
    if printed == 0 {
        screen.note("nothing is declared; `piccolo apply -f FILE` declares something");
    }
    Ok(())
}

fn lines(table: &Value, format: Format, prefix: &str, width: Option<usize>) -> Vec<String> {
    let columns = table["columnDefinitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<_> = columns.iter().map(|it| format == Format::Wide || it["priority"] == 0).collect();
    let head = columns.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(it, _)| it["name"].as_str().unwrap_or(""));
    let mut printed = Table::new(head);
    for row in table["rows"].as_array().into_iter().flatten() {
        let cells = row["cells"].as_array().map(Vec::as_slice).unwrap_or_default().iter().zip(&shown);
        let mut cells: Vec<_> = cells.filter(|(_, shown)| **shown).map(|(cell, _)| words(cell)).collect();
        if let Some(name) = cells.first_mut() {
            name.insert_str(0, prefix);
        }
        printed.row(cells);
    }
    printed.lines(width)
}

fn words(cell: &Value) -> String {
    match cell {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Shows changes for as long as anybody looks. A machine ends each watch after a while; the next one goes on from there.
async fn watch(args: &Args, client: &Client, screen: &Screen, kind: Kind, name: Option<&str>) -> Result<(), Failure> {
    let mut path = format!("{}&watch=true", list(args, kind));
    if let Some(name) = name {
        path.push_str(&format!("&fieldSelector=metadata.name%3D{}", subject::escape(name)));
    }
    let as_table = matches!(args.output, Format::Table | Format::Wide);
    let accept = [(header::ACCEPT, AS_TABLE)];
    let mut version: Option<String> = None;
    loop {
        let from = version.as_ref().map(|version| format!("&resourceVersion={}", subject::escape(version)));
        let from = format!("{path}{}", from.unwrap_or_default());
        let mut changes = match client.follow(&from, if as_table { &accept } else { &[] }).await {
            // It does not know any more what came after that version: from what there is now.
            Err(Failure::Refused(problem)) if problem["status"] == 410 && version.is_some() => {
                version = None;
                continue;
            }
            begun => begun?,
        };
        while let Some(change) = changes.document().await? {
            if change["type"] == "ERROR" {
                version = None;
                break;
            }
            version = change["object"]["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            show(args, screen, as_table, change)?;
        }
    }
}

fn show(args: &Args, screen: &Screen, as_table: bool, mut change: Value) -> Result<(), Failure> {
    if !as_table {
        return output::document(screen, args.output, &change["object"].take()).map(drop);
    }
    let lines = lines(&change["object"], args.output, "", screen.width());
    // The head of each little table is the same: the word in its place says what happened.
    let what = change["type"].as_str().unwrap_or_default().to_lowercase();
    lines.iter().skip(1).try_for_each(|line| screen.line(format!("{what:8}  {line}")))
}
