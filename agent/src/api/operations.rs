//! What there is to do over the API, and who may: the one table that the checks and the description both come from.

use axum::http::Method;
use piccolo_schema::Role;

/// What it takes to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing. Such an answer holds nothing that is worth a secret.
    Nothing,
    /// That somebody has claimed the machine, whoever asks.
    Claimed,
    /// This role.
    Role(Role),
    /// To be root on this very machine.
    Root,
}

/// One operation.
pub(super) struct Operation {
    /// The method; `GET` stands for `HEAD` as well.
    pub(super) method: &'static str,
    /// The path, with what varies in braces.
    pub(super) path: &'static str,
    /// What it takes.
    pub(super) needs: Needs,
}

const NOTHING: Needs = Needs::Nothing;
const CLAIMED: Needs = Needs::Claimed;
const READER: Needs = Needs::Role(Role::Reader);
const OPERATOR: Needs = Needs::Role(Role::Operator);
const ADMIN: Needs = Needs::Role(Role::Admin);
const ROOT: Needs = Needs::Root;

/// Every operation.
pub(super) const TABLE: &[Operation] = &[
    operation("GET", "/", NOTHING),
    operation("GET", "/livez", NOTHING),
    operation("GET", "/readyz", NOTHING),
    operation("GET", "/claim", NOTHING),
    operation("POST", "/claim", NOTHING),
    operation("GET", "/claim/key", NOTHING),
    operation("POST", "/claim/key", NOTHING),
    operation("GET", "/pairing", ROOT),
    operation("DELETE", "/pairing", ROOT),
    operation("POST", "/login", CLAIMED),
    operation("POST", "/logout", READER),
    operation("GET", "/whoami", READER),
    operation("GET", "/users", ADMIN),
    operation("POST", "/users", ADMIN),
    operation("PATCH", "/users/{name}", ADMIN),
    operation("DELETE", "/users/{name}", ADMIN),
    operation("GET", "/tokens", ADMIN),
    operation("POST", "/tokens", ADMIN),
    operation("DELETE", "/tokens/{id}", ADMIN),
    operation("GET", "/version", READER),
    operation("GET", "/api", READER),
    operation("GET", "/api/v1", READER),
    operation("GET", "/api/v1/events", READER),
    operation("GET", "/api/v1/namespaces/{namespace}/events", READER),
    operation("GET", "/apis", READER),
    operation("GET", "/apis/piccolo.os", READER),
    operation("GET", "/apis/piccolo.os/v1alpha1", READER),
    operation("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", READER),
    operation("GET", "/apis/piccolo.os/v1alpha1/{plural}", READER),
    operation("POST", "/apis/piccolo.os/v1alpha1/{plural}", OPERATOR),
    operation("GET", "/apis/piccolo.os/v1alpha1/{plural}/{name}", READER),
    operation("PUT", "/apis/piccolo.os/v1alpha1/{plural}/{name}", OPERATOR),
    operation("PATCH", "/apis/piccolo.os/v1alpha1/{plural}/{name}", OPERATOR),
    operation("DELETE", "/apis/piccolo.os/v1alpha1/{plural}/{name}", OPERATOR),
    operation("GET", "/apis/piccolo.os/v1alpha1/{plural}/{name}/status", READER),
    operation("GET", "/apis/piccolo.os/v1alpha1/{plural}/{name}/log", READER),
    operation("GET", "/apis/piccolo.os/v1alpha1/{plural}/{name}/exec", OPERATOR),
    operation("POST", "/apis/piccolo.os/v1alpha1/{plural}/{name}/rollback", OPERATOR),
    operation("GET", "/openapi.json", READER),
    operation("GET", "/openapi/v2", READER),
    operation("GET", "/openapi/v3", READER),
    operation("GET", "/openapi/v3/apis/piccolo.os/v1alpha1", READER),
    operation("GET", "/overview", READER),
    operation("GET", "/plan", READER),
    operation("GET", "/problems", READER),
    operation("POST", "/adopt", ADMIN),
    operation("GET", "/capture", ADMIN),
    operation("GET", "/disks", READER),
    operation("POST", "/disks/tickets", ADMIN),
    operation("POST", "/disks/unlock", ADMIN),
    operation("POST", "/disks/reseal", ADMIN),
    operation("POST", "/disks/recovery-key", ADMIN),
    operation("POST", "/disks/recovery-key/proof", ADMIN),
    operation("POST", "/disks/state/replace", ADMIN),
    operation("GET", "/install", READER),
    operation("POST", "/install", ADMIN),
    operation("POST", "/install/tickets", ADMIN),
    operation("GET", "/reset", READER),
    operation("POST", "/reset", ADMIN),
    operation("DELETE", "/reset", ADMIN),
    operation("POST", "/reset/tickets", ADMIN),
    operation("POST", "/confirm", OPERATOR),
    operation("POST", "/update", OPERATOR),
    operation("GET", "/history", READER),
    operation("GET", "/history/diff", READER),
    operation("POST", "/history/rollback", OPERATOR),
    operation("GET", "/images/export", OPERATOR),
    operation("POST", "/images/import", OPERATOR),
    operation("POST", "/images/prune", OPERATOR),
    operation("GET", "/audit", ADMIN),
    operation("GET", "/journal", READER),
    operation("GET", "/recipient", READER),
    operation("GET", "/metrics", READER),
    operation("GET", "/top", READER),
    operation("GET", "/net", READER),
    operation("POST", "/net/confirm", OPERATOR),
    operation("POST", "/net/retry", ADMIN),
    operation("GET", "/trust", READER),
    operation("POST", "/trust/quote", OPERATOR),
    operation("GET", "/trust/why", OPERATOR),
    // Only root puts sealed keys back that do not open any more, and only root is trusted with paths of devices: an admin
    // binds disks anew by the names of their manifests, at `/disks`.
    operation("POST", "/trust/seal", ROOT),
    operation("POST", "/trust/reseal", ROOT),
    operation("POST", "/trust/unseal", ROOT),
    operation("POST", "/trust/disks/enrol", ROOT),
    operation("POST", "/trust/disks/reseal", ROOT),
    operation("POST", "/trust/disks/recovery", ROOT),
    operation("POST", "/trust/disks/forget", ROOT),
    // A forge knows no token of ours. What it says counts for nothing, and only makes a repository be asked.
    operation("POST", "/webhooks/{source}", CLAIMED),
    operation("GET", "/git/config.git/info/refs", READER),
    operation("POST", "/git/config.git/git-upload-pack", READER),
    operation("POST", "/git/config.git/git-receive-pack", OPERATOR),
    operation("POST", "/git/hooks/pre-receive", ROOT),
    operation("POST", "/git/hooks/proc-receive", ROOT),
];

const fn operation(method: &'static str, path: &'static str, needs: Needs) -> Operation {
    Operation { method, path, needs }
}

/// Returns what a request takes, by the path of its route. What is in no table is for nobody but root; a path that leads
/// nowhere may be told of to whoever may read.
pub(super) fn needs(method: &Method, route: Option<&str>) -> Needs {
    let Some(route) = route else { return READER };
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let of_path = TABLE.iter().filter(|it| it.path == route);
    match of_path.clone().find(|it| it.method == method.as_str()) {
        Some(operation) => operation.needs,
        // The answer is that there is no such method.
        None if of_path.count() > 0 => READER,
        None => ROOT,
    }
}
