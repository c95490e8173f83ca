//! The JSON Schema of routing.toml, for editors. It knows keys and kinds of values; what `check` finds goes further.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{DestinationTable, FileTable};
use crate::destination::DestinationConfig;

/// Draft 7, which every editor understands.
pub(crate) fn schema() -> Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<FileTable>();
    schema.insert("title".to_owned(), json!("routing.toml of tercel-router"));
    schema.to_value()
}

/// Those of all types, each with what [`DestinationTable`] takes out of the table first.
impl JsonSchema for DestinationTable {
    fn schema_name() -> Cow<'static, str> {
        "Destination".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = DestinationConfig::json_schema(generator);
        let names = |what: &str| json!({"description": what, "type": "array", "items": {"type": "string"}});
        let types = schema.get_mut("oneOf").and_then(Value::as_array_mut);
        for properties in types.into_iter().flatten().filter_map(|of_type| of_type["properties"].as_object_mut()) {
            properties.insert("mute".to_owned(), names("Time windows in which it hears nothing."));
            properties.insert("active".to_owned(), names("Time windows outside of which it hears nothing."));
            let priority =
                json!({"description": "At and above this priority it hears of alerts always.", "type": "string"});
            properties.insert("break_through".to_owned(), priority);
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SHIPPED: &str = include_str!("../../../routing.toml");

    fn check(text: &str) -> Result<(), String> {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let file = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
        let problems: Vec<_> = validator.iter_errors(&file).map(|error| error.to_string()).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }

    /// Names of settings, anywhere in it.
    fn keys(schema: &Value, found: &mut BTreeSet<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            found.extend(properties.keys().cloned());
        }
        match schema {
            Value::Object(parts) => parts.values().for_each(|part| keys(part, found)),
            Value::Array(parts) => parts.iter().for_each(|part| keys(part, found)),
            _ => {}
        }
    }

    #[test]
    fn the_shipped_file_is_good() {
        check(SHIPPED).unwrap();
    }

    #[test]
    fn the_shipped_file_explains_every_key_but_those_of_single_destinations() {
        let (mut found, mut schema) = (BTreeSet::new(), schema());
        schema["definitions"]["Destination"].take();
        keys(&schema, &mut found);
        let words: BTreeSet<_> =
            SHIPPED.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').collect();
        let missing: Vec<_> = found.iter().filter(|key| !words.contains(key.as_str())).collect();
        assert!(found.len() > 30 && missing.is_empty(), "routing.toml does not mention {missing:?}");
    }

    #[test]
    fn every_type_of_destination_is_taken_and_its_misspelt_keys_are_not() {
        for table in [
            "type = \"slack\"\nwebhook_url = { env = \"X\" }",
            "type = \"webhook\"\nurl = \"http://x/\"\nheaders = { a = { file = \"x\" }, b = \"c\" }\nconcurrency = 3",
            "type = \"pagerduty\"\nrouting_key = { file = \"/x\" }\nmax_age = \"3h\"",
            "type = \"elasticsearch\"\nurl = { env = \"X\" }\nmute = [\"night\"]\nbreak_through = \"critical\"",
            "type = \"console\"\nreceive = \"all\"",
            "type = \"archive\"\nactive = [\"day\"]",
        ] {
            let text = format!("[destination.x]\n{table}\n");
            check(&text).unwrap();
            let refused = check(&format!("{text}colour = \"red\"\n"));
            assert!(refused.is_err(), "{text}");
        }
    }

    #[test]
    fn what_serde_refuses_for_its_shape_is_refused() {
        for text in [
            "[[rout]]",
            "[[route]]\nto = \"a\"",
            "[[route]]\ndedup = { windw = \"5m\" }",
            "[[route]]\nlimit = { burst = 3 }",
            "[destination.x]\ntype = \"slak\"",
            "[destination.x]\ntype = \"slack\"\nwebhook_url = \"https://hooks.slack.com/x\"",
            "[destination.x]\ntype = \"slack\"\nwebhook_url = { env = \"A\", file = \"b\" }",
            "[[inhibit]]\nname = \"x\"",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
