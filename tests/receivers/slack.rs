//! Slack's incoming webhooks, by docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and
//! docs.slack.dev/reference/block-kit/blocks.

use serde_json::Value;

use super::{Received, Reply, Service};

const BLOCKS_MAX: usize = 50;
const HEADER_CHARS_MAX: usize = 150;
const SECTION_CHARS_MAX: usize = 3_000;
const FIELDS_MAX: usize = 10;
const FIELD_CHARS_MAX: usize = 2_000;
const ELEMENTS_MAX: usize = 10;
/// Longer texts are cut by Slack; the stand-in refuses them, so that nobody relies on it.
const TEXT_CHARS_MAX: usize = 40_000;

/// Checks messages and answers `ok`.
#[derive(Debug, Default)]
pub struct SlackService {
    mentions: Vec<String>,
}

impl SlackService {
    /// What in the accepted messages would have notified somebody or made a link: `<!channel>`, `<@U1>`, `<https:…`.
    pub fn mentions(&self) -> &[String] {
        &self.mentions
    }
}

impl Service for SlackService {
    const PATH: &'static str = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";

    fn reply(&mut self, request: &Received) -> Reply {
        if request.method != "POST" || request.path != Self::PATH {
            return Reply::text(404, "no_service");
        }
        let message = request.json();
        if let Err(word) = check(&message) {
            return Reply::text(400, word);
        }
        collect_mentions(&message, &mut self.mentions);
        Reply::text(200, "ok")
    }
}

fn check(message: &Value) -> Result<(), &'static str> {
    if !message.is_object() {
        return Err("invalid_payload");
    }
    let (text, blocks) = (&message["text"], &message["blocks"]);
    if text.as_str().is_none_or(str::is_empty) && blocks.as_array().is_none_or(Vec::is_empty) {
        return Err("no_text");
    }
    if !text.is_null() && !is_text(text, TEXT_CHARS_MAX) {
        return Err("msg_too_long");
    }
    let is_valid = blocks.is_null() || is_list(blocks, BLOCKS_MAX, is_block);
    if is_valid { Ok(()) } else { Err("invalid_blocks") }
}

fn is_block(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("header") => is_text_object(&block["text"], &["plain_text"], HEADER_CHARS_MAX),
        Some("section") => is_section(block),
        Some("context") => is_list(&block["elements"], ELEMENTS_MAX, |element| is_any_text(element, SECTION_CHARS_MAX)),
        Some("divider") => true,
        _ => false,
    }
}

/// Text, fields or both.
fn is_section(block: &Value) -> bool {
    let (text, fields) = (&block["text"], &block["fields"]);
    (!text.is_null() || !fields.is_null())
        && (text.is_null() || is_any_text(text, SECTION_CHARS_MAX))
        && (fields.is_null() || is_list(fields, FIELDS_MAX, |field| is_any_text(field, FIELD_CHARS_MAX)))
}

fn is_any_text(object: &Value, max: usize) -> bool {
    is_text_object(object, &["plain_text", "mrkdwn"], max)
}

fn is_text_object(object: &Value, types: &[&str], max: usize) -> bool {
    let is_known_type = object["type"].as_str().is_some_and(|name| types.contains(&name));
    // Each of the two types has a key that the other must not have.
    let has_foreign_key = match object["type"].as_str() {
        Some("plain_text") => object.get("verbatim").is_some(),
        _ => object.get("emoji").is_some(),
    };
    is_known_type && !has_foreign_key && is_text(&object["text"], max)
}

fn is_text(value: &Value, max: usize) -> bool {
    value.as_str().is_some_and(|text| (1..=max).contains(&text.chars().count()))
}

fn is_list(value: &Value, max: usize, is_valid: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| (1..=max).contains(&list.len()) && list.iter().all(is_valid))
}

fn collect_mentions(value: &Value, mentions: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            mentions
                .extend(text.match_indices('<').map(|(start, _)| text[start..].chars().take(40).collect::<String>()));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_mentions(value, mentions)),
        Value::Object(map) => map.values().for_each(|value| collect_mentions(value, mentions)),
        _ => {}
    }
}
