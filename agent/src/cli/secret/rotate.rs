use std::{collections::BTreeMap, path::PathBuf};

use super::{draft::Place, recipient};
use crate::{
    cli::{client::Client, failure::Failure, reach::Reach, screen::Screen},
    secrets::{Identity, Recipient, seal},
};

/// Encrypts all values of a Secret anew, for whoever shall be able to read it now: the machine, and those whom
/// `recipients` of the manifest names. The values stay as they are.
///
/// It needs a key that can read them: the machine's own, as root on the machine, or a recovery key.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo secret rotate db\n  piccolo secret rotate db -f secrets/db.toml --identity recovery.age"
)]
pub(super) struct Args {
    /// The name of the Secret.
    name: String,
    /// The key file that can read the values.
    #[arg(long, value_name = "FILE", env = "PICCOLO_IDENTITY", default_value = "/var/lib/piccolo/identity.age")]
    identity: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Encrypts for this machine instead of the one that answers; may be given several times.
    #[arg(long, value_name = "AGE1…")]
    recipient: Vec<Recipient>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut draft = args.place.read(&args.name, client, screen).await?;
    if draft.is_new {
        return Err(Failure::NotFound(format!("there is no Secret `{}`", args.name)));
    }
    let identity = Identity::read(&args.identity).map_err(Failure::Key)?;
    let spec = &mut draft.secret.spec;
    let recipients = recipient::all(&args.recipient, spec, client).await?;
    // All or none: half of a secret that is readable for others than the rest helps nobody.
    spec.data = anew(&spec.data, &identity, &recipients)?;
    let keys: Vec<String> = spec.data.keys().cloned().collect();
    args.place.write(draft, client).await?;
    let (name, values, readers) = (&args.name, keys.len(), recipients.len());
    screen.line(format!("secret/{name} changed: {values} value(s) encrypted for {readers} recipient(s)"))?;
    // A value that the machine could not read before is another one for it now.
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    args.place.reached(&args.reach, name, &keys, client, screen).await
}

fn anew(
    data: &BTreeMap<String, String>,
    identity: &Identity,
    recipients: &[Recipient],
) -> Result<BTreeMap<String, String>, Failure> {
    let one = |(key, armour): (&String, &String)| {
        let failed = |error: &dyn std::fmt::Display| Failure::Secret(format!("`{key}`: {error}; nothing was changed"));
        let value = identity.open(armour).map_err(|error| failed(&error))?;
        Ok((key.clone(), seal(&value, recipients).map_err(|error| failed(&error))?))
    };
    data.iter().map(one).collect()
}
