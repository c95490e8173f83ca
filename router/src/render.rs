//! Notification → the JSON body of a request.
//!
//! Templates are Handlebars, compiled and tried out when the configuration is read. `{{x}}` is escaped for the inside
//! of a JSON string, `{{{x}}}` is refused unless the destination sets `raw = true`, a name that does not exist is an error,
//! also in a branch that no sample takes, and the result must be JSON. A template that fails on an
//! alert nevertheless costs no alert: the destination's built-in body is sent in its place, and the failure is counted.
//!
//! What a template sees:
//!
//! | name | value |
//! |---|---|
//! | `kind` | `alert`, `summary`, `digest` or `resolve` |
//! | `id` | the notification's id, the same at every attempt |
//! | `route` | the route that led here |
//! | `dedup_key` | hex, or null |
//! | `title` | the rule; with the count for a summary or digest, and with that of `repeats` where there are any |
//! | `text` | the alert's output without the time and priority that Falco puts before it (the rule where there is none); a sentence for a summary or digest |
//! | `headline` | rule, `repeats` where there are any, and text of an alert, the rule once; the sentence for a summary or digest |
//! | `time` | the event's time in UTC with milliseconds |
//! | `count` | how many alerts this stands for: 1, or what was held back |
//! | `repeats` | how often the same alert came again while this one waited to be delivered |
//! | `alert` | every key of the alert: `uuid`, `original_uuid`, `time`, `rule`, `priority`, `source`, `hostname`, `output`, `output_fields`, `tags` |
//! | `fields` | the output fields that have a value, as a list of `{name, value}`, the value as text |
//! | `summary` | null, or `{count, first, last, samples, window}` |
//! | `resolve` | null, or `{count, since, last, by}`; `by` is null where the incident was quiet for long enough |
//! | `digest` | null, or `{count, since, until, rules: [{rule, count}]}`, with `time_window` where one held them back |
//!
//! Helpers beside the usual `if`, `unless`, `each`, `with`, `eq` …:
//!
//! | helper | gives |
//! |---|---|
//! | `json x` | the value as JSON, quotes included |
//! | `field "proc.name" default="-"` | an output field as text; what `default` says, else nothing, where it is absent or empty |
//! | `facts alert` | the output fields that have a value, those first that matter most to people: a list of `{name, value}` |
//! | `date time zone="Europe/Berlin" format="%H:%M"` | a time as people read it; absent: UTC, and `%Y-%m-%d %H:%M:%S %Z` |
//! | `default a b …` | the first of them that is neither null nor empty |
//! | `concat a b …` | all of them as one text |
//! | `first list n` | the first `n` elements |
//! | `beyond list n` | how many elements `first list n` leaves out |
//! | `truncate text n` | at most `n` characters, the cut marked with `…` |
//! | `visible text` | control and direction characters written out as `\u{202e}` |
//! | `mrkdwn text max=n` | `visible`, safe in Slack's mrkdwn and in its code spans, at most `n` characters |
//! | `fence text max=n` | a code block of Slack's mrkdwn with the text, at most `n` characters with its fences |
//! | `link url text` | a link in Slack's mrkdwn; the text alone where the address is none of http |
//! | `html text max=n` | `visible`, safe in HTML, at most `n` characters |
//! | `markdown text max=n` | `visible`, with all that Markdown acts on escaped, at most `n` characters |
//! | `codeblock text max=n` | a code block of Markdown with the text, at most `n` characters with its fences |
//! | `mitre tag` | the address of the ATT&CK page that a tag names (`T1059.004`, `mitre_execution`), else nothing |
//! | `severity priority` | PagerDuty's `critical`, `error`, `warning`, `info` |
//! | `colour priority`, `colour_number priority`, `emoji priority` | `#e01e5a`, the same as a number, 🔴 … |

mod attack;
mod facts;
mod helpers;
mod inline;
mod line;
mod samples;
mod vet;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use handlebars::{Handlebars, RenderError, Template};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use tercel_alert::Alert;

use crate::destination::{
    Digest, Notification, NotificationKind, Problem, Reason, Resolve, Retry, SendError, Summary, TemplatePlace,
};

pub(crate) use attack::page as attack_page;
pub(crate) use helpers::{severity, truncate, visible};
pub(crate) use inline::{Inline, InlineContext};
pub(crate) use line::{LineContext, Lines};
pub(crate) use samples::example;
use samples::samples;

/// The longest template that is read.
const TEMPLATE_BYTES_MAX: u64 = 256 * 1024;

/// The longest body that a template may produce; an accepted alert has at most 1 MiB.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a summary's title shows of the rule's name, so that the count behind it is not what gets cut.
const TITLE_RULE_CHARS_MAX: usize = 80;

/// Name of the template that the configuration chose, and of the one that is compiled in.
const CUSTOM: &str = "custom";
const BUILT_IN: &str = "built-in";

/// Makes the JSON body of one destination's requests.
pub(crate) struct Renderer {
    templates: Handlebars<'static>,
    fallbacks: AtomicU64,
    unknown_fields: Vec<UnknownField>,
}

/// An output field that a template reads and the sensor does not know. No error: other senders have fields of their own.
#[derive(Debug, Clone)]
pub(crate) struct UnknownField {
    pub(crate) name: String,
    pub(crate) place: TemplatePlace,
}

/// Why a template gave no body.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("{0}")]
    Template(#[from] RenderError),
    #[error("the result is no JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl BodyError {
    /// Line and column in the template, where they are known.
    fn position(&self) -> Option<(usize, usize)> {
        match self {
            Self::Template(error) => error.line_no.zip(error.column_no),
            Self::Json(_) => None,
        }
    }

    /// What would do.
    fn advice(&self) -> &'static str {
        match self {
            Self::Template(_) => "a field that may be absent is read with `field \"name\"`",
            Self::Json(_) => "a value is written as {{json x}}, or as {{x}} within quotes",
        }
    }

    /// Without the position.
    fn reason(&self) -> String {
        match self {
            Self::Template(error) => error.reason().to_string(),
            Self::Json(_) => self.to_string(),
        }
    }
}

impl Renderer {
    /// `built_in`: the destination's own template; without one it is [`alert_body`]. `custom`: the `template` setting,
    /// relative to `base`, which may write values without escaping where `raw` is set.
    pub(crate) fn build(
        built_in: Option<&str>,
        custom: Option<&Path>,
        raw: bool,
        base: &Path,
    ) -> Result<Self, Problem> {
        let mut renderer =
            Self { templates: helpers::registry(), fallbacks: AtomicU64::new(0), unknown_fields: Vec::new() };
        if let Some(text) = built_in {
            renderer.add(BUILT_IN, text, Path::new(BUILT_IN), false)?;
        }
        if let Some(path) = custom {
            let path = base.join(path);
            renderer.add(CUSTOM, &read_template(&path)?, &path, raw)?;
        }
        Ok(renderer)
    }

    /// The body for `notification` as text.
    pub(crate) fn render_text(&self, notification: &Notification) -> Result<String, SendError> {
        if self.templates.get_templates().is_empty() {
            return Ok(alert_text(notification));
        }
        self.render(notification).map(|body| body.to_string())
    }

    /// The body for `notification`, from the first template that succeeds.
    pub(crate) fn render(&self, notification: &Notification) -> Result<Value, SendError> {
        let context = context(notification);
        for name in [CUSTOM, BUILT_IN] {
            if !self.templates.has_template(name) {
                continue;
            }
            match self.try_render(name, &context) {
                Ok(body) => return Ok(body),
                Err(error) => self.count_failure(name, notification, &error),
            }
        }
        if self.templates.has_template(BUILT_IN) {
            return Err(SendError::new(Reason::Render, Retry::Never, "the built-in template failed on this alert"));
        }
        Ok(alert_body(notification))
    }

    /// How often a template failed on an alert.
    pub(crate) fn fallbacks(&self) -> u64 {
        self.fallbacks.load(Ordering::Relaxed)
    }

    /// Counts a part of a request that had to be left out.
    pub(crate) fn count_left_out(&self) {
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// What the configured template reads and no sensor gives.
    pub(crate) fn unknown_fields(&self) -> &[UnknownField] {
        &self.unknown_fields
    }

    fn add(&mut self, name: &str, text: &str, path: &Path, raw: bool) -> Result<(), Problem> {
        let place = |line, column| TemplatePlace { path: path.to_owned(), line, column };
        let problem = |position: Option<(usize, usize)>, message: String| {
            let (line, column) = position.unwrap_or((1, 1));
            Problem { message, place: Some(place(line, column)) }
        };
        let template = Template::compile_with_name(text, name.to_owned()).map_err(|error| {
            let reason = one_line(&error.reason().to_string());
            problem(error.pos(), format!("the template cannot be read: {reason}"))
        })?;
        let terms = vet::Terms { names: &vet::NAMES, helpers: &helpers::names(), allows_raw: raw };
        let fields =
            vet::vet(&template, terms).map_err(|fault| problem(Some((fault.line, fault.column)), fault.message))?;
        let unknown = fields.into_iter().filter(|field| !vet::is_known_field(&field.name));
        let unknown =
            unknown.map(|vet::FieldUse { name, line, column }| UnknownField { name, place: place(line, column) });
        self.unknown_fields.extend(unknown);
        self.templates.register_template(name, template);
        for (what, sample) in samples() {
            self.try_render(name, &context(&sample)).map_err(|error| {
                let message =
                    format!("the template fails for {what}: {}; {}", one_line(&error.reason()), error.advice());
                problem(error.position(), message)
            })?;
        }
        Ok(())
    }

    fn try_render(&self, name: &str, context: &Value) -> Result<Value, BodyError> {
        let mut body = Bounded(Vec::new());
        self.templates.render_to_write(name, context, &mut body)?;
        Ok(serde_json::from_slice(&body.0)?)
    }

    fn count_failure(&self, name: &str, notification: &Notification, error: &BodyError) {
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
        let error = one_line(&error.to_string());
        tracing::warn!(template = name, id = %notification.id, error, "template failed, the built-in body is sent");
    }
}

/// The alert as it is, with the notification's id, and `repeats` where there are any. A summary or digest has the same keys with its own text as
/// `output`, and says what it is under `notification`.
pub(crate) fn alert_body(notification: &Notification) -> Value {
    let Ok(Value::Object(mut body)) = serde_json::to_value(&*notification.alert) else {
        return Value::Null; // an alert holds nothing that JSON cannot say
    };
    body.insert("uuid".into(), json!(notification.id));
    let mut about = notification_value(notification);
    if matches!(notification.kind, NotificationKind::Alert) {
        body.insert("uuid".into(), json!(notification.alert.uuid.unwrap_or(notification.id)));
        body.append(&mut about);
        return Value::Object(body);
    }
    body.insert("output".into(), notification_text(notification).into());
    about.insert("kind".into(), notification.kind.name().into());
    about.insert("route".into(), (*notification.route).into());
    body.insert("notification".into(), about.into());
    Value::Object(body)
}

/// What a notification says beside its alert: the repeats of an alert where there are any, or what a summary or digest
/// holds.
pub(crate) fn notification_value(notification: &Notification) -> Map<String, Value> {
    match &notification.kind {
        NotificationKind::Alert if notification.repeats == 0 => Map::new(),
        NotificationKind::Alert => Map::from_iter([("repeats".to_owned(), notification.repeats.into())]),
        NotificationKind::Summary(summary) => summary_value(summary),
        NotificationKind::Digest(digest) => digest_value(digest),
        NotificationKind::Resolve(resolve) => resolve_value(resolve),
    }
}

/// [`alert_body`] as text; most alerts are told as they are, and need no tree of values in between.
pub(crate) fn alert_text(notification: &Notification) -> String {
    let Notification { alert, kind: NotificationKind::Alert, repeats: 0, .. } = notification else {
        return alert_body(notification).to_string();
    };
    match alert.uuid.map(|_| serde_json::to_string(&**alert)) {
        Some(Ok(text)) => text,
        _ => alert_body(notification).to_string(),
    }
}

/// What the notification says in one line, before any escaping or cutting.
pub(crate) fn notification_text(notification: &Notification) -> String {
    let alert = &notification.alert;
    match &notification.kind {
        NotificationKind::Alert if alert.output.is_empty() => alert.rule.clone(),
        NotificationKind::Alert => message(alert).to_owned(),
        NotificationKind::Summary(_) => title(notification),
        NotificationKind::Resolve(resolve) => {
            let Resolve { count, since, last, by, .. } = resolve;
            let who = by.as_ref().map_or("nothing more came".to_owned(), |by| format!("resolved by {by}"));
            format!("{}: {count} alerts from {since} to {last}, {who}", title(notification))
        }
        NotificationKind::Digest(digest) => {
            let rules: Vec<_> = digest.rules.iter().map(|(rule, count)| format!("{rule} ({count})")).collect();
            format!("{}: {}", title(notification), rules.join(", "))
        }
    }
}

/// The rule, its repeats, and what the alert says, or the sentence of a summary or digest; before any escaping or cutting.
pub(crate) fn headline(notification: &Notification) -> String {
    let (rule, text) = (&notification.alert.rule, notification_text(notification));
    let more = more(notification);
    match (&notification.kind, text.strip_prefix(rule.as_str())) {
        (NotificationKind::Alert, Some(rest)) => format!("{rule}{more}{rest}"),
        (NotificationKind::Alert, None) => format!("{rule}{more}: {text}"),
        _ => text,
    }
}

/// ` (+3 more so far)`, or nothing.
fn more(notification: &Notification) -> String {
    match notification.repeats {
        0 => String::new(),
        repeats => format!(" (+{repeats} more so far)"),
    }
}

/// The output without the `HH:MM:SS.nnnnnnnnn: Priority ` (or ISO 8601) that Falco and the sensor start it with: time and
/// priority have their own places in every notification.
fn message(alert: &Alert) -> &str {
    let without_prefix = alert.output.split_once(": ").and_then(|(time, rest)| {
        let is_time = time.bytes().all(|byte| byte.is_ascii_digit() || b":.-+TZ".contains(&byte));
        rest.strip_prefix(alert.priority.name())?.strip_prefix(' ').filter(|_| is_time)
    });
    without_prefix.unwrap_or(&alert.output)
}

/// An output field's value as text: strings as they are, null as nothing, the rest as JSON.
pub(crate) fn field_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn title(notification: &Notification) -> String {
    let rule = truncate(&notification.alert.rule, TITLE_RULE_CHARS_MAX);
    match &notification.kind {
        NotificationKind::Alert if notification.repeats > 0 => format!("{rule}{}", more(notification)),
        NotificationKind::Alert => notification.alert.rule.clone(),
        NotificationKind::Resolve(_) => format!("Resolved: {rule}"),
        NotificationKind::Summary(summary) => format!("{rule} ({} more in {})", summary.count, span(summary.window)),
        NotificationKind::Digest(digest) => {
            let held = Duration::try_from(digest.until.duration_since(digest.since)).unwrap_or_default();
            let cause = match &digest.time_window {
                Some(window) => format!("time window `{}`", truncate(window, TITLE_RULE_CHARS_MAX)),
                None => "rate limit".to_owned(),
            };
            format!("{} alerts held back by the {cause} in {}", digest.count, span(held))
        }
    }
}

/// `2s`, `5m`, `1h 30m`.
fn span(duration: Duration) -> String {
    let whole = if duration.as_secs() > 0 { Duration::from_secs(duration.as_secs()) } else { duration };
    SignedDuration::try_from(whole).map_or_else(|_| format!("{}s", whole.as_secs()), |span| format!("{span:#}"))
}

fn context(notification: &Notification) -> Value {
    let alert = &notification.alert;
    let (mut summary, mut digest, mut resolve) = (Value::Null, Value::Null, Value::Null);
    match &notification.kind {
        NotificationKind::Alert => {}
        NotificationKind::Summary(told) => summary = summary_value(told).into(),
        NotificationKind::Digest(told) => digest = digest_value(told).into(),
        NotificationKind::Resolve(told) => resolve = resolve_value(told).into(),
    }
    json!({
        "kind": notification.kind.name(),
        "id": notification.id,
        "route": &*notification.route,
        "dedup_key": notification.dedup_key.as_deref(),
        "title": title(notification),
        "text": notification_text(notification),
        "headline": headline(notification),
        "time": format!("{:.3}", alert.time),
        "count": notification.kind.count(),
        "repeats": notification.repeats,
        "alert": alert_value(alert),
        "fields": fields(alert),
        "summary": summary,
        "digest": digest,
        "resolve": resolve,
    })
}

/// The alert with all its keys, also those that its JSON leaves out when empty.
fn alert_value(alert: &Alert) -> Map<String, Value> {
    let value = json!({
        "uuid": alert.uuid,
        "original_uuid": alert.original_uuid,
        "time": alert.time,
        "rule": alert.rule,
        "priority": alert.priority,
        "source": alert.source,
        "hostname": alert.hostname,
        "output": alert.output,
        "output_fields": alert.output_fields,
        "tags": alert.tags,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn fields(alert: &Alert) -> Vec<Value> {
    let present = alert.output_fields.iter().filter(|(_, value)| !value.is_null());
    present.map(|(name, value)| json!({ "name": name, "value": field_text(value) })).collect()
}

fn summary_value(summary: &Summary) -> Map<String, Value> {
    Map::from_iter([
        ("count".to_owned(), summary.count.into()),
        ("first".to_owned(), summary.first.to_string().into()),
        ("last".to_owned(), summary.last.to_string().into()),
        ("samples".to_owned(), summary.samples.clone().into()),
        ("window".to_owned(), span(summary.window).into()),
    ])
}

fn digest_value(digest: &Digest) -> Map<String, Value> {
    let rules: Vec<_> = digest.rules.iter().map(|(rule, count)| json!({ "rule": rule, "count": count })).collect();
    let mut value = Map::from_iter([
        ("count".to_owned(), digest.count.into()),
        ("since".to_owned(), digest.since.to_string().into()),
        ("until".to_owned(), digest.until.to_string().into()),
        ("rules".to_owned(), rules.into()),
    ]);
    if let Some(window) = &digest.time_window {
        value.insert("time_window".to_owned(), (**window).into());
    }
    value
}

fn resolve_value(resolve: &Resolve) -> Map<String, Value> {
    Map::from_iter([
        ("count".to_owned(), resolve.count.into()),
        ("since".to_owned(), resolve.since.to_string().into()),
        ("last".to_owned(), resolve.last.to_string().into()),
        ("by".to_owned(), resolve.by.as_deref().into()),
    ])
}

fn read_template(path: &Path) -> Result<String, Problem> {
    let place = path.display();
    let length =
        std::fs::metadata(path).map_err(|error| Problem::new(format!("cannot read template {place}: {error}")))?.len();
    if length > TEMPLATE_BYTES_MAX {
        return Err(Problem::new(format!(
            "template {place} has {length} bytes, at most {TEMPLATE_BYTES_MAX} are read"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| Problem::new(format!("cannot read template {place}: {error}")))
}

/// Handlebars' messages show the place over several lines; ours have one.
fn one_line(message: &str) -> String {
    visible(&message.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A buffer that refuses what would make it longer than [`BODY_BYTES_MAX`].
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > BODY_BYTES_MAX {
            return Err(std::io::Error::other(format!("the body is longer than {BODY_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
