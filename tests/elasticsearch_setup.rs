//! What `elasticsearch setup` installs, by what the server says of itself.

use e2e::receivers::{Cluster, Elasticsearch};
use serde_json::{Value, json};
use tercel_router::destination::{Destination, SetupOptions, SetupReport};

const OPTIONS: SetupOptions = SetupOptions { retention_days: Some(30), shards: 3, dry_run: false };

async fn server(version: Value, has_policies: bool) -> Elasticsearch {
    let service = Elasticsearch::start().await;
    service.with_service(|service| service.set_cluster(Cluster::new(version, has_policies)));
    service
}

async fn set_up(service: &Elasticsearch, more: &str, options: &SetupOptions) -> Result<SetupReport, String> {
    let table = format!("type = \"elasticsearch\"\nurl = \"{}\"\n{more}", service.url());
    let folder = tempfile::tempdir().unwrap();
    let destination = Destination::build("d", &toml::from_str(&table).unwrap(), folder.path(), folder.path()).unwrap();
    destination.setup(options).await.expect("an Elasticsearch destination").map_err(|error| error.to_string())
}

fn template(service: &Elasticsearch, name: &str) -> Value {
    service.with_service(|service| service.cluster().template(name).cloned()).expect("a template")
}

fn policy(service: &Elasticsearch, name: &str) -> Option<Value> {
    service.with_service(|service| service.cluster().policy(name).cloned())
}

fn output_fields(template: &Value) -> &Value {
    &template["template"]["mappings"]["properties"]["falco"]["properties"]["output_fields"]["type"]
}

#[tokio::test]
async fn elasticsearch_gets_a_flattened_field_and_a_lifecycle_policy() {
    let service = server(json!({ "number": "8.17.1", "build_flavor": "default" }), true).await;
    let report = set_up(&service, "", &OPTIONS).await.unwrap();
    assert!(report.to_string().contains("Elasticsearch 8.17.1"), "{report}");
    let template = template(&service, "tercel");
    assert_eq!((output_fields(&template), &template["index_patterns"]), (&json!("flattened"), &json!(["tercel-*"])));
    assert_eq!(template["template"]["settings"]["index.lifecycle.name"], "tercel");
    assert_eq!(template["template"]["settings"]["index.number_of_shards"], 3);
    assert_eq!(policy(&service, "tercel").unwrap()["policy"]["phases"]["delete"]["min_age"], "30d");
    set_up(&service, "", &OPTIONS).await.expect("it may be done again");
}

#[tokio::test]
async fn opensearch_gets_a_flat_object_and_a_policy_that_is_replaced_by_the_next() {
    let service = server(json!({ "number": "2.11.0", "distribution": "opensearch" }), true).await;
    set_up(&service, "data_stream = \"alerts\"", &OPTIONS).await.unwrap();
    let template = template(&service, "alerts");
    assert_eq!((output_fields(&template), &template["data_stream"]), (&json!("flat_object"), &json!({})));
    assert_eq!(template["template"]["settings"].get("index.lifecycle.name"), None);
    let options = SetupOptions { retention_days: Some(7), ..OPTIONS };
    set_up(&service, "data_stream = \"alerts\"", &options).await.unwrap();
    let policy = policy(&service, "alerts").unwrap();
    assert_eq!(policy["policy"]["states"][0]["transitions"][0]["conditions"]["min_index_age"], "7d");
    assert_eq!(policy["policy"]["ism_template"][0]["index_patterns"], json!(["alerts"]));
}

#[tokio::test]
async fn a_server_without_policies_is_told_so_and_gets_its_template() {
    let service = server(json!({ "number": "2.11.0", "distribution": "opensearch" }), false).await;
    let report = set_up(&service, "", &OPTIONS).await.unwrap();
    assert!(report.to_string().contains("not installed, this server has no such policies"), "{report}");
    assert_eq!(output_fields(&template(&service, "tercel")), "flat_object");
    let for_ever = SetupOptions { retention_days: None, ..OPTIONS };
    let report = set_up(&service, "", &for_ever).await.unwrap();
    assert!(report.to_string().contains("nothing is to be deleted"), "{report}");
}

#[tokio::test]
async fn a_server_that_knows_no_such_field_takes_it_only_with_key_values() {
    let service = server(json!({ "number": "7.10.2", "build_flavor": "oss" }), false).await;
    let message = set_up(&service, "", &OPTIONS).await.unwrap_err();
    assert!(message.contains("set `key_values = true`"), "{message}");
    assert_eq!(service.with_service(|service| service.cluster().template("tercel").cloned()), None);
    set_up(&service, "key_values = true", &OPTIONS).await.unwrap();
    assert_eq!(output_fields(&template(&service, "tercel")), "object");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_shows_what_would_be_sent() {
    let service = server(json!({ "number": "9.0.0" }), true).await;
    let report = set_up(&service, "", &SetupOptions { dry_run: true, ..OPTIONS }).await.unwrap();
    let paths: Vec<_> = report.sent.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["_ilm/policy/tercel", "_index_template/tercel"]);
    assert!(service.received().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn what_answers_and_is_no_such_server_is_told_apart() {
    let service = server(json!({ "number": "6.8.0" }), true).await;
    let message = set_up(&service, "", &OPTIONS).await.unwrap_err();
    assert!(message.contains("Elasticsearch 6.8.0 is too old; it takes Elasticsearch 7.8 or newer"), "{message}");
    let service = server(Value::Null, true).await;
    let message = set_up(&service, "", &OPTIONS).await.unwrap_err();
    assert!(message.contains("neither Elasticsearch nor OpenSearch"), "{message}");
}
