//! Against real servers, which `cargo xtask test --components` fetches; without one these tests are not run.

/// OpenSearch: setup, bulk, a full queue, a restart, refused documents, and searches.
mod opensearch;
