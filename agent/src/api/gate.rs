//! Who asks, and whether they may.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State as Extract},
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use piccolo_schema::Role;
use tokio_util::sync::CancellationToken;

use super::{
    audit::Call,
    fault::Fault,
    guard,
    operations::{self, Needs},
    proof,
    serve::Peer,
    stream::Ending,
};
use crate::{
    access::{Access, Caller, Scope},
    audit::Audit,
    manifests::{By, Door, Who},
};

/// The one path that a token for figures leads to.
const METRICS: &str = "/metrics";
/// How a client may prove itself: git and browsers know the second one only.
const CHALLENGES: [&str; 2] = ["Bearer realm=\"piccolo\"", "Basic realm=\"piccolo\", charset=\"UTF-8\""];

/// Lets in who may do what is asked for, and tells the routes who it is.
/// What changes something is written down, also when it is refused.
pub(super) async fn check(
    Extract((access, audit)): Extract<(Arc<Access>, Audit)>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|it| it.as_str().to_owned());
    let needs = operations::needs(request.method(), route.as_deref());
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return Fault::new(StatusCode::FORBIDDEN, "Forbidden", "it is not known who asks").into_response();
    };
    let caller = match peer {
        Peer::User(user) => Some(neighbour(user)),
        Peer::Remote(_) => proof::caller(request.headers(), route.as_deref(), &access),
    };
    let (method, path) = (request.method(), request.uri().path());
    let call = Call::new(method, route.as_deref(), path, peer, caller.as_ref());
    let allowed = allow(needs, peer, caller.as_ref(), access.is_claimed(), route.as_deref());
    let is_session = caller.as_ref().is_some_and(|it| it.is_session);
    let allowed = allowed.and_then(|()| if is_session { guard::of_own_page(&request) } else { Ok(()) });
    if let Err(fault) = allowed {
        let is_page = proof::is_page(request.headers());
        return told(call, &audit, challenge(fault, is_page)).await;
    }
    if let Some(caller) = caller {
        let who = match peer {
            Peer::User(user) => Who::User(user),
            Peer::Remote(_) => Who::Named(Arc::clone(&caller.name)),
        };
        if let Some(ending) = request.extensions_mut().get_mut::<Ending>() {
            *ending = ending.of(caller.ended.clone());
        }
        request.extensions_mut().insert(By { door: Door::Api, who });
        request.extensions_mut().insert(caller);
    }
    let mut response = next.run(request).await;
    if is_session {
        // What a browser keeps, whoever sits there next may find.
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    told(call, &audit, response).await
}

async fn told(call: Option<Call>, audit: &Audit, mut response: Response) -> Response {
    if let Some(call) = call {
        call.ended(audit, &mut response).await;
    }
    response
}

/// Says why somebody may not do this, if so. Pure.
fn allow(
    needs: Needs,
    peer: Peer,
    caller: Option<&Caller>,
    is_claimed: bool,
    route: Option<&str>,
) -> Result<(), Fault> {
    let is_remote = matches!(peer, Peer::Remote(_));
    if is_remote && !is_claimed && needs != Needs::Nothing {
        let fault = Fault::new(StatusCode::FORBIDDEN, "Unclaimed", "nobody has claimed this machine yet");
        return Err(fault.help("its screen shows a code: `piccolo claim HOST`"));
    }
    let needed = match needs {
        Needs::Nothing | Needs::Claimed => return Ok(()),
        Needs::Root if is_remote => {
            let fault = Fault::new(StatusCode::FORBIDDEN, "Forbidden", "this is for root on the machine itself");
            return Err(fault.help("log in there, or use its console"));
        }
        Needs::Root => Role::Admin,
        Needs::Role(role) => role,
    };
    let Some(caller) = caller else {
        let fault = Fault::new(StatusCode::UNAUTHORIZED, "Unauthorized", "this takes a token that holds");
        return Err(fault.help("`piccolo claim HOST` gets the first one, `piccolo token create` more"));
    };
    if caller.scope == Scope::Metrics && route != Some(METRICS) {
        let detail = format!("the token `{}` is for {METRICS} alone", caller.name);
        return Err(Fault::new(StatusCode::FORBIDDEN, "Forbidden", detail));
    }
    if caller.role < needed {
        let detail = format!("this takes the role {needed}, and `{}` has the role {}", caller.name, caller.role);
        return Err(Fault::new(StatusCode::FORBIDDEN, "Forbidden", detail));
    }
    Ok(())
}

/// A program on this machine: the socket is for root, who may all, and its group, who may look.
fn neighbour(user: u32) -> Caller {
    let is_root = user == 0 || user == rustix::process::geteuid().as_raw();
    Caller {
        name: format!("uid {user}").into(),
        role: if is_root { Role::Admin } else { Role::Reader },
        scope: Scope::All,
        is_session: false,
        ended: CancellationToken::new(),
    }
}

/// Says how to prove oneself. A page of ours has its own way, and a browser would ask for a password over it.
fn challenge(fault: Fault, is_page: bool) -> Response {
    let is_told = fault.status == StatusCode::UNAUTHORIZED && !is_page;
    let mut response = fault.into_response();
    for scheme in CHALLENGES.into_iter().filter(|_| is_told) {
        response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

/// The address that a request came from, none if it is this machine's own socket.
pub(super) struct From(pub(super) Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(match parts.extensions.get() {
            Some(Peer::Remote(address)) => Some(*address),
            _ => None,
        }))
    }
}
