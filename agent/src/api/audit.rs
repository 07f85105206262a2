//! What calls leave behind in the audit, and how that is read.

use axum::{
    Json,
    extract::State as Extract,
    http::{Method, StatusCode},
    response::Response,
};
use piccolo_schema::{API_VERSION, Role};
use serde_json::{Value, json};

use super::{State, fault::Fault, params::Params, serve::Peer};
use crate::{
    access::{Caller, Token},
    audit::{Audit, Entry},
};

/// How many lines are told when nobody says how many.
const FEW: usize = 20;
/// The most lines that are told.
const MOST: usize = 1000;
/// The longest path that is written down.
const LONGEST: usize = 300;

/// What a route tells of a call that its path does not say, in the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Who it was after all.
    pub(super) who: Option<(String, Role)>,
    /// What it was about.
    pub(super) object: Option<String>,
}

/// A call of which a line is written.
pub(super) struct Call {
    entry: Entry,
    is_known: bool,
}

impl Call {
    /// Returns the call, if it changes something or runs a program: to look leaves nothing behind.
    pub(super) fn new(
        method: &Method,
        route: Option<&str>,
        path: &str,
        peer: Peer,
        caller: Option<&Caller>,
    ) -> Option<Self> {
        // What can be changed by a look is a program in a container; some questions are asked by POST.
        let is_question = route.is_some_and(|it| it.ends_with("/git-upload-pack") || it.ends_with("accessreviews"));
        let is_program = route.is_some_and(|it| it.ends_with("/exec"));
        if (matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !is_program) || is_question {
            return None;
        }
        let path: String = discreet(path).chars().take(LONGEST).collect();
        let entry = Entry {
            who: caller.map_or_else(|| "-".to_owned(), |it| it.name.to_string()),
            role: caller.map(|it| it.role.to_string()),
            address: match peer {
                Peer::Remote(address) => Some(address.to_string()),
                Peer::User(_) => None,
            },
            door: match caller {
                Some(caller) if caller.is_session => "browser",
                _ if path.starts_with("/git/") => "git",
                _ => "api",
            },
            object: object(&path),
            action: format!("{method} {path}"),
            ..Entry::default()
        };
        Some(Self { entry, is_known: caller.is_some() })
    }

    /// Writes down what came of it.
    pub(super) async fn ended(self, audit: &Audit, response: &mut Response) {
        let Told { who, object } = response.extensions_mut().remove().unwrap_or_default();
        let is_known = self.is_known || who.is_some();
        let mut entry = Entry { result: response.status().as_u16().to_string(), ..self.entry };
        entry.object = object.or(entry.object);
        if let Some((name, role)) = who {
            (entry.who, entry.role) = (name, Some(role.to_string()));
        }
        if is_known { audit.record(entry).await } else { audit.record_stranger(entry).await }
    }
}

/// Returns a path without what is secret in it: somebody may give a whole token where its identifier is meant.
fn discreet(path: &str) -> String {
    path.split('/').map(Token::id_in).collect::<Vec<_>>().join("/")
}

/// Returns the manifest or the user that a path is about.
fn object(path: &str) -> Option<String> {
    if let Some(name) = path.strip_prefix("/users/") {
        return Some(format!("user/{name}"));
    }
    let mut words = path.strip_prefix(super::BASE)?.trim_start_matches('/').split('/');
    let kind = piccolo_schema::Kind::from_word(words.next()?)?;
    words.next().map(|name| format!("{}/{name}", kind.singular()))
}

/// Answers with the latest lines.
pub(super) async fn show(Extract(state): Extract<State>, params: Params) -> Result<Json<Value>, Fault> {
    let limit = params.number("limit")?.unwrap_or(FEW).min(MOST);
    let lines = tokio::task::spawn_blocking(move || state.audit.latest(limit)).await;
    let unreadable = |why: String| {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", format!("the audit can't be read: {why}"))
    };
    let lines = lines.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))?;
    Ok(Json(json!({ "apiVersion": API_VERSION, "kind": "AuditList", "items": lines })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_leaves_nothing_behind_and_all_else_does() {
        let peer = Peer::User(0);
        let is_told = |method: Method, route: &str| Call::new(&method, Some(route), route, peer, None).is_some();
        for (method, route) in [
            (Method::GET, "/plan"),
            (Method::HEAD, "/plan"),
            (Method::POST, "/git/config.git/git-upload-pack"),
            (Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ] {
            assert!(!is_told(method, route), "{route}");
        }
        for (method, route) in [
            (Method::GET, "/apis/piccolo.os/v1alpha1/{plural}/{name}/exec"),
            (Method::DELETE, "/tokens/{id}"),
            (Method::POST, "/git/config.git/git-receive-pack"),
            (Method::PATCH, "/apis/piccolo.os/v1alpha1/{plural}/{name}"),
        ] {
            assert!(is_told(method, route), "{route}");
        }
        assert_eq!(discreet("/tokens/pic_4fj2k7qa_secret_sum"), "/tokens/4fj2k7qa");
        assert_eq!(discreet("/tokens/pic_4fj2k7qa-secret/pic_"), "/tokens/4fj2k7qa/");
        assert_eq!(object("/apis/piccolo.os/v1alpha1/containers/web/exec").as_deref(), Some("container/web"));
        assert_eq!(object("/users/anna").as_deref(), Some("user/anna"));
        assert_eq!((object("/plan"), object("/apis/piccolo.os/v1alpha1/containers")), (None, None));
    }
}
