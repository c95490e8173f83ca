//! What Slack takes as a message, by docs.slack.dev/reference/block-kit/blocks. The stand-in is stricter in one point: Slack
//! ignores keys that it does not know, and so would hide a misspelt one.

use serde_json::Value;

const BLOCKS_MAX: usize = 50;
const HEADER_CHARS_MAX: usize = 150;
const SECTION_CHARS_MAX: usize = 3_000;
const FIELDS_MAX: usize = 10;
const FIELD_CHARS_MAX: usize = 2_000;
/// Of a message, by webhook or Web API.
const MESSAGE_KEYS: [&str; 8] =
    ["text", "blocks", "unfurl_links", "unfurl_media", "channel", "thread_ts", "ts", "reply_broadcast"];
const ELEMENTS_MAX: usize = 10;
/// Links to what a tag means are the router's own.
const OWN_LINK: &str = "<https://attack.mitre.org/t";
/// Longer texts are cut by Slack; the stand-in refuses them, so that nobody relies on it.
const TEXT_CHARS_MAX: usize = 40_000;

pub(super) fn check(message: &Value) -> Result<(), &'static str> {
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
    if !has_only(message, &MESSAGE_KEYS) {
        return Err("invalid_arguments");
    }
    let is_valid = blocks.is_null() || is_list(blocks, BLOCKS_MAX, is_block);
    if is_valid { Ok(()) } else { Err("invalid_blocks") }
}

fn is_block(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("header") => {
            has_only(block, &["type", "text"]) && is_text_object(&block["text"], &["plain_text"], HEADER_CHARS_MAX)
        }
        Some("section") => has_only(block, &["type", "text", "fields"]) && is_section(block),
        Some("context") if has_only(block, &["type", "elements"]) => {
            is_list(&block["elements"], ELEMENTS_MAX, |element| is_any_text(element, SECTION_CHARS_MAX))
        }
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
    let own = ["type", "text", "emoji", "verbatim"];
    is_known_type
        && has_only(object, &own)
        && !has_foreign_key
        && are_booleans(object, &["emoji", "verbatim"])
        && is_text(&object["text"], max)
}

fn has_only(object: &Value, keys: &[&str]) -> bool {
    object.as_object().is_some_and(|object| object.keys().all(|key| keys.contains(&key.as_str())))
}

fn are_booleans(object: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| object.get(key).is_none_or(Value::is_boolean))
}

fn is_text(value: &Value, max: usize) -> bool {
    value.as_str().is_some_and(|text| (1..=max).contains(&text.chars().count()))
}

fn is_list(value: &Value, max: usize, is_valid: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| (1..=max).contains(&list.len()) && list.iter().all(is_valid))
}

pub(super) fn collect_mentions(value: &Value, mentions: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            mentions.extend(
                text.match_indices('<')
                    .filter(|(start, _)| !text[*start..].starts_with(OWN_LINK))
                    .map(|(start, _)| text[start..].chars().take(40).collect::<String>()),
            );
        }
        Value::Array(list) => list.iter().for_each(|value| collect_mentions(value, mentions)),
        Value::Object(map) => map.values().for_each(|value| collect_mentions(value, mentions)),
        _ => {}
    }
}
