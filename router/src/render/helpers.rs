//! What templates may call. No helper reads a file, the environment or a clock.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError, RenderErrorReason,
    ScopedJson, handlebars_helper,
};
use serde_json::Value;
use tercel_alert::Priority;

use super::value_text;

/// A Handlebars with our escaping and helpers, strict about names.
pub(super) fn registry() -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(escape_json);
    registry.unregister_helper("log");
    registry.register_helper("json", Box::new(JsonHelper));
    registry.register_helper("field", Box::new(FieldHelper));
    registry.register_helper("default", Box::new(default_helper));
    registry.register_helper("concat", Box::new(concat_helper));
    registry.register_helper("first", Box::new(first_helper));
    registry.register_helper("beyond", Box::new(beyond_helper));
    registry.register_helper("truncate", Box::new(truncate_helper));
    registry.register_helper("visible", Box::new(visible_helper));
    registry.register_helper("mrkdwn", Box::new(mrkdwn_helper));
    registry.register_helper("severity", Box::new(severity_helper));
    registry.register_helper("colour", Box::new(colour_helper));
    registry.register_helper("emoji", Box::new(emoji_helper));
    registry
}

/// At most `max` characters; what was cut is marked with `…` as the last of them.
pub(crate) fn truncate(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain((max > 0).then_some('…')).collect(),
    }
}

/// Writes out what a terminal or a browser would act on in place of showing it: control characters, line ends,
/// direction overrides, invisible characters.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// [`visible`], with Slack's three control characters escaped, backticks replaced so that a code span cannot be left,
/// and at most `max` characters in all, never cut within an escape.
fn mrkdwn(text: &str, max: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    let mut end_before_mark = 0;
    for character in visible(text).chars() {
        let mut own = [0; 4];
        let piece = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '`' => "ˋ",
            other => other.encode_utf8(&mut own),
        };
        length += piece.chars().count();
        if length > max {
            escaped.truncate(end_before_mark);
            escaped.push('…');
            return escaped;
        }
        escaped.push_str(piece);
        if length < max {
            end_before_mark = escaped.len();
        }
    }
    escaped
}

/// The inside of a JSON string.
fn escape_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn priority(name: &str) -> Priority {
    name.parse().unwrap_or(Priority::Informational)
}

fn severity(name: &str) -> &'static str {
    match priority(name) {
        Priority::Emergency | Priority::Alert | Priority::Critical => "critical",
        Priority::Error => "error",
        Priority::Warning => "warning",
        Priority::Notice | Priority::Informational | Priority::Debug => "info",
    }
}

fn colour(name: &str) -> &'static str {
    match severity(name) {
        "critical" => "#e01e5a",
        "error" => "#e8590c",
        "warning" => "#ecb22e",
        _ => "#36c5f0",
    }
}

pub(super) fn emoji(name: &str) -> &'static str {
    match severity(name) {
        "critical" => "🔴",
        "error" => "🟠",
        "warning" => "🟡",
        _ => "🔵",
    }
}

fn first_given(values: &[&Value]) -> Value {
    let is_given = |value: &&&Value| !value.is_null() && value.as_str() != Some("");
    values.iter().find(is_given).map_or(Value::Null, |value| (**value).clone())
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

handlebars_helper!(default_helper: |*args| first_given(&args));
handlebars_helper!(concat_helper: |*args| args.iter().map(|value| value_text(value)).collect::<String>());
handlebars_helper!(first_helper: |list: array, number: u64|
    list.iter().take(count(number)).cloned().collect::<Vec<_>>());
handlebars_helper!(beyond_helper: |list: array, number: u64| list.len().saturating_sub(count(number)));
handlebars_helper!(truncate_helper: |text: Json, number: u64| truncate(&value_text(text), count(number)));
handlebars_helper!(visible_helper: |text: Json| visible(&value_text(text)));
// 3,000 characters are what Slack takes in a section; the macro wants a literal.
handlebars_helper!(mrkdwn_helper: |text: Json, {max: u64 = 3_000}| mrkdwn(&value_text(text), count(max)));
handlebars_helper!(severity_helper: |name: str| severity(name));
handlebars_helper!(colour_helper: |name: str| colour(name));
handlebars_helper!(emoji_helper: |name: str| emoji(name));

/// `{{json x}}`: written without escaping, since it is JSON already.
struct JsonHelper;

impl HelperDef for JsonHelper {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = helper
            .param(0)
            .filter(|param| !param.is_value_missing())
            .ok_or(RenderErrorReason::ParamNotFoundForIndex("json", 0))?;
        out.write(&value.value().to_string())?;
        Ok(())
    }
}

/// `{{field "proc.name"}}`: looks into the alert of the notification, wherever in the template it stands.
struct FieldHelper;

impl HelperDef for FieldHelper {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let name = helper
            .param(0)
            .and_then(|param| param.value().as_str())
            .ok_or(RenderErrorReason::ParamNotFoundForIndex("field", 0))?;
        let value = context.data().get("alert").and_then(|alert| alert.get("output_fields")?.get(name));
        Ok(ScopedJson::Derived(value.map(value_text).unwrap_or_default().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_marked_and_counted_in_characters() {
        for (text, max, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("ééé", 2, "é…"), ("", 0, ""), ("a", 0, ""), ("🔴🔴", 1, "…")]
        {
            assert_eq!(truncate(text, max), expected, "{text:?} to {max}");
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_written_out() {
        assert_eq!(visible("a\x1b[31m\r\n\u{202e}b\u{9b}\u{e0041}"), r"a\u{1b}[31m\r\n\u{202e}b\u{9b}\u{e0041}");
        assert_eq!(visible("größe 🔴 \\ \" '"), "größe 🔴 \\ \" '");
    }

    #[test]
    fn slack_text_can_mention_nobody_and_leaves_no_code_span() {
        assert_eq!(mrkdwn("<!channel> <https://x|y> a&b ```", 200), "&lt;!channel&gt; &lt;https://x|y&gt; a&amp;b ˋˋˋ");
    }

    #[test]
    fn slack_text_is_not_cut_within_an_escape() {
        assert_eq!(mrkdwn("a&b", 7), "a&amp;b");
        assert_eq!(mrkdwn("a&bc", 7), "a&amp;…");
        for max in 1..40 {
            let text = mrkdwn("&&&&&&&&&&&&&&&&", max);
            assert!(text.chars().count() <= max, "{max}: {text}");
            assert_eq!(text.trim_end_matches('…').replace("&amp;", ""), "", "{max}: {text}");
        }
    }

    #[test]
    fn escaped_text_is_the_inside_of_a_json_string() {
        for text in ["\"}\\", "\r\n\t\0\x1b", "\u{2028}é🔴"] {
            let parsed: String = serde_json::from_str(&format!("\"{}\"", escape_json(text))).unwrap();
            assert_eq!(parsed, text);
        }
    }

    #[test]
    fn every_priority_has_a_severity_that_pagerduty_knows() {
        let of = |priority: Priority| severity(priority.name());
        let all: Vec<_> = Priority::ALL.into_iter().rev().map(of).collect();
        assert_eq!(all, ["critical", "critical", "critical", "error", "warning", "info", "info", "info"]);
    }
}
