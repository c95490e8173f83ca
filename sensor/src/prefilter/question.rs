//! What the kernel knows of an open, as values of fields.

use tercel_filter::{FieldId, Known, Question, Value};

use super::{FAILED, PLAIN_PATH_BYTES_MAX, has_neighbours, is_plain};
use crate::event::EventType;
use crate::fields::definition;

const SUCCESS: &[u8] = b"SUCCESS";

/// An access mode's name among an open's flags, and the others'. By the mode's number.
const ACCESS_NAMES: [(&[u8], &[&[u8]]); 3] = [
    (b"O_RDONLY", &[b"O_WRONLY", b"O_RDWR"]),
    (b"O_WRONLY", &[b"O_RDONLY", b"O_RDWR"]),
    (b"O_RDWR", &[b"O_RDONLY", b"O_WRONLY"]),
];

/// An open of one kind. The subject is its path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    event_type: EventType,
    /// 0 to 2.
    access: u8,
    failed: bool,
    has_plain_path: bool,
}

impl Opening {
    /// With a path that is not plain. `bit`: its number.
    pub(super) fn new(event_type: EventType, bit: u8) -> Self {
        Self { event_type, access: bit % FAILED, failed: bit >= FAILED, has_plain_path: false }
    }

    pub(super) fn with_plain_path(self) -> Self {
        Self { has_plain_path: true, ..self }
    }

    /// Whether the caller tells a path.
    pub(super) fn has_path(self) -> bool {
        self.has_flags() || self.event_type == EventType::CREAT
    }

    /// Whether rules are told of the flags that the kernel goes by.
    fn has_flags(self) -> bool {
        matches!(self.event_type, EventType::OPEN | EventType::OPENAT | EventType::OPENAT2)
    }

    fn takes_directory(self) -> bool {
        matches!(self.event_type, EventType::OPENAT | EventType::OPENAT2)
    }

    fn known_path(self, name: &str, argument: Option<&str>) -> Known<'static> {
        match (name, argument) {
            ("fd.name" | "fd.nameraw" | "fs.path.name" | "fs.path.nameraw", None) | ("evt.arg", Some("name")) => {
                Known::Subject
            }
            ("evt.abspath" | "evt.abspath.src" | "evt.abspath.dst", None) if self.takes_directory() => Known::Subject,
            ("fd.directory", None) => Known::SubjectDirectory,
            _ => Known::Nothing,
        }
    }

    fn known_flags(self, name: &str, argument: Option<&str>) -> Known<'static> {
        match (name, argument) {
            ("evt.is_open_read", None) => self.known_use(self.access != 1),
            ("evt.is_open_write", None) => self.known_use(self.access != 0),
            ("evt.arg", Some("flags")) if self.has_flags() => {
                let (this, none_of) = ACCESS_NAMES[usize::from(self.access)];
                Known::Holding { this, none_of }
            }
            _ => Known::Nothing,
        }
    }

    /// Of a call without flags of its own a rule may be told that it neither reads nor writes.
    fn known_use(self, is_used: bool) -> Known<'static> {
        if is_used && !self.has_flags() { Known::Nothing } else { Known::Value(Value::Bool(is_used)) }
    }

    fn known_result(self, name: &str) -> Known<'static> {
        match (name, self.failed) {
            ("evt.failed", failed) => Known::Value(Value::Bool(failed)),
            ("evt.res", false) => Known::Value(Value::Text(SUCCESS)),
            ("evt.res", true) => Known::OtherThan(SUCCESS),
            ("evt.rawres" | "fd.num", false) => Known::Between(0, i64::MAX),
            ("evt.rawres" | "fd.num", true) => Known::Between(i64::MIN, -1),
            ("evt.is_open_create", true) => Known::Value(Value::Bool(false)),
            ("fd.realpath", true) => Known::Missing,
            _ => Known::Nothing,
        }
    }
}

impl Question for Opening {
    fn known(&self, field: FieldId, argument: Option<&str>) -> Known<'_> {
        let Some(definition) = definition(field) else { return Known::Nothing };
        let name = definition.name;
        let path = if self.has_plain_path { self.known_path(name, argument) } else { Known::Nothing };
        let found = [path, self.known_flags(name, argument)].into_iter().find(|known| *known != Known::Nothing);
        found.unwrap_or_else(|| self.known_result(name))
    }

    fn may_hold(&self, text: &[u8]) -> bool {
        text.len() <= PLAIN_PATH_BYTES_MAX && !has_neighbours(text)
    }

    fn may_begin(&self, text: &[u8]) -> bool {
        self.may_hold(text) && (text.is_empty() || text.starts_with(b"/"))
    }

    fn may_be(&self, text: &[u8]) -> bool {
        is_plain(text)
    }
}
