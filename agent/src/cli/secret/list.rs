use piccolo_schema::Kind;
use serde_json::Value;

use crate::cli::{client::Client, failure::Failure, output, screen::Screen, subject, table::Table};

/// Lists secrets and the names of their values. There is no way to show a value.
pub(super) async fn run(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let list = client.get(&subject::list_path(Kind::Secret)).await?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        screen.note("there is no secret; `piccolo secret set NAME KEY` makes one");
        return Ok(());
    }
    let mut table = Table::new(["Name", "Values", "Readable for", "Age"]);
    items.iter().for_each(|item| table.row(row(item)));
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

fn row(item: &Value) -> [String; 4] {
    let keys: Vec<&str> = item["spec"]["data"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let readers = match item["spec"]["recipients"].as_array().map_or(0, Vec::len) {
        0 => "this machine".to_owned(),
        others => format!("this machine and {others} more"),
    };
    let name = item["metadata"]["name"].as_str().unwrap_or_default();
    let made = item["metadata"]["creationTimestamp"].as_str().unwrap_or_default();
    let keys = if keys.is_empty() { "-".to_owned() } else { keys.join(", ") };
    [name.to_owned(), keys, readers, output::age(made)]
}
