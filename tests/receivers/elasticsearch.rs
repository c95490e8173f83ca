//! `_bulk` of Elasticsearch: `create` under an id, a mapping that grows by the first document's types and refuses what does
//! not fit (but for the one field that the template flattens), a status per item, and gzip.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::{Cluster, Received, Reply, Service};

/// Keeps documents.
#[derive(Debug, Default)]
pub struct ElasticsearchService {
    cluster: Cluster,
    documents: Vec<Document>,
    /// Index and path → kind.
    mapping: BTreeMap<(String, String), Kind>,
}

/// A document that was created.
#[derive(Debug, Clone)]
pub struct Document {
    pub index: String,
    pub id: String,
    pub source: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Text,
    Number,
    Boolean,
}

/// As the index template has it: one field, whatever is in it.
const FLATTENED: &str = "/falco/output_fields";

/// The most that is unpacked of a body.
const BODY_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// An item's status and, where it failed, the error's type.
type ItemError = (u16, &'static str);

impl ElasticsearchService {
    /// What it is, with its templates and policies.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn set_cluster(&mut self, cluster: Cluster) {
        self.cluster = cluster;
    }

    /// In the order of their creation.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    fn create(&mut self, action: &str, source: &str) -> Result<(), ItemError> {
        let action: Value = serde_json::from_str(action).unwrap_or_default();
        let text = |key: &str| action["create"][key].as_str().map(str::to_owned);
        let (Some(index), Some(id)) = (text("_index"), text("_id")) else {
            return Err((400, "illegal_argument_exception"));
        };
        if index.chars().any(|character| character.is_uppercase() || " \"*\\<|,>/?#".contains(character)) {
            return Err((400, "invalid_index_name_exception"));
        }
        let source: Value = serde_json::from_str(source).map_err(|_cause| (400, "document_parsing_exception"))?;
        if self.documents.iter().any(|document| document.index == index && document.id == id) {
            return Err((409, "version_conflict_engine_exception"));
        }
        if !source.is_object() || !source["@timestamp"].is_string() {
            return Err((400, "document_parsing_exception"));
        }
        self.map(&index, "", &source)?;
        self.documents.push(Document { index, id, source });
        Ok(())
    }

    /// A dot in a name opens an object, as if it had been written so.
    fn map(&mut self, index: &str, path: &str, value: &Value) -> Result<(), ItemError> {
        let kind = match value {
            Value::Null => return Ok(()),
            Value::Array(list) => return list.iter().try_for_each(|value| self.map(index, path, value)),
            Value::Object(_) => Kind::Object,
            Value::String(_) => Kind::Text,
            Value::Number(_) => Kind::Number,
            Value::Bool(_) => Kind::Boolean,
        };
        if path == FLATTENED && kind == Kind::Object {
            return Ok(());
        }
        self.claim(index, path, kind, value)?;
        for (name, value) in value.as_object().into_iter().flatten() {
            let mut below = path.to_owned();
            for (number, part) in name.split('.').enumerate() {
                if part.is_empty() {
                    return Err((400, "document_parsing_exception"));
                }
                if number > 0 {
                    self.claim(index, &below, Kind::Object, value)?;
                }
                below = format!("{below}/{part}");
            }
            self.map(index, &below, value)?;
        }
        Ok(())
    }

    /// The first document decides a path's kind. A text field takes any scalar, a number also digits in a string.
    fn claim(&mut self, index: &str, path: &str, kind: Kind, value: &Value) -> Result<(), ItemError> {
        let known = *self.mapping.entry((index.to_owned(), path.to_owned())).or_insert(kind);
        let fits = match known {
            Kind::Object => kind == Kind::Object,
            Kind::Text => kind != Kind::Object,
            Kind::Number => kind == Kind::Number || value.as_str().is_some_and(|text| text.parse::<f64>().is_ok()),
            Kind::Boolean => kind == Kind::Boolean || matches!(value.as_str(), Some("true" | "false" | "")),
        };
        if fits { Ok(()) } else { Err((400, "document_parsing_exception")) }
    }
}

impl Service for ElasticsearchService {
    /// The cluster's address; the client adds `_bulk`.
    const PATH: &'static str = "/";

    fn reply(&mut self, request: &Received) -> Reply {
        if let Some(reply) = self.cluster.reply(request) {
            return reply;
        }
        if request.method != "POST" || request.path.split('?').next() != Some("/_bulk") {
            return Reply::json(405, &error(405, "method_not_allowed"));
        }
        if !matches!(request.header("content-type"), "application/x-ndjson" | "application/json") {
            return Reply::json(406, &error(406, "media_type_header_exception"));
        }
        let Some(body) = unpacked(request) else { return Reply::json(400, &error(400, "not_x_content_exception")) };
        let lines: Vec<_> = body.lines().collect();
        if !body.ends_with('\n') || lines.len() % 2 != 0 || lines.is_empty() {
            return Reply::json(400, &error(400, "illegal_argument_exception"));
        }
        let items: Vec<_> = lines.chunks_exact(2).map(|pair| item(self.create(pair[0], pair[1]))).collect();
        let has_errors = items.iter().any(|item| item["create"].get("error").is_some());
        Reply::json(200, &json!({ "took": 1, "errors": has_errors, "items": items }))
    }
}

fn unpacked(request: &Received) -> Option<String> {
    let mut body = String::new();
    match request.header("content-encoding") {
        "gzip" => GzDecoder::new(&*request.body).take(BODY_BYTES_MAX).read_to_string(&mut body).ok()?,
        _ => (&*request.body).read_to_string(&mut body).ok()?,
    };
    Some(body)
}

fn error(status: u16, kind: &str) -> Value {
    json!({ "error": { "type": kind, "reason": kind }, "status": status })
}

fn item(result: Result<(), ItemError>) -> Value {
    match result {
        Ok(()) => json!({ "create": { "status": 201, "result": "created" } }),
        Err((status, kind)) => json!({ "create": { "status": status, "error": { "type": kind, "reason": kind } } }),
    }
}
