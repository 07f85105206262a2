use bytes::Bytes;
use hyper::Method;

use super::{
    super::{client::Client, failure::Failure, screen::Screen, table::Table, top::size},
    import::PATIENCE,
};

/// How much of an identifier is enough for people.
const SHORT: usize = 12;

/// Removes the images that Piccolo brought here and that nothing needs.
///
/// What a container runs, also a stopped one or one of others, what it ran before that, and what a manifest names is
/// needed. Images that others brought here are left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo image prune --dry-run\n  piccolo image prune")]
pub(super) struct Args {
    /// Shows what would be removed, and changes nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let path = if args.dry_run { "/images/prune?dryRun=All" } else { "/images/prune" };
    // An engine takes its time over large images.
    let client = client.patient(PATIENCE);
    let answer = client.json(&client.send(Method::POST, path, &[], Bytes::new()).await?)?;
    let images = answer["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    if images.is_empty() {
        screen.note("every image that was brought here is needed");
        return Ok(());
    }
    let mut table = Table::new(["image", "id", "size"]);
    let mut total = 0;
    for image in images {
        let id = image["id"].as_str().unwrap_or_default().trim_start_matches("sha256:");
        let bytes = image["size"].as_u64().unwrap_or_default();
        total += bytes;
        let id = id.chars().take(SHORT).collect();
        table.row([image["names"][0].as_str().unwrap_or("-").to_owned(), id, size(bytes)]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))?;
    // Layers that images share are counted with each.
    let verb = if args.dry_run { "would be" } else { "are" };
    screen.line(format!("{} image(s), {} at most, {verb} removed", images.len(), size(total)))
}
