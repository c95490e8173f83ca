//! A rule's output text → an alert: the text with its fields filled in, and the fields with their types.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value as Json;
use tercel_alert::{OutputFields, Priority};
use tercel_filter::{Argument, FieldId, Fields, Value};

use crate::event::{Event, EventType};
use crate::fields;

/// Bytes of one field in an alert. A longer one is cut and says so.
pub const FIELD_BYTES_MAX: usize = 4_096;

/// Bytes of a whole output text.
pub const OUTPUT_BYTES_MAX: usize = 16_384;

/// Stands at the end of what was cut.
const CUT_MARK: &str = "…";

/// What Falco prints for a field that the event does not have.
const MISSING: &str = "<NA>";

/// In every alert, whatever its rule's output names: the default fingerprint, and where it happened.
const ALWAYS: [&str; 9] = [
    "container.id",
    "container.image.repository",
    "container.image.tag",
    "container.name",
    "evt.time",
    "k8s.ns.name",
    "k8s.pod.name",
    "proc.exepath",
    "user.name",
];

/// A compiled output.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
    /// Every field of the alert, sorted by name.
    fields: Vec<Slot>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    /// Index into the template's fields.
    Field(usize),
}

/// One field with its argument, under the name that the alert gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    name: String,
    id: FieldId,
    argument: Option<String>,
}

/// The output text cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Byte of the text at which the trouble starts.
    pub offset: usize,
    pub message: String,
}

/// An alert's text and fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub output: String,
    pub fields: OutputFields,
}

impl Template {
    /// `%field` and `%field[argument]` stand for values; the longest name that is a field counts, so that `%fd.name.`
    /// ends with a full stop. White space at the end is left out: a folded YAML scalar ends with a line break.
    pub fn compile(text: &str) -> Result<Self, Error> {
        let text = text.trim_end();
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(percent) = rest.find('%') {
            let offset = text.len() - rest.len() + percent;
            pieces.push(Piece::Text(&rest[..percent]));
            let (slot, length) = parse_field(&rest[percent + 1..], offset)?;
            pieces.push(Piece::Field(slot));
            rest = &rest[percent + 1 + length..];
        }
        pieces.push(Piece::Text(rest));
        Ok(Self::assemble(pieces))
    }

    fn assemble(pieces: Vec<Piece<'_>>) -> Self {
        let named = pieces.iter().filter_map(|piece| match piece {
            Piece::Field(slot) => Some(slot.clone()),
            Piece::Text(_) => None,
        });
        let always = ALWAYS
            .iter()
            .filter_map(|name| fields::find(name).map(|(id, _)| Slot { name: (*name).to_owned(), id, argument: None }));
        let mut fields: Vec<Slot> = named.chain(always).collect();
        fields.sort_by(|left, right| left.name.cmp(&right.name));
        fields.dedup();
        let parts = pieces.into_iter().filter_map(|piece| match piece {
            Piece::Text("") => None,
            Piece::Text(text) => Some(Part::Text(text.to_owned())),
            Piece::Field(slot) => fields.iter().position(|field| *field == slot).map(Part::Field),
        });
        Self { parts: parts.collect(), fields }
    }

    /// Fills in the fields. `zone`: of the time that stands before the text.
    pub fn render(&self, event: &Event<'_>, priority: Priority, zone: &TimeZone) -> Rendered {
        let values: Vec<Json> =
            self.fields.iter().map(|slot| json(event.value(slot.id, slot.argument.as_deref()))).collect();
        let clock = time_of_day(event.time_ns, zone);
        let mut output = format!("{clock}: {priority} ");
        for part in &self.parts {
            match part {
                Part::Text(text) => push_escaped(&mut output, text),
                Part::Field(index) if self.fields[*index].name == "evt.time" => output.push_str(&clock),
                Part::Field(index) => push_value(&mut output, &values[*index]),
            }
        }
        cut(&mut output, OUTPUT_BYTES_MAX);
        let fields = self.fields.iter().map(|slot| slot.name.clone()).zip(values).collect();
        Rendered { output, fields }
    }
}

enum Piece<'a> {
    Text(&'a str),
    Field(Slot),
}

/// Reads `name` or `name[argument]` at the start of `text`, which stands behind the percent sign at `offset`. Returns
/// the field and how many bytes it takes.
fn parse_field(text: &str, offset: usize) -> Result<(Slot, usize), Error> {
    let error = |message: String| Error { offset, message };
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))).unwrap_or(text.len());
    let name = &text[..end];
    if name.is_empty() {
        return Err(error("`%` without a field name behind it".to_owned()));
    }
    let (id, definition) = (1..=end)
        .rev()
        .find_map(|length| fields::find(&name[..length]))
        .ok_or_else(|| error(format!("unknown field `{name}`; `tercel-sensor fields` lists them")))?;
    let length = definition.name.len();
    let argument = match text[length..].strip_prefix('[') {
        Some(rest) if definition.argument != Argument::None => {
            let close = rest.find(']').ok_or_else(|| error(format!("`{name}[` is not closed by `]`")))?;
            Some(&rest[..close])
        }
        _ => None,
    };
    if argument.is_none() && (definition.has_many_values() || definition.argument == Argument::Required) {
        let name = definition.name;
        return Err(error(format!("`{name}` stands for many values; name one, as in `%{name}[2]`")));
    }
    let slot = |name: String| Slot { name, id, argument: argument.map(str::to_owned) };
    Ok(match argument {
        Some(argument) => (slot(format!("{}[{argument}]", definition.name)), length + argument.len() + 2),
        None => (slot(definition.name.to_owned()), length),
    })
}

/// `HH:MM:SS.nnnnnnnnn`, as Falco starts its outputs.
fn time_of_day(time_ns: i64, zone: &TimeZone) -> String {
    let time = timestamp(time_ns).to_zoned_datetime(zone.clone());
    format!("{:02}:{:02}:{:02}.{:09}", time.hour(), time.minute(), time.second(), time.subsec_nanosecond())
}

/// Nanoseconds since 1970 as a point in time.
pub(crate) fn timestamp(time_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(time_ns.into()).unwrap_or(Timestamp::MAX)
}

fn json(value: Option<Value<'_>>) -> Json {
    match value {
        None => Json::Null,
        Some(Value::Text(bytes)) => Json::String(bounded_text(bytes)),
        Some(Value::Number(number)) => number.into(),
        Some(Value::Float(number)) => number.into(),
        Some(Value::Bool(truth)) => truth.into(),
        Some(Value::Ip(ip)) => ip.to_string().into(),
        Some(Value::Enum(index)) => EventType(index).name().into(),
        Some(Value::List(texts)) => format!("({})", texts.join(",")).into(),
    }
}

/// At most [`FIELD_BYTES_MAX`]; what is not UTF-8 becomes U+FFFD.
fn bounded_text(bytes: &[u8]) -> String {
    // One byte more than fits tells that something is cut.
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(FIELD_BYTES_MAX + 1)]).into_owned();
    cut(&mut text, FIELD_BYTES_MAX);
    text
}

/// Shortens to `bytes_max` at a character's boundary, the mark included.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - CUT_MARK.len()));
        text.push_str(CUT_MARK);
    }
}

fn push_value(output: &mut String, value: &Json) {
    match value {
        Json::Null => output.push_str(MISSING),
        Json::String(text) => push_escaped(output, text),
        other => _ = write!(output, "{other}"),
    }
}

/// Control characters as JSON writes them, and those that turn the reading direction: an attacker chooses the text, and a
/// terminal shows it.
fn push_escaped(output: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            '\u{8}' => output.push_str("\\b"),
            '\u{c}' => output.push_str("\\f"),
            c if c.is_control() || is_invisible(c) => {
                _ = write!(output, "\\u{:04x}", u32::from(c));
            }
            c => output.push(c),
        }
    }
}

/// Line and paragraph separators, and the controls of reading direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Scratch;
    use crate::testing::{Builder, state_with_cat};

    #[track_caller]
    fn render(text: &str, record: &Builder) -> Rendered {
        let (bytes, state, scratch) = (record.bytes(), state_with_cat(), Scratch::default());
        let event = Event::new(7, 1_795_451_920_618_643_973, Builder::parse(&bytes), &state, &scratch).unwrap();
        Template::compile(text).unwrap().render(&event, Priority::Warning, &TimeZone::UTC)
    }

    #[test]
    fn an_alert_reads_as_falco_writes_it() {
        let text = "Sensitive file read | file=%fd.name type=%evt.type user=%user.name uid=%user.uid process=%proc.name \
                    gparent=%proc.aname[2] ns=%k8s.ns.name fd=%fd.num.";
        let rendered = render(text, &Builder::open("/etc/shadow", 3));
        assert_eq!(
            rendered.output,
            "16:38:40.618643973: Warning Sensitive file read | file=/etc/shadow type=openat user=root uid=0 process=cat \
             gparent=init ns=<NA> fd=3."
        );
        insta::assert_json_snapshot!(rendered.fields);
    }

    #[test]
    fn what_an_attacker_writes_stays_on_one_line_and_in_one_colour() {
        let rendered = render("f=%fd.name", &Builder::open("/tmp/a\nb\x1b[31m\u{202e}\u{9b}\"q", -2));
        assert!(rendered.output.ends_with(r#"f=/tmp/a\nb\u001b[31m\u202e\u009b"q"#), "{}", rendered.output);
        assert_eq!(rendered.fields["fd.name"], "/tmp/a\nb\x1b[31m\u{202e}\u{9b}\"q");
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        let record = Builder::new(tercel_sensor_abi::RecordKind::Open).string(b"/tmp/\xff\xc3").string(b"");
        assert_eq!(render("%fd.name", &record.syscall(EventType::OPENAT)).fields["fd.name"], "/tmp/\u{fffd}\u{fffd}");
    }

    #[test]
    fn long_values_are_cut_at_a_character_and_marked() {
        let long = format!("/{}", "ä".repeat(2_000) + &"b".repeat(100));
        let rendered = render(&"%fd.name ".repeat(5), &Builder::open(&long, 3));
        let field = rendered.fields["fd.name"].as_str().unwrap();
        assert!(field.len() <= FIELD_BYTES_MAX && field.ends_with("b…"), "{}", field.len());
        assert!(rendered.output.len() <= OUTPUT_BYTES_MAX && rendered.output.ends_with('…'));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let check = |text: &str, offset: usize, part: &str| {
            let error = Template::compile(text).unwrap_err();
            assert!(error.offset == offset && error.message.contains(part), "{text}: {error:?}");
        };
        check("100 %", 4, "without a field name");
        check("a %% b", 2, "without a field name");
        check("x=%nosuch.field", 2, "unknown field `nosuch.field`");
        check("x=%proc.aname", 2, "%proc.aname[2]");
        check("x=%proc.aname[2", 2, "not closed");
    }

    #[test]
    fn the_line_break_of_a_folded_scalar_is_not_part_of_the_output() {
        assert!(render("done %fd.num\n", &Builder::open("/x", 5)).output.ends_with("done 5"));
    }

    #[test]
    fn a_field_ends_where_its_name_does() {
        let rendered = render("(%proc.pid):%fd.num,%user.uid.[x]", &Builder::open("/x", 5));
        assert!(rendered.output.ends_with("(5000003):5,0.[x]"), "{}", rendered.output);
    }
}
