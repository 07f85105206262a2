//! Who writes.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};

use piccolo_schema::Role;

use super::State;
use crate::{
    access::Caller,
    manifests::{By, Door, Who},
};

/// What the routes stand on, with the client as the author of what it writes.
pub(super) struct Authored(pub(super) State);

impl FromRequestParts<State> for Authored {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Infallible> {
        let unknown = By { door: Door::Api, who: Who::Unknown };
        let by = parts.extensions.get::<By>().cloned().unwrap_or(unknown);
        // Nobody knows who came by no door.
        let role = parts.extensions.get::<Caller>().map_or(Role::Reader, |it| it.role);
        Ok(Self(State { manifests: state.manifests.by(by).limited(role), ..state.clone() }))
    }
}
