//! What every type of destination sends, as snapshots: the same cases for each. The settings are those of the first example in
//! the type's page, so a type without a page, an example or snapshots fails here, and so does an example that does not work.

use super::*;

/// What a snapshot shows of a long text.
const SHOWN_CHARS: usize = 120;

/// Texts that are no longer are shown whole.
const WHOLE_CHARS: usize = 1_000;

/// Lines of a text that are shown.
const SHOWN_LINES: usize = 60;

fn cases() -> [(&'static str, Notification); 6] {
    let case = |alert, kind| notification(alert, kind);
    [
        ("minimal", case(bare_alert(), NotificationKind::Alert)),
        ("rich", case(rich_alert(), NotificationKind::Alert)),
        ("hostile", case(nasty_alert(), NotificationKind::Alert)),
        ("summary", case(nasty_alert(), summary())),
        ("digest", case(nasty_alert(), digest())),
        ("resolve", case(rich_alert(), resolve(Some(NASTY)))),
    ]
}

/// `[destination.…]` of this type in the first example of its page, without secrets.
fn example(name: &str) -> Destination {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = root.join(format!("docs/destinations/{name}.md"));
    let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let example = example.unwrap_or_else(|| panic!("{} has no example", page.display()));
    let file: toml::Table = toml::from_str(example).unwrap();
    let (_, table) = file["destination"].as_table().unwrap().iter().next().unwrap();
    assert_eq!(table["type"].as_str(), Some(name), "{}", page.display());
    let config: DestinationConfig = table.clone().try_into().unwrap();
    Destination::build(name, &config.without_secrets(), root, root).unwrap()
}

/// JSON as such, lines of JSON as a list, other text by its lines.
fn readable(text: &str) -> Value {
    let lines = || text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let mut value = serde_json::from_str(text)
        .or_else(|_| lines().map(Value::from))
        .unwrap_or_else(|_| text.lines().take(SHOWN_LINES).map(Value::from).collect());
    shorten(&mut value);
    value
}

/// Long texts by their beginning and length, so that a person can read the snapshot.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().count() > WHOLE_CHARS => {
            let beginning: String = text.chars().take(SHOWN_CHARS).collect();
            *text = format!("{beginning}[{} characters in all]", text.chars().count());
        }
        Value::Array(list) => list.iter_mut().for_each(shorten),
        Value::Object(map) => map.values_mut().for_each(shorten),
        _ => {}
    }
}

#[test]
fn every_type_takes_the_largest_field_there_can_be() {
    for name in TypeConfig::NAMES {
        let destination = example(name);
        let vast = notification(limits::vast_alert(), NotificationKind::Alert);
        let text = destination.preview(&vast).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!text.is_empty(), "{name}");
        assert_eq!(destination.render_fallbacks(), 0, "the template of {name} failed");
    }
}

#[test]
fn every_type_shows_what_it_sends_of_every_case() {
    for name in TypeConfig::NAMES {
        let destination = example(name);
        for (case, notification) in cases() {
            let text = destination.preview(&notification).unwrap_or_else(|error| panic!("{name}, {case}: {error}"));
            insta::assert_json_snapshot!(format!("{name}_{case}"), readable(&text));
        }
        assert_eq!(destination.render_fallbacks(), 0, "the template of {name} failed");
    }
}
