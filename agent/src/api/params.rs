//! The parameters behind the question mark.

use std::{collections::BTreeMap, convert::Infallible, str::FromStr, time::Duration};

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};

use piccolo_schema::duration;

use super::fault::Fault;

/// The shortest time in which anybody can confirm a change.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest that a change waits for its confirmation.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The parameters of a request. Unknown ones are ignored, as the Kubernetes API does.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Returns a parameter that is there and not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns true if the parameter is there and says yes.
    pub(super) fn flag(&self, key: &str) -> Result<bool, Fault> {
        match self.0.get(key).map(String::as_str) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(Fault::bad_request(format!("{key} is true or false, not `{other}`"))),
        }
    }

    /// Returns a parameter that is a number.
    pub(super) fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, Fault> {
        let refuse = |value| Fault::bad_request(format!("{key} is a whole number, not `{value}`"));
        self.text(key).map(|value| value.parse().map_err(|_| refuse(value))).transpose()
    }

    /// Returns how long a write waits for its confirmation, none if it needs none.
    pub(super) fn confirm_within(&self) -> Result<Option<Duration>, Fault> {
        self.text("confirmWithin").map(|text| within("confirmWithin", text)).transpose()
    }

    /// Returns true if nothing shall be written.
    pub(super) fn dry_run(&self) -> Result<bool, Fault> {
        match self.text("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(Fault::bad_request(format!("dryRun is `All` or absent, not `{other}`"))),
        }
    }
}

/// Reads how long a write waits for its confirmation.
pub(super) fn within(key: &str, text: &str) -> Result<Duration, Fault> {
    let within = text.parse::<duration::Duration>().map(duration::Duration::get);
    let refuse = || Fault::bad_request(format!("{key} is a time like `120s`, from 1s to 24h, not `{text}`"));
    within.ok().filter(|within| (SHORTEST..=LONGEST).contains(within)).ok_or_else(refuse)
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        // Pairs of text can be read from any query: what is not UTF-8 is replaced, and then named in the answer.
        Ok(Query::try_from_uri(&parts.uri).map(|Query(pairs)| Self(pairs)).unwrap_or_default())
    }
}
