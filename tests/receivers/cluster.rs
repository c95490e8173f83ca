//! What a cluster of Elasticsearch or OpenSearch says of itself, and its index templates and lifecycle policies.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Received, Reply};

/// The parts of an index template; others are refused.
const TEMPLATE_KEYS: [&str; 5] = ["index_patterns", "priority", "template", "data_stream", "_meta"];

/// A cluster without documents.
#[derive(Debug)]
pub struct Cluster {
    version: Value,
    has_policies: bool,
    templates: BTreeMap<String, Value>,
    policies: BTreeMap<String, Policy>,
}

#[derive(Debug)]
struct Policy {
    /// Which change of the cluster made it what it is.
    number: u64,
    body: Value,
}

impl Default for Cluster {
    fn default() -> Self {
        let version = json!({ "number": "8.17.1", "build_flavor": "default" });
        Self { version, has_policies: true, templates: BTreeMap::new(), policies: BTreeMap::new() }
    }
}

impl Cluster {
    /// `version`: as it stands in the answer to `GET /`. `has_policies`: whether Index Lifecycle or State Management is there.
    pub fn new(version: Value, has_policies: bool) -> Self {
        Self { version, has_policies, ..Self::default() }
    }

    /// The index template of this name.
    pub fn template(&self, name: &str) -> Option<&Value> {
        self.templates.get(name)
    }

    /// The policy of this name.
    pub fn policy(&self, name: &str) -> Option<&Value> {
        self.policies.get(name).map(|policy| &policy.body)
    }

    /// `None`: it is about something else.
    pub(super) fn reply(&mut self, request: &Received) -> Option<Reply> {
        let (path, query) = request.path.split_once('?').unwrap_or((request.path.as_str(), ""));
        let is_open = self.version["distribution"] == "opensearch";
        let (folder, name) = path.rsplit_once('/')?;
        match (request.method.as_str(), folder) {
            ("GET", "") if name.is_empty() => Some(Reply::json(200, &json!({ "version": self.version }))),
            ("GET", "/_index_template") => Some(self.show_template(name)),
            ("PUT", "/_index_template") => Some(self.put_template(name, request.json())),
            ("PUT", "/_ilm/policy") if self.has_policies && !is_open => Some(self.put_policy(name, request.json())),
            ("GET", "/_plugins/_ism/policies") if self.has_policies && is_open => Some(self.show_policy(name)),
            ("PUT", "/_plugins/_ism/policies") if self.has_policies && is_open => {
                Some(self.replace_policy(name, query, request.json()))
            }
            (method, "/_ilm/policy" | "/_plugins/_ism/policies") => {
                let error = format!("no handler found for uri [{path}] and method [{method}]");
                Some(Reply::json(400, &json!({ "error": error })))
            }
            _ => None,
        }
    }

    fn show_template(&self, name: &str) -> Reply {
        match self.templates.get(name) {
            Some(body) => Reply::json(200, &json!({ "index_templates": [{ "name": name, "index_template": body }] })),
            None => Reply::json(404, &json!({ "error": { "type": "resource_not_found_exception" }, "status": 404 })),
        }
    }

    fn put_template(&mut self, name: &str, body: Value) -> Reply {
        let is_known = |key: &String| TEMPLATE_KEYS.contains(&key.as_str());
        let is_good =
            body.as_object().is_some_and(|body| body.keys().all(is_known)) && body["index_patterns"].is_array();
        if !is_good {
            let reason = "[1:1] [index_template] unknown field or no [index_patterns]";
            let error = json!({ "type": "x_content_parse_exception", "reason": reason });
            return Reply::json(400, &json!({ "error": error, "status": 400 }));
        }
        self.templates.insert(name.to_owned(), body);
        Reply::json(200, &json!({ "acknowledged": true }))
    }

    fn show_policy(&self, name: &str) -> Reply {
        match self.policies.get(name) {
            Some(policy) => {
                let body = json!({ "_id": name, "_seq_no": policy.number, "_primary_term": 1, "policy": policy.body });
                Reply::json(200, &body)
            }
            None => Reply::json(404, &json!({ "error": { "type": "status_exception", "reason": "Policy not found" } })),
        }
    }

    /// Who replaces one has to say which.
    fn replace_policy(&mut self, name: &str, query: &str, body: Value) -> Reply {
        let expected = self.policies.get(name).map(|policy| format!("if_seq_no={}&if_primary_term=1", policy.number));
        if query != expected.unwrap_or_default() {
            let error = json!({ "type": "version_conflict_engine_exception", "reason": "document already exists" });
            return Reply::json(409, &json!({ "error": error, "status": 409 }));
        }
        self.put_policy(name, body)
    }

    fn put_policy(&mut self, name: &str, body: Value) -> Reply {
        let number = self.policies.values().map(|policy| policy.number + 1).max().unwrap_or(7);
        self.policies.insert(name.to_owned(), Policy { number, body });
        Reply::json(200, &json!({ "acknowledged": true }))
    }
}
