//! Any bytes as a recording: it is read to its end or refused with a reason, replaying it raises no panic, twice says the same,
//! and what was read writes itself as the bytes that it was read from.

#![no_main]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use tercel_sensor::detect::Detector;
use tercel_sensor::fields::{SensorCatalog, markdown};
use tercel_sensor::output::Template;
use tercel_sensor::recording::{Item, Reader, Writer};
use tercel_sensor::replay::replay;
use tercel_sensor::rules::load_text;

/// One input in so many is replayed twice.
const REPLAYED_TWICE: usize = 8;

/// Fields that one rule's output holds: the text of all of them would be cut.
const FIELDS_PER_RULE: usize = 30;

/// Beside every field that needs no argument.
const WITH_ARGUMENT: [&str; 8] = [
    "evt.arg.flags",
    "evt.arg.name",
    "evt.rawarg.res",
    "evt.arg[0]",
    "proc.aname[2]",
    "proc.aexepath[1]",
    "proc.env[HOME]",
    "proc.aenv[1]",
];

/// Each has one rule, which every event matches; together they say all that a rule can say. Asking everything of every event
/// would leave a tenth of the inputs.
static DETECTORS: LazyLock<Vec<Arc<Detector>>> = LazyLock::new(|| {
    let reference = markdown();
    let words = reference.split('`').filter(|word| word.contains('.')).chain(WITH_ARGUMENT);
    let fields: BTreeSet<String> =
        words.map(|word| format!("%{word}")).filter(|field| Template::compile(field).is_ok()).collect();
    assert!(fields.len() > 200, "{fields:?}");
    let fields: Vec<_> = fields.into_iter().collect();
    fields.chunks(FIELDS_PER_RULE).map(detector).collect()
});

fn detector(fields: &[String]) -> Arc<Detector> {
    let output = fields.join(" ");
    let rule = format!("- rule: r\n  desc: d\n  condition: evt.num > 0\n  output: '{output}'\n  priority: DEBUG\n");
    let set = load_text(&[("rules.yaml", rule.as_bytes())], &SensorCatalog).unwrap();
    Arc::new(Detector::new(set).unwrap())
}

fuzz_target!(|bytes: &[u8]| {
    let detector = &DETECTORS[bytes.len() / REPLAYED_TWICE % DETECTORS.len()];
    let alerts = || {
        let mut alerts = Vec::new();
        let result = replay(bytes, "file", Arc::clone(detector), TimeZone::UTC, |alert| {
            alerts.push(serde_json::to_string(&alert).unwrap());
        });
        (result.map_err(|error| error.to_string()), alerts)
    };
    let first = alerts();
    // Some of the inputs are enough for that, and the rest is more inputs.
    if bytes.len().is_multiple_of(REPLAYED_TWICE) {
        assert_eq!(first, alerts(), "replayed twice");
    }
    if first.0.is_ok() {
        write_again(bytes);
    }
});

/// Items that were read give the same items when they are written and read again.
fn write_again(bytes: &[u8]) {
    let mut reader = Reader::open(bytes, "file").unwrap();
    let mut writer = Writer::start(Vec::new()).unwrap();
    let mut items = Vec::new();
    while let Some(item) = reader.read().unwrap() {
        writer.write(&item).unwrap();
        items.push(text(&item));
    }
    let written = writer.finish().unwrap();
    let mut reader = Reader::open(&written[..], "written").unwrap();
    for item in items {
        assert_eq!(text(&reader.read().unwrap().unwrap()), item);
    }
    assert!(reader.read().unwrap().is_none());
}

fn text(item: &Item<'_>) -> String {
    format!("{item:?}")
}
