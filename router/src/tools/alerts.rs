//! Alerts that are given to a tool.

use serde_json::value::RawValue;
use tercel_alert::Alert;

use crate::normalise::{Enrich, normalise};
use crate::pipeline::Received;

/// An object, an array, or objects one after the other, normalised as ingest does it. At least one.
///
/// # Errors
/// The first one that the router would not take, or there is none.
pub(crate) fn read(json: &[u8], enrich: &Enrich) -> Result<Vec<Received>, String> {
    let mut alerts = Vec::new();
    for item in items(json)? {
        let number = alerts.len() + 1;
        let received = one(&item, enrich).map_err(|message| format!("alert {number}: {message}"))?;
        alerts.push(received);
    }
    if alerts.is_empty() { Err("there is no alert in it".to_owned()) } else { Ok(alerts) }
}

/// The texts of the alerts.
pub(super) fn items(json: &[u8]) -> Result<Vec<String>, String> {
    let mut items = Vec::new();
    for item in serde_json::Deserializer::from_slice(json).into_iter::<Box<RawValue>>() {
        let item = item.map_err(|error| error.to_string())?;
        if item.get().starts_with('[') {
            let list: Vec<Box<RawValue>> = serde_json::from_str(item.get()).map_err(|error| error.to_string())?;
            items.extend(list.iter().map(|item| item.get().to_owned()));
        } else {
            items.push(item.get().to_owned());
        }
    }
    Ok(items)
}

/// # Errors
/// What the router would say to its sender.
pub(super) fn one(text: &str, enrich: &Enrich) -> Result<Received, String> {
    let alert: Alert = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(normalise(alert, text, enrich)?.received)
}
