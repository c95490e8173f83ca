//! What a server says of itself, and what follows from it.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

/// Of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    Elasticsearch,
    OpenSearch,
}

pub(super) struct Server {
    pub(super) product: Product,
    pub(super) version: (u32, u32),
    flavour: Flavour,
    /// As it says it.
    number: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Default,
    /// Elasticsearch without Elastic's own features.
    Oss,
    /// Elastic runs it, and leaves neither shards nor lifecycle to its users.
    Serverless,
}

/// How the object of output fields is mapped: in each case as one field, whatever it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputFields {
    /// Elasticsearch.
    Flattened,
    /// OpenSearch from 2.7.
    FlatObject,
    /// Not indexed; `falco.key_values` is.
    Kept,
}

impl Server {
    /// `answer`: to `GET /`.
    pub(super) fn parse(answer: &Value) -> Result<Self, String> {
        let version = |key: &str| answer.pointer(&format!("/version/{key}")).and_then(Value::as_str);
        let number =
            version("number").ok_or("what answers says no version, so it is neither Elasticsearch nor OpenSearch")?;
        let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
        let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
            return Err("what answers has a version that is no number".to_owned());
        };
        let product =
            if version("distribution") == Some("opensearch") { Product::OpenSearch } else { Product::Elasticsearch };
        let flavour = match version("build_flavor") {
            Some("oss") => Flavour::Oss,
            Some("serverless") => Flavour::Serverless,
            _ => Flavour::Default,
        };
        let number = number.chars().filter(|character| character.is_ascii_alphanumeric() || ".-".contains(*character));
        Ok(Self { product, version: (major, minor), flavour, number: number.take(32).collect() })
    }

    /// Whether it has what a template needs; else what would do.
    pub(super) fn check(&self, is_data_stream: bool) -> Result<(), String> {
        let (least, name) = match self.product {
            Product::Elasticsearch if is_data_stream => ((7, 9), "Elasticsearch 7.9"),
            Product::Elasticsearch => ((7, 8), "Elasticsearch 7.8"),
            Product::OpenSearch => ((1, 0), "OpenSearch 1.0"),
        };
        if self.version >= least { Ok(()) } else { Err(format!("{self} is too old; it takes {name} or newer")) }
    }

    pub(super) fn output_fields(&self) -> OutputFields {
        match self.product {
            Product::Elasticsearch if self.flavour != Flavour::Oss => OutputFields::Flattened,
            Product::OpenSearch if self.version >= (2, 7) => OutputFields::FlatObject,
            Product::Elasticsearch | Product::OpenSearch => OutputFields::Kept,
        }
    }

    /// Whether the number of shards and copies is ours to say.
    pub(super) fn takes_shards(&self) -> bool {
        self.flavour != Flavour::Serverless
    }
}

impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let product = match self.product {
            Product::Elasticsearch => "Elasticsearch",
            Product::OpenSearch => "OpenSearch",
        };
        write!(f, "{product} {}", self.number)
    }
}

impl Display for OutputFields {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flattened => "one `flattened` field, falco.output_fields",
            Self::FlatObject => "one `flat_object` field, falco.output_fields",
            Self::Kept => "kept in falco.output_fields, searched in falco.key_values as `name=value`",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(version: &Value) -> Result<Server, String> {
        Server::parse(&json!({ "version": version }))
    }

    #[test]
    fn output_fields_are_mapped_by_what_the_server_knows() {
        for (version, name, expected) in [
            (json!({ "number": "8.17.1", "build_flavor": "default" }), "Elasticsearch 8.17.1", OutputFields::Flattened),
            (json!({ "number": "9.0.0-SNAPSHOT" }), "Elasticsearch 9.0.0-SNAPSHOT", OutputFields::Flattened),
            (json!({ "number": "7.10.2", "build_flavor": "oss" }), "Elasticsearch 7.10.2", OutputFields::Kept),
            (json!({ "number": "2.4.1", "distribution": "opensearch" }), "OpenSearch 2.4.1", OutputFields::Kept),
            (json!({ "number": "2.7.0", "distribution": "opensearch" }), "OpenSearch 2.7.0", OutputFields::FlatObject),
            (json!({ "number": "3.0.0", "distribution": "opensearch" }), "OpenSearch 3.0.0", OutputFields::FlatObject),
        ] {
            let server = server(&version).unwrap();
            assert_eq!((server.to_string().as_str(), server.output_fields()), (name, expected));
            assert_eq!(server.check(false), Ok(()));
        }
    }

    #[test]
    fn what_is_too_old_or_something_else_is_refused_with_what_would_do() {
        let old = server(&json!({ "number": "7.8.0" })).unwrap();
        assert_eq!(old.check(false), Ok(()));
        assert!(old.check(true).unwrap_err().contains("takes Elasticsearch 7.9"));
        assert!(server(&json!({ "number": "six" })).is_err_and(|message| message.contains("no number")));
        assert!(Server::parse(&json!({ "hello": 1 })).is_err_and(|message| message.contains("neither")));
    }
}
