//! Who writes.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};

use super::State;
use crate::manifests::{By, Door, Who};

/// What the routes stand on, with the client as the author of what it writes.
pub(super) struct Authored(pub(super) State);

impl FromRequestParts<State> for Authored {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Infallible> {
        let unknown = By { door: Door::Api, who: Who::Unknown };
        let by = parts.extensions.get::<By>().cloned().unwrap_or(unknown);
        Ok(Self(State { manifests: state.manifests.by(by), ..state.clone() }))
    }
}
