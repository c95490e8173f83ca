//! Against real servers, which `cargo xtask test --components` fetches; without one these tests are not run.

/// Alertmanager, Kafka, NATS, SMTP and syslog: delivered, and read back from the server.
mod servers;

/// Snapshots of what is sent, judged by schemas and libraries of others.
mod schemas;

/// OpenSearch: setup, bulk, a full queue, a restart, refused documents, and searches.
mod opensearch;
