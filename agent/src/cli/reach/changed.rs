//! What a command has changed of links, so that it is confirmed for nothing else.

use std::{collections::BTreeSet, net::IpAddr};

use piccolo_schema::Manifest;
use serde_json::Value;

use crate::cli::client::Answer;

/// The most addresses besides that of the context at which the machine is looked for.
const PLACES: usize = 8;

/// What a command has changed of links.
#[derive(Debug, Default)]
pub(in crate::cli) struct Changed {
    /// The Links that were written.
    pub(super) links: BTreeSet<String>,
    /// Those of them of which the machine said that they are tried.
    pub(super) tried: BTreeSet<String>,
    /// Where the machine may be from now on.
    pub(super) addresses: Vec<IpAddr>,
}

impl Changed {
    /// Takes in that a Link was written or removed.
    pub(in crate::cli) fn link(&mut self, name: &str, text: Option<&str>, answer: &Answer) {
        self.links.insert(name.to_owned());
        if let Some(Ok(Manifest::Link(link))) = text.map(piccolo_schema::parse::parse) {
            let ips = link.spec.addresses.iter().filter_map(|it| it.split('/').next()?.parse::<IpAddr>().ok());
            self.addresses.extend(ips.take(PLACES - self.addresses.len().min(PLACES)));
        }
        self.answer(answer);
    }

    /// Takes in that a value of a Secret was written, on which these objects of Links may stand.
    pub(in crate::cli) fn secret(&mut self, name: &str, key: &str, links: &Value) {
        let is_meant = |from: &Value| from["secret"] == name && from["key"] == key;
        let all = links["items"].as_array().into_iter().flatten();
        let theirs = all.filter(|it| {
            let spec = &it["spec"];
            is_meant(&spec["wifi"]["psk"]) || is_meant(&spec["wireguard"]["privateKey"])
        });
        self.links.extend(theirs.filter_map(|it| it["metadata"]["name"].as_str()).map(str::to_owned));
    }

    /// Takes in which Links the machine says are tried.
    pub(in crate::cli) fn answer(&mut self, answer: &Answer) {
        self.tried.extend(answer.links.iter().cloned());
        self.links.extend(answer.links.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_are_known_by_the_value_that_they_stand_on() {
        let from = |key: &str| json!({ "secret": "net", "key": key });
        let link = |name: &str, spec: Value| json!({ "metadata": { "name": name }, "spec": spec });
        let links = json!({ "items": [
            link("air", json!({ "wifi": { "psk": from("one") } })),
            link("vpn", json!({ "wireguard": { "privateKey": from("one") } })),
            link("other", json!({ "wireguard": { "privateKey": from("two") } })),
            link("lan", json!({ "dhcp4": true })),
        ] });
        let mut changed = Changed::default();
        changed.secret("net", "one", &links);
        assert_eq!(changed.links.iter().map(String::as_str).collect::<Vec<_>>(), ["air", "vpn"]);
        changed.secret("other", "two", &links);
        assert_eq!(changed.links.len(), 2);
    }
}
