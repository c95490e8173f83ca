//! `tercel-router elasticsearch setup`: asks the server what it is, and installs the index template and, where the server
//! has such a thing, the policy that deletes what is old.
//!
//! Both may be installed again at any time. A template of that name that is somebody else's is left alone.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::nodes::Refusal;
use super::server::{OutputFields, Product, Server};
use super::template::{index_template, policy};
use super::{DATE, Elasticsearch};
use crate::render::{truncate, visible};

/// What is read of an answer; a policy or template of ours is far smaller.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// One request: a change of the cluster's state waits for all that were asked for before, and a person for it.
const TIMEOUT: Duration = Duration::from_mins(1);

/// What is repeated of the server's own explanation, for the person who sets it up.
const EXPLANATION_CHARS_MAX: usize = 1_000;

/// What is asked for beside the destination's own settings.
#[derive(Debug, Clone, Copy)]
pub struct SetupOptions {
    /// Days after which a document may be deleted; `None`: never.
    pub retention_days: Option<u32>,
    /// Primary shards of each index.
    pub shards: u32,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug)]
pub struct SetupReport {
    /// In words, one a line.
    pub steps: Vec<String>,
    /// What was sent, or would be: path and body.
    pub sent: Vec<(String, Value)>,
}

/// Why it was not set up. What was done before stays.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(String);

/// What the policy and the template are called, and what they are for.
pub(super) struct Names {
    pub(super) name: String,
    /// Of the indices.
    pub(super) pattern: String,
    pub(super) is_data_stream: bool,
}

impl Names {
    /// `tercel-{date}` → `tercel` for `tercel-*`.
    pub(super) fn of(target: &str, is_data_stream: bool) -> Self {
        let name = target.replace(DATE, "");
        let name = name.trim_matches(|character: char| !character.is_ascii_alphanumeric());
        let name = if name.is_empty() { "tercel" } else { name };
        Self { name: name.to_owned(), pattern: target.replace(DATE, "*"), is_data_stream }
    }
}

impl Elasticsearch {
    /// # Errors
    /// The server cannot be asked, is too old, refuses, or needs another setting of the destination.
    pub(in super::super) async fn setup(&self, options: &SetupOptions) -> Result<SetupReport, SetupError> {
        let names = Names::of(&self.target.name, self.target.is_data_stream);
        let server = self.server().await?;
        server.check(names.is_data_stream).map_err(SetupError)?;
        let fields = server.output_fields();
        if fields == OutputFields::Kept && !self.target.key_values {
            return Err(SetupError(format!(
                "{server} has neither `flattened` nor `flat_object`, so output fields could not be searched; set `key_values \
                 = true` in this destination's table"
            )));
        }
        let mut report = SetupReport { steps: vec![server.to_string()], sent: Vec::new() };
        let has_policy = self.put_policy(&server, &names, options, &mut report).await?;
        self.put_template(&server, &names, options, has_policy, &mut report).await?;
        report.steps.push(format!("output fields: {fields}"));
        Ok(report)
    }

    async fn server(&self) -> Result<Server, SetupError> {
        let answer = self
            .call(Method::GET, "", None)
            .await
            .map_err(|refusal| refused("the server cannot be asked what it is", refusal))?;
        Server::parse(&answer).map_err(SetupError)
    }

    /// True: the server has it now.
    async fn put_policy(
        &self,
        server: &Server,
        names: &Names,
        options: &SetupOptions,
        report: &mut SetupReport,
    ) -> Result<bool, SetupError> {
        let name = &names.name;
        let Some(days) = options.retention_days else {
            report.steps.push(format!("lifecycle policy `{name}`: none, since nothing is to be deleted"));
            return Ok(false);
        };
        let path = match server.product {
            Product::Elasticsearch => format!("_ilm/policy/{name}"),
            Product::OpenSearch => format!("_plugins/_ism/policies/{name}"),
        };
        let body = policy(server, names, days);
        report.sent.push((path.clone(), body.clone()));
        if options.dry_run {
            report
                .steps
                .push(format!("lifecycle policy `{name}`: would be installed, where this server has such policies"));
            return Ok(server.product == Product::Elasticsearch);
        }
        let sent = match self.known_policy(server, &path).await {
            Ok(query) => self.call_with(Method::PUT, &path, &query, Some(&body)).await,
            Err(refusal) => Err(refusal),
        };
        match sent {
            Ok(_) => {
                report.steps.push(format!("lifecycle policy `{name}`: installed, deletes after {days} days"));
                Ok(true)
            }
            Err(refusal) if is_unknown_api(&refusal) => {
                report.steps.push(format!(
                    "lifecycle policy `{name}`: not installed, this server has no such policies; old indices stay until \
                     somebody deletes them"
                ));
                Ok(false)
            }
            Err(refusal) => Err(refused(&format!("the lifecycle policy `{name}` was not taken"), refusal)),
        }
    }

    /// What a request has to say that replaces a policy: OpenSearch wants to hear which version it replaces.
    async fn known_policy(&self, server: &Server, path: &str) -> Result<Vec<(&'static str, String)>, Refusal> {
        if server.product == Product::Elasticsearch {
            return Ok(Vec::new());
        }
        match self.call(Method::GET, path, None).await {
            Ok(known) => {
                let number = |key: &str| known.get(key).map(Value::to_string).unwrap_or_default();
                Ok(vec![("if_seq_no", number("_seq_no")), ("if_primary_term", number("_primary_term"))])
            }
            Err(refusal) if refusal.status == Some(StatusCode::NOT_FOUND) && !is_unknown_api(&refusal) => {
                Ok(Vec::new())
            }
            Err(refusal) => Err(refusal),
        }
    }

    async fn put_template(
        &self,
        server: &Server,
        names: &Names,
        options: &SetupOptions,
        has_policy: bool,
        report: &mut SetupReport,
    ) -> Result<(), SetupError> {
        let Names { name, pattern, .. } = names;
        let path = format!("_index_template/{name}");
        let body = index_template(server, names, options.shards, has_policy);
        report.sent.push((path.clone(), body.clone()));
        if options.dry_run {
            report.steps.push(format!("index template `{name}` for `{pattern}`: would be installed"));
            return Ok(());
        }
        match self.call(Method::GET, &path, None).await {
            Ok(known) if !is_ours(&known) => {
                return Err(SetupError(format!(
                    "the index template `{name}` is there and not Tercel's; choose another index name, or delete the template"
                )));
            }
            Err(refusal) if refusal.status != Some(StatusCode::NOT_FOUND) => {
                return Err(refused(&format!("cannot see whether there is an index template `{name}`"), refusal));
            }
            Ok(_) | Err(_) => {}
        }
        self.call(Method::PUT, &path, Some(&body))
            .await
            .map_err(|refusal| refused(&format!("the index template `{name}` was not taken"), refusal))?;
        report.steps.push(format!(
            "index template `{name}` for `{pattern}`: installed; indices that are there stay as they are"
        ));
        Ok(())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Refusal> {
        self.call_with(method, path, &[], body).await
    }

    async fn call_with(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        body: Option<&Value>,
    ) -> Result<Value, Refusal> {
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = |url| {
            let request = self.login.on(self.client.request(method.clone(), url)).timeout(TIMEOUT);
            match body {
                Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
                None => request,
            }
        };
        let answer = self.nodes.ask(path, &query, request, ANSWER_BYTES_MAX).await?;
        // What is no JSON says nothing that is looked for.
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }
}

/// With the server's reason, which may speak of anything that was sent: no secret is in a body.
fn refused(what: &str, Refusal { error, answer, .. }: Refusal) -> SetupError {
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let reason = answer.pointer("/error/reason").or_else(|| answer.get("error")).and_then(Value::as_str);
    let reason = reason.map(|reason| format!(": {}", truncate(&visible(reason), EXPLANATION_CHARS_MAX)));
    SetupError(format!("{what}: {error}{}", reason.unwrap_or_default()))
}

/// Whether the server has no such address at all: it lacks the plugin, or has the feature switched off.
fn is_unknown_api(Refusal { status, answer, .. }: &Refusal) -> bool {
    let says_so = || String::from_utf8_lossy(answer).contains("no handler found");
    match *status {
        Some(StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE) => true,
        Some(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => says_so(),
        _ => false,
    }
}

fn is_ours(known: &Value) -> bool {
    let templates = known.get("index_templates").and_then(Value::as_array);
    let managed_by = |template: &Value| template.pointer("/index_template/_meta/managed_by").cloned();
    templates.is_none_or(|templates| templates.iter().all(|template| managed_by(template) == Some(json!("tercel"))))
}

impl Display for SetupReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.steps.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_named_after_the_index_without_its_date() {
        for (index, name, pattern) in [
            ("tercel-{date}", "tercel", "tercel-*"),
            ("alerts-{date}-eu", "alerts--eu", "alerts-*-eu"),
            ("tercel", "tercel", "tercel"),
        ] {
            let names = Names::of(index, false);
            assert_eq!((names.name.as_str(), names.pattern.as_str()), (name, pattern));
        }
    }

    #[test]
    fn a_template_of_somebody_else_is_told_from_ours() {
        let known = |meta: Value| json!({ "index_templates": [{ "name": "t", "index_template": { "_meta": meta } }] });
        assert!(is_ours(&known(json!({ "managed_by": "tercel" }))));
        assert!(!is_ours(&known(json!({ "managed_by": "fleet" }))) && !is_ours(&known(Value::Null)));
    }
}
