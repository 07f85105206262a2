use std::{
    fs::File,
    path::{Path, PathBuf},
};

use piccolo_schema::secret::is_key;

use super::{
    draft::{Draft, Place},
    recipient,
};
use crate::{
    cli::{ask, client::Client, failure::Failure, reach::Reach, screen::Screen},
    secrets::{Plain, Recipient, seal},
};

/// Encrypts a value and writes it into a Secret, which is made when it is missing.
///
/// The value is asked for without showing it, or read from standard input, of which one line break at the end is taken
/// away.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo secret set db password\n  piccolo secret set web tls.key --from key.pem\n  piccolo secret set db password -f secrets/db.toml --recipient age1…"
)]
pub(super) struct Args {
    /// The name of the Secret.
    name: String,
    /// The name of the value.
    key: String,
    /// Takes the value from this file, to the last byte.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Encrypts for this machine instead of the one that answers; may be given several times.
    #[arg(long, value_name = "AGE1…")]
    recipient: Vec<Recipient>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    if !is_key(&args.key) {
        let rule = "the name of a value has at most 128 letters, digits, `.`, `_` and `-`";
        return Err(Failure::Usage(rule.to_owned()));
    }
    let mut draft = args.place.read(&args.name, client, screen).await?;
    let recipients = recipient::all(&args.recipient, &draft.secret.spec, client).await?;
    let value = match &args.from {
        Some(path) => from_file(path)?,
        None => ask::secret(&format!("Value of {}/{}:", args.name, args.key))?,
    };
    put(&mut draft, &args.key, &value, &recipients)?;
    let word = if draft.is_new { "created" } else { "changed" };
    args.place.write(draft, client).await?;
    screen.line(format!("secret/{} {word}: {}", args.name, args.key))?;
    args.place.reached(&args.reach, &args.name, &[&args.key], client, screen).await
}

fn put(draft: &mut Draft, key: &str, value: &Plain, recipients: &[Recipient]) -> Result<(), Failure> {
    let armour = seal(value, recipients).map_err(|error| Failure::Secret(error.to_string()))?;
    draft.secret.spec.data.insert(key.to_owned(), armour);
    Ok(())
}

fn from_file(path: &Path) -> Result<Plain, Failure> {
    let unreadable = |source| Failure::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_or(0, |it| usize::try_from(it.len()).unwrap_or(usize::MAX));
    Plain::read(file, size).map_err(unreadable)
}
