//! Whom to encrypt for.

use piccolo_schema::SecretSpec;

use crate::{
    cli::{client::Client, failure::Failure},
    secrets::Recipient,
};

/// Asks the daemon for its recipient.
pub(super) async fn of_machine(client: &Client) -> Result<Recipient, Failure> {
    let answer = client.get("/recipient").await?;
    answer["recipient"].as_str().unwrap_or_default().parse().map_err(Failure::Secret)
}

/// Returns everybody who shall be able to read a secret: the machine, or who is given in its place, and those whom the
/// manifest names.
pub(super) async fn all(given: &[Recipient], spec: &SecretSpec, client: &Client) -> Result<Vec<Recipient>, Failure> {
    let mut all = given.to_vec();
    if all.is_empty() {
        all.push(of_machine(client).await?);
    }
    for text in &spec.recipients {
        let named: Recipient =
            text.parse().map_err(|error| Failure::Secret(format!("in `recipients` of the manifest {error}")))?;
        if !all.contains(&named) {
            all.push(named);
        }
    }
    Ok(all)
}
