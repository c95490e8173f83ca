//! What templates may call. No helper reads a file, the environment or a clock.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError, RenderErrorReason,
    ScopedJson, handlebars_helper,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tercel_alert::Priority;

use super::{attack, facts, field_text};

/// What a link of Slack's shows.
const LINK_CHARS_MAX: usize = 100;

/// The longest address of one.
const LINK_URL_BYTES_MAX: usize = 1_024;

/// What code blocks begin and end with.
const CODE_FENCE: &str = "```";

/// How `date` writes a time that is told nothing else.
const DATE_FORMAT: &str = "%Y-%m-%d %H:%M:%S %Z";

/// A Handlebars with our escaping and helpers, strict about names.
pub(super) fn registry() -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(escape_json);
    registry.unregister_helper("log");
    for (name, helper) in helpers() {
        registry.register_helper(name, helper);
    }
    registry
}

/// What a template may call beside what Handlebars brings.
pub(super) fn names() -> Vec<&'static str> {
    helpers().into_iter().map(|(name, _)| name).collect()
}

fn helpers() -> Vec<(&'static str, Box<dyn HelperDef + Send + Sync>)> {
    vec![
        ("json", Box::new(JsonHelper)),
        ("field", Box::new(FieldHelper)),
        ("date", Box::new(DateHelper)),
        ("facts", Box::new(facts_helper)),
        ("default", Box::new(default_helper)),
        ("concat", Box::new(concat_helper)),
        ("first", Box::new(first_helper)),
        ("beyond", Box::new(beyond_helper)),
        ("truncate", Box::new(truncate_helper)),
        ("visible", Box::new(visible_helper)),
        ("mrkdwn", Box::new(mrkdwn_helper)),
        ("fence", Box::new(fence_helper)),
        ("link", Box::new(link_helper)),
        ("html", Box::new(html_helper)),
        ("markdown", Box::new(markdown_helper)),
        ("codeblock", Box::new(codeblock_helper)),
        ("mitre", Box::new(mitre_helper)),
        ("severity", Box::new(severity_helper)),
        ("colour", Box::new(colour_helper)),
        ("colour_number", Box::new(colour_number_helper)),
        ("emoji", Box::new(emoji_helper)),
    ]
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
    escape(text, max, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '`' => Some("ˋ"),
        _ => None,
    })
}

/// [`visible`], safe in HTML, also within quotes, and at most `max` characters in all.
fn html(text: &str, max: usize) -> String {
    escape(text, max, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        _ => None,
    })
}

/// [`visible`], with whatever Markdown acts on escaped, and at most `max` characters in all.
fn markdown(text: &str, max: usize) -> String {
    escape(text, max, |character| match character {
        '\\' => Some("\\\\"),
        '*' => Some("\\*"),
        '_' => Some("\\_"),
        '~' => Some("\\~"),
        '|' => Some("\\|"),
        '`' => Some("\\`"),
        '<' => Some("\\<"),
        '>' => Some("\\>"),
        '[' => Some("\\["),
        ']' => Some("\\]"),
        '(' => Some("\\("),
        ')' => Some("\\)"),
        '#' => Some("\\#"),
        '-' => Some("\\-"),
        '@' => Some("\\@"),
        ':' => Some("\\:"),
        _ => None,
    })
}

/// A code block of Markdown, at most `max` characters with its fences. Nothing in a value can end it.
fn codeblock(text: &str, max: usize) -> String {
    let text = if text.is_empty() { " " } else { text };
    let within =
        escape(text, max.saturating_sub(2 * CODE_FENCE.len() + 2), |character| (character == '`').then_some("ˋ"));
    format!("{CODE_FENCE}\n{within}\n{CODE_FENCE}")
}

/// [`visible`], with characters that mean something replaced, at most `max` characters in all, and none of the replacements
/// cut.
fn escape(text: &str, max: usize, replacement: impl Fn(char) -> Option<&'static str>) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    let mut end_before_mark = 0;
    for character in visible(text).chars() {
        let mut own = [0; 4];
        let piece = replacement(character).unwrap_or_else(|| character.encode_utf8(&mut own));
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

/// A code block of Slack's: [`mrkdwn`] between two fences, which count towards `max`. Nothing in a value can end it.
fn fence(text: &str, max: usize) -> String {
    let text = if text.is_empty() { " " } else { text };
    format!("{CODE_FENCE}{}{CODE_FENCE}", mrkdwn(text, max.saturating_sub(2 * CODE_FENCE.len())))
}

/// A link of Slack's; the text alone where `url` is none of http, or holds what could end it.
fn link(url: &str, text: &str) -> String {
    let text = mrkdwn(text, LINK_CHARS_MAX).replace('|', "¦");
    let is_address = (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= LINK_URL_BYTES_MAX
        && !url.contains(|character: char| {
            "<>|`".contains(character) || character.is_whitespace() || is_hidden(character)
        });
    if is_address && !text.is_empty() { format!("<{}|{text}>", url.replace('&', "&amp;")) } else { text }
}

/// The inside of a JSON string.
fn escape_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn priority(name: &str) -> Priority {
    name.parse().unwrap_or(Priority::Informational)
}

pub(crate) fn severity(name: &str) -> &'static str {
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

fn facts_of(alert: &Value) -> Vec<Value> {
    let fields = alert.get("output_fields").and_then(Value::as_object);
    let facts = fields.map(facts::facts).unwrap_or_default();
    facts.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

handlebars_helper!(default_helper: |*args| first_given(&args));
handlebars_helper!(concat_helper: |*args| args.iter().map(|value| field_text(value)).collect::<String>());
handlebars_helper!(first_helper: |list: array, number: u64|
    list.iter().take(count(number)).cloned().collect::<Vec<_>>());
handlebars_helper!(beyond_helper: |list: array, number: u64| list.len().saturating_sub(count(number)));
handlebars_helper!(truncate_helper: |text: Json, number: u64| truncate(&field_text(text), count(number)));
handlebars_helper!(visible_helper: |text: Json| visible(&field_text(text)));
// 3,000 characters are what Slack takes in a section; the macro wants a literal.
handlebars_helper!(mrkdwn_helper: |text: Json, {max: u64 = 3_000}| mrkdwn(&field_text(text), count(max)));
// A fence with its text fits into a section.
handlebars_helper!(fence_helper: |text: Json, {max: u64 = 3_000}| fence(&field_text(text), count(max)));
// Telegram's messages have 4,096 characters.
handlebars_helper!(html_helper: |text: Json, {max: u64 = 4_096}| html(&field_text(text), count(max)));
// A value of Discord's fields has 1,024.
handlebars_helper!(markdown_helper: |text: Json, {max: u64 = 1_024}| markdown(&field_text(text), count(max)));
handlebars_helper!(codeblock_helper: |text: Json, {max: u64 = 1_024}| codeblock(&field_text(text), count(max)));
handlebars_helper!(link_helper: |url: str, text: Json| link(url, &field_text(text)));
handlebars_helper!(mitre_helper: |tag: Json| tag.as_str().and_then(attack::page).unwrap_or_default());
handlebars_helper!(facts_helper: |alert: Json| facts_of(alert));
handlebars_helper!(severity_helper: |name: str| severity(name));
handlebars_helper!(colour_helper: |name: str| colour(name));
handlebars_helper!(colour_number_helper: |name: str| u32::from_str_radix(&colour(name)[1..], 16).unwrap_or_default());
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
        let text = value.map(field_text).unwrap_or_default();
        match helper.hash_get("default").filter(|_| text.is_empty()) {
            Some(default) => Ok(ScopedJson::Derived(default.value().clone())),
            None => Ok(ScopedJson::Derived(text.into())),
        }
    }
}

/// `{{date time zone="Europe/Berlin" format="%H:%M"}}`: a time of RFC 3339 as people read it; any other text stays.
struct DateHelper;

impl HelperDef for DateHelper {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let time = helper.param(0).ok_or(RenderErrorReason::ParamNotFoundForIndex("date", 0))?.value();
        let option = |name| helper.hash_get(name).and_then(|value| value.value().as_str());
        let text = field_text(time);
        let date = match text.parse::<Timestamp>() {
            Ok(time) => date(time, option("zone").unwrap_or("UTC"), option("format").unwrap_or(DATE_FORMAT))
                .map_err(RenderErrorReason::Other)?,
            Err(_no_time) => text,
        };
        Ok(ScopedJson::Derived(date.into()))
    }
}

fn date(time: Timestamp, zone: &str, format: &str) -> Result<String, String> {
    let zone = jiff::tz::TimeZone::get(zone).map_err(|error| format!("date: no time zone `{zone}`: {error}"))?;
    jiff::fmt::strtime::format(format, &time.to_zoned_datetime(zone))
        .map_err(|error| format!("date: `{format}`: {error}"))
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
    fn a_fence_holds_whatever_stands_in_it_and_counts_towards_the_limit() {
        assert_eq!(fence("a```b", 200), "```aˋˋˋb```");
        assert_eq!(fence("", 200), "``` ```");
        for max in 10..40 {
            let text = fence("`&`&`&`&`&`&`&`&", max);
            assert!(text.chars().count() <= max && text.ends_with("```") && text.starts_with("```"), "{text}");
        }
    }

    #[test]
    fn html_and_markdown_hold_whatever_stands_in_them() {
        assert_eq!(html("<b onclick=\"x\">&", 200), "&lt;b onclick=&quot;x&quot;&gt;&amp;");
        assert_eq!(html("a&b", 6), "a…");
        assert_eq!(
            markdown("[x](http://y) **b** <@1> `c` @everyone", 200),
            r"\[x\]\(http\://y\) \*\*b\*\* \<\@1\> \`c\` \@everyone"
        );
        assert_eq!(markdown("a**", 4), "a\\*…");
        assert_eq!(codeblock("a```b", 200), "```\naˋˋˋb\n```");
        for max in 12..40 {
            let block = codeblock("`x`\n`x`<x>`x`\n`x`", max);
            assert!(block.chars().count() <= max && block.ends_with("\n```"), "{block}");
        }
    }

    #[test]
    fn a_link_leads_only_where_it_says() {
        assert_eq!(link("https://a/b?c&d", "x|y>"), "<https://a/b?c&amp;d|x¦y&gt;>");
        for url in ["javascript:alert(1)", "https://a|b", "https://a>b", "https://a b", "", "https://\u{202e}"] {
            assert_eq!(link(url, "x"), "x", "{url}");
        }
    }

    #[test]
    fn a_date_is_that_of_its_zone() {
        let time = "2026-11-23T16:38:40.618Z".parse().unwrap();
        assert_eq!(date(time, "UTC", DATE_FORMAT).unwrap(), "2026-11-23 16:38:40 UTC");
        assert_eq!(date(time, "Europe/Berlin", "%H:%M %Z").unwrap(), "17:38 CET");
        assert!(date(time, "Mars/Base", DATE_FORMAT).unwrap_err().contains("no time zone `Mars/Base`"));
        assert!(date(time, "UTC", "%!").unwrap_err().contains("%!"));
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
