//! What somebody who was woken looks for first: where it happened, who did it, with what.

use serde_json::Value;

use super::field_text;

/// Label, and the fields that say it: the first that has a value. A second name after `+` is joined by a colon.
const FACTS: [(&str, &[&str]); 10] = [
    ("Container", &["container.name", "container.id"]),
    ("Pod", &["k8s.pod.name"]),
    ("Namespace", &["k8s.ns.name"]),
    ("Image", &["container.image.repository+container.image.tag", "container.image"]),
    ("User", &["user.name", "user.uid"]),
    ("Command", &["proc.cmdline", "proc.name"]),
    ("Parent", &["proc.pcmdline", "proc.pname"]),
    ("Executable", &["proc.exepath"]),
    ("File or connection", &["fd.name"]),
    ("Login user", &["user.loginname"]),
];

/// Fields that say what every notification says elsewhere, or nothing to a person.
const ELSEWHERE: [&str; 4] = ["evt.time", "evt.rawtime", "evt.num", "evt.hostname"];

/// What Falco writes where a field has no value.
const MISSING: &str = "<NA>";

/// Those of the alert's fields that have a value, as label and text: first those of [`FACTS`], then the others under their own
/// names.
pub(super) fn facts(fields: &serde_json::Map<String, Value>) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut told: Vec<&str> = ELSEWHERE.to_vec();
    for (label, sources) in FACTS {
        let found = sources.iter().find_map(|source| Some((source, value(fields, source)?)));
        if let Some((source, text)) = found {
            facts.push((label.to_owned(), text));
            told.extend(source.split('+'));
        }
    }
    let others = fields.iter().filter(|(name, _)| !told.contains(&name.as_str()));
    facts.extend(others.filter_map(|(name, value)| Some((name.clone(), given(value)?))));
    facts
}

/// Of one field, or of two of which the first is needed.
fn value(fields: &serde_json::Map<String, Value>, source: &str) -> Option<String> {
    let Some((first, second)) = source.split_once('+') else { return given(fields.get(source)?) };
    let text = given(fields.get(first)?)?;
    Some(match fields.get(second).and_then(given) {
        Some(more) => format!("{text}:{more}"),
        None => text,
    })
}

/// `None`: null, empty, or what Falco writes for a value that is missing.
fn given(value: &Value) -> Option<String> {
    let text = field_text(value);
    (!matches!(text.as_str(), "" | MISSING)).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_matters_comes_first_and_nothing_twice() {
        let fields = json!({
            "a.first": 1, "evt.time": 17, "proc.cmdline": "sh -c id", "proc.name": "sh", "user.name": "root", "empty": "", "": false,
            "container.id": "c1", "k8s.pod.name": "shop-1", "k8s.ns.name": null, "container.image.repository": "shop",
            "container.image.tag": "v1", "container.name": "<NA>",
        });
        let facts = facts(fields.as_object().unwrap());
        let shown: Vec<_> = facts.iter().map(|(label, text)| format!("{label}={text}")).collect();
        let expected = [
            "Container=c1",
            "Pod=shop-1",
            "Image=shop:v1",
            "User=root",
            "Command=sh -c id",
            "a.first=1",
            "proc.name=sh",
            "=false",
        ];
        assert_eq!(shown, expected);
    }
}
