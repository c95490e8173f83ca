//! An alert as it was sent → one that the pipeline can take: within its bounds, with what the configuration adds to it,
//! with an id.

mod enrich;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tercel_alert::Alert;
use uuid::Uuid;

pub(crate) use enrich::Enrich;

use crate::pipeline::Received;
use crate::seen::Sent;

/// Bytes of a rule's name; upstream's longest has 81.
const RULE_BYTES_MAX: usize = 256;

/// Bytes of a host name, as in DNS, and of a source.
const NAME_BYTES_MAX: usize = 255;

const TAGS_MAX: usize = 64;
const TAG_BYTES_MAX: usize = 256;

/// Memory of one alert: a body of nothing but tiny values would need a hundred times its size.
const ALERT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Memory of a JSON value beside its text: the value, its place in the map, the allocation.
const VALUE_BYTES: usize = 128;

/// The version that sensors of ours make: ordered by time, and told from all others.
const OWN_VERSION: usize = 7;

/// An alert that the pipeline can take.
pub(crate) struct Normalised {
    pub(crate) received: Received,
    /// Templated fields that could not be made.
    pub(crate) failures: usize,
}

/// `text`: the alert as it was sent.
///
/// # Errors
/// A name or tag, or the whole, is beyond its bound; the message says which.
pub(crate) fn normalise(mut alert: Alert, text: &str, enrich: &Enrich) -> Result<Normalised, String> {
    check(&alert)?;
    let sent = alert.uuid.map(|id| Sent::new(id, text));
    match alert.uuid {
        None => alert.uuid = Some(Uuid::now_v7()),
        Some(id) if id.get_version_num() != OWN_VERSION => rename(&mut alert),
        Some(_) => {}
    }
    let failures = enrich.apply(&mut alert);
    let weight = weigh(&alert);
    Ok(Normalised { received: Received { alert: Arc::new(alert), weight, sent }, failures })
}

/// Gives the alert an id of its own; the one that it had is kept beside it.
pub(crate) fn rename(alert: &mut Alert) {
    alert.original_uuid = alert.uuid.replace(Uuid::now_v7());
}

/// What names things is bounded, because it becomes labels and keys; text and values may fill the body.
fn check(alert: &Alert) -> Result<(), String> {
    let names = [
        ("rule", &alert.rule, RULE_BYTES_MAX),
        ("hostname", &alert.hostname, NAME_BYTES_MAX),
        ("source", &alert.source, NAME_BYTES_MAX),
    ];
    for (key, value, bound) in names {
        if value.len() > bound {
            return Err(format!("`{key}` has {} bytes, {bound} at most", value.len()));
        }
    }
    if alert.rule.is_empty() {
        return Err("`rule` is empty; it names the rule that matched".to_owned());
    }
    if weigh(alert) > ALERT_BYTES_MAX {
        return Err(format!("the alert needs more than {ALERT_BYTES_MAX} bytes of memory; it has too many values"));
    }
    check_tags(&alert.tags)
}

fn check_tags(tags: &BTreeSet<String>) -> Result<(), String> {
    if tags.len() > TAGS_MAX {
        return Err(format!("{} tags, {TAGS_MAX} at most", tags.len()));
    }
    match tags.iter().map(String::len).max() {
        Some(longest) if longest > TAG_BYTES_MAX => Err(format!("a tag has {longest} bytes, {TAG_BYTES_MAX} at most")),
        _ => Ok(()),
    }
}

/// Bytes of memory, rounded up.
fn weigh(alert: &Alert) -> usize {
    let texts = alert.rule.len() + alert.source.len() + alert.hostname.len() + alert.output.len();
    let tags: usize = alert.tags.iter().map(|tag| VALUE_BYTES + tag.len()).sum();
    let fields: usize = alert.output_fields.iter().map(|(key, value)| key.len() + weigh_value(value)).sum();
    size_of::<Alert>() + texts + tags + fields
}

/// The parser's own bound of 128 levels is the depth of the recursion.
fn weigh_value(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weigh_value).sum(),
            Value::Object(map) => map.iter().map(|(key, value)| key.len() + weigh_value(value)).sum(),
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alert(change: impl FnOnce(&mut Value)) -> Alert {
        let mut alert = json!({"time": "2026-01-01T00:00:00Z", "rule": "a", "priority": "error"});
        change(&mut alert);
        serde_json::from_value(alert).unwrap()
    }

    fn plain(alert: Alert) -> Received {
        normalise(alert, "text", &Enrich::new()).unwrap().received
    }

    #[test]
    fn names_and_tags_are_bounded() {
        let tags: Vec<_> = (0..=TAGS_MAX).map(|tag| tag.to_string()).collect();
        for bad in [
            alert(|alert| alert["rule"] = "".into()),
            alert(|alert| alert["rule"] = "x".repeat(RULE_BYTES_MAX + 1).into()),
            alert(|alert| alert["hostname"] = "x".repeat(NAME_BYTES_MAX + 1).into()),
            alert(|alert| alert["source"] = "x".repeat(NAME_BYTES_MAX + 1).into()),
            alert(|alert| alert["tags"] = json!(tags)),
            alert(|alert| alert["tags"] = json!(["é".repeat(TAG_BYTES_MAX)])),
        ] {
            assert!(normalise(bad.clone(), "", &Enrich::new()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_flood_of_tiny_values_is_refused() {
        let flood = alert(|alert| alert["output_fields"] = json!({"a.b": vec![1; ALERT_BYTES_MAX / VALUE_BYTES]}));
        assert!(normalise(flood, "", &Enrich::new()).err().unwrap().contains("too many values"));
    }

    #[test]
    fn a_missing_id_is_set_one_of_ours_kept_and_a_foreign_one_kept_beside() {
        let with = |id: &str| plain(alert(|alert| alert["uuid"] = id.into()));
        let missing = plain(alert(|_| ()));
        assert_eq!((missing.alert.uuid.unwrap().get_version_num(), missing.sent), (7, None));

        let own = with("01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(own.alert.uuid.unwrap().to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(own.alert.original_uuid, None);
        assert_eq!(own.sent, Some(Sent::new(own.alert.uuid.unwrap(), "text")));

        for id in ["a3bb189e-8bf9-4888-9912-ace4e6543002", "00000000-0000-0000-0000-000000000000"] {
            let foreign = with(id);
            assert_eq!(foreign.alert.uuid.unwrap().get_version_num(), 7);
            assert_eq!(foreign.alert.original_uuid.unwrap().to_string(), id);
            assert_eq!(foreign.sent, Some(Sent::new(id.parse().unwrap(), "text")));
        }
    }

    #[test]
    fn many_small_values_weigh_what_they_cost() {
        let small = alert(|alert| alert["output_fields"] = json!({"a": 1, "b": [1, 2, {"c": null}]}));
        assert_eq!(weigh(&small) - weigh(&alert(|_| ())), 6 * VALUE_BYTES + 3);
    }
}
