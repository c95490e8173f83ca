//! The index template and the policy, as the servers take them.

use serde_json::{Map, Value, json};

use super::fields::{FIELDS, Kind, VALUE_CHARS_MAX};
use super::server::{OutputFields, Product, Server};
use super::setup::Names;

/// Before the templates that servers bring for names such as `logs-*-*`.
const PRIORITY: u32 = 500;

/// When a data stream begins its next index.
const ROLLOVER_AGE: &str = "7d";
const ROLLOVER_SIZE: &str = "25gb";

/// Fields beside those of [`FIELDS`], with their type.
const OWN_FIELDS: [(&str, &str); 33] = [
    ("@timestamp", "date"),
    ("message", "text"),
    ("tags", "keyword"),
    ("ecs.version", "keyword"),
    ("event.id", "keyword"),
    ("event.kind", "keyword"),
    ("event.module", "keyword"),
    ("event.dataset", "keyword"),
    ("event.provider", "keyword"),
    ("event.severity", "long"),
    ("log.level", "keyword"),
    ("rule.name", "keyword"),
    ("host.name", "keyword"),
    ("threat.framework", "keyword"),
    ("threat.tactic.id", "keyword"),
    ("threat.tactic.name", "keyword"),
    ("threat.technique.id", "keyword"),
    ("threat.technique.subtechnique.id", "keyword"),
    ("orchestrator.type", "keyword"),
    ("orchestrator.resource.type", "keyword"),
    ("falco.uuid", "keyword"),
    ("falco.original_uuid", "keyword"),
    ("falco.time", "date"),
    ("falco.rule", "keyword"),
    ("falco.priority", "keyword"),
    ("falco.source", "keyword"),
    ("falco.hostname", "keyword"),
    ("falco.tags", "keyword"),
    ("falco.key_values", "keyword"),
    ("tercel.kind", "keyword"),
    ("tercel.route", "keyword"),
    ("tercel.count", "long"),
    ("tercel.repeats", "long"),
];

pub(super) fn index_template(server: &Server, names: &Names, shards: u32, has_policy: bool) -> Value {
    let mut template = json!({
        "index_patterns": [names.pattern],
        "priority": PRIORITY,
        "template": { "settings": settings(server, names, shards, has_policy), "mappings": mappings(server.output_fields()) },
        "_meta": { "managed_by": "tercel", "version": env!("CARGO_PKG_VERSION") },
    });
    if names.is_data_stream {
        template["data_stream"] = json!({});
    }
    template
}

fn settings(server: &Server, names: &Names, shards: u32, has_policy: bool) -> Value {
    let mut settings = Map::new();
    if server.takes_shards() {
        settings.insert("index.number_of_shards".to_owned(), shards.into());
        // A copy where there is a second node to hold it.
        settings.insert("index.auto_expand_replicas".to_owned(), "0-1".into());
    }
    // OpenSearch's policies say themselves what they are for.
    if has_policy && server.product == Product::Elasticsearch {
        settings.insert("index.lifecycle.name".to_owned(), names.name.clone().into());
    }
    settings.into()
}

/// `dynamic: false`: what is not named here is kept and not indexed, so that no document adds a field.
fn mappings(output_fields: OutputFields) -> Value {
    let mut mappings = json!({ "dynamic": false, "properties": {} });
    for (name, kind) in OWN_FIELDS {
        put(&mut mappings, name, by_name(kind));
    }
    for field in &FIELDS {
        put(&mut mappings, field.name, of_kind(field.kind));
    }
    put(&mut mappings, "falco.output", json!({ "type": "text", "index": false }));
    put(
        &mut mappings,
        "falco.output_fields",
        match output_fields {
            OutputFields::Flattened => json!({ "type": "flattened", "ignore_above": VALUE_CHARS_MAX }),
            OutputFields::FlatObject => json!({ "type": "flat_object" }),
            OutputFields::Kept => json!({ "type": "object", "enabled": false }),
        },
    );
    mappings
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Keyword | Kind::Path => by_name("keyword"),
        Kind::Text => {
            json!({ "type": "keyword", "ignore_above": VALUE_CHARS_MAX, "fields": { "text": { "type": "text" } } })
        }
        Kind::Long => by_name("long"),
        Kind::Ip => by_name("ip"),
    }
}

/// Keywords hold at most what a document's values are cut to, with a name and `=` before it in `falco.key_values`.
fn by_name(kind: &str) -> Value {
    match kind {
        "keyword" => json!({ "type": kind, "ignore_above": 2 * VALUE_CHARS_MAX - 1 }),
        kind => json!({ "type": kind }),
    }
}

fn put(mappings: &mut Value, name: &str, mapping: Value) {
    let mut place = mappings;
    for part in name.split('.') {
        place = &mut place["properties"][part];
    }
    *place = mapping;
}

/// Deletes what is older than so many days; a data stream begins a new index from time to time, so that there is something to
/// delete.
pub(super) fn policy(server: &Server, names: &Names, days: u32) -> Value {
    match server.product {
        Product::Elasticsearch => lifecycle_policy(server, names.is_data_stream, days),
        Product::OpenSearch => state_policy(names, days),
    }
}

/// Index Lifecycle Management.
fn lifecycle_policy(server: &Server, is_data_stream: bool, days: u32) -> Value {
    // Newer servers warn of the one, older ones do not know the other.
    let size = if server.version >= (7, 13) { "max_primary_shard_size" } else { "max_size" };
    let actions = if is_data_stream {
        json!({ "rollover": { "max_age": ROLLOVER_AGE, size: ROLLOVER_SIZE } })
    } else {
        json!({})
    };
    json!({ "policy": { "phases": {
        "hot": { "min_age": "0ms", "actions": actions },
        "delete": { "min_age": format!("{days}d"), "actions": { "delete": {} } },
    } } })
}

/// Index State Management.
fn state_policy(names: &Names, days: u32) -> Value {
    let actions = if names.is_data_stream {
        json!([{ "rollover": { "min_index_age": ROLLOVER_AGE, "min_size": ROLLOVER_SIZE } }])
    } else {
        json!([])
    };
    let transition = json!({ "state_name": "delete", "conditions": { "min_index_age": format!("{days}d") } });
    json!({ "policy": {
        "description": "Tercel's alerts: deletes what is old",
        "default_state": "hot",
        "states": [
            { "name": "hot", "actions": actions, "transitions": [transition] },
            { "name": "delete", "actions": [{ "delete": {} }], "transitions": [] },
        ],
        "ism_template": [{ "index_patterns": [names.pattern], "priority": PRIORITY }],
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: &str, distribution: &str) -> Server {
        Server::parse(&json!({ "version": { "number": number, "distribution": distribution } })).unwrap()
    }

    #[test]
    fn templates_name_every_field_and_take_no_other() {
        let (elastic, open) = (server("8.17.1", "elasticsearch"), server("2.4.1", "opensearch"));
        let (dated, stream) = (Names::of("tercel-{date}", false), Names::of("logs-tercel-default", true));
        insta::assert_json_snapshot!("template_elasticsearch_data_stream", index_template(&elastic, &stream, 1, true));
        insta::assert_json_snapshot!("template_opensearch_dated", index_template(&open, &dated, 2, true));
    }

    #[test]
    fn policies_delete_what_is_old_and_roll_over_data_streams() {
        let (elastic, old) = (server("8.17.1", "elasticsearch"), server("7.10.2", "elasticsearch"));
        let (dated, stream) = (Names::of("tercel-{date}", false), Names::of("alerts", true));
        let phases = |server: &Server, names: &Names| policy(server, names, 30)["policy"]["phases"].clone();
        assert_eq!(phases(&elastic, &dated)["hot"]["actions"], json!({}));
        assert_eq!(phases(&elastic, &dated)["delete"]["min_age"], "30d");
        assert_eq!(phases(&elastic, &stream)["hot"]["actions"]["rollover"]["max_primary_shard_size"], "25gb");
        assert_eq!(phases(&old, &stream)["hot"]["actions"]["rollover"]["max_size"], "25gb");
        insta::assert_json_snapshot!("policy_opensearch", policy(&server("2.11.0", "opensearch"), &stream, 30));
    }
}
