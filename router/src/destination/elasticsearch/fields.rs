//! Which output field of an alert is which field of the Elastic Common Schema, and of which type.

use std::net::IpAddr;

use serde_json::Value;

use crate::render::truncate;

/// The longest value of a field that is searched as a whole. The server refuses a document with a term of more than 32,766
/// bytes, and what an attacker makes long enough would never be found: so a value is cut, visibly.
pub(super) const VALUE_CHARS_MAX: usize = 4_096;

/// Of the schema.
pub(super) struct Field {
    /// Its place in the document.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The output field that it is taken from.
    pub(super) from: &'static str,
}

/// What a field takes; a value of another kind is left out, since it would cost the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Found as a whole.
    Keyword,
    /// Found by its words too.
    Text,
    Long,
    Ip,
    /// An absolute path; `fd.name` is one for files only.
    Path,
}

const fn field(name: &'static str, kind: Kind, from: &'static str) -> Field {
    Field { name, kind, from }
}

pub(super) const FIELDS: [Field; 39] = [
    field("process.pid", Kind::Long, "proc.pid"),
    field("process.name", Kind::Keyword, "proc.name"),
    field("process.executable", Kind::Keyword, "proc.exepath"),
    field("process.command_line", Kind::Text, "proc.cmdline"),
    field("process.working_directory", Kind::Keyword, "proc.cwd"),
    field("process.group_leader.pid", Kind::Long, "proc.pgid"),
    field("process.session_leader.pid", Kind::Long, "proc.sid"),
    field("process.parent.pid", Kind::Long, "proc.ppid"),
    field("process.parent.name", Kind::Keyword, "proc.pname"),
    field("process.parent.executable", Kind::Keyword, "proc.pexepath"),
    field("process.parent.command_line", Kind::Text, "proc.pcmdline"),
    field("process.thread.id", Kind::Long, "thread.tid"),
    field("event.action", Kind::Keyword, "evt.type"),
    field("user.id", Kind::Keyword, "user.uid"),
    field("user.name", Kind::Keyword, "user.name"),
    field("group.id", Kind::Keyword, "group.gid"),
    field("group.name", Kind::Keyword, "group.name"),
    field("file.path", Kind::Path, "fd.name"),
    field("file.directory", Kind::Keyword, "fd.directory"),
    field("file.name", Kind::Keyword, "fd.filename"),
    field("file.target_path", Kind::Path, "fs.path.target"),
    field("source.ip", Kind::Ip, "fd.cip"),
    field("source.port", Kind::Long, "fd.cport"),
    field("source.domain", Kind::Keyword, "fd.cip.name"),
    field("destination.ip", Kind::Ip, "fd.sip"),
    field("destination.port", Kind::Long, "fd.sport"),
    field("destination.domain", Kind::Keyword, "fd.sip.name"),
    field("network.transport", Kind::Keyword, "fd.l4proto"),
    field("container.id", Kind::Keyword, "container.id"),
    field("container.name", Kind::Keyword, "container.name"),
    field("container.runtime", Kind::Keyword, "container.type"),
    field("container.image.name", Kind::Keyword, "container.image.repository"),
    field("container.image.tag", Kind::Keyword, "container.image.tag"),
    field("container.image.hash.all", Kind::Keyword, "container.image.digest"),
    field("orchestrator.namespace", Kind::Keyword, "k8s.ns.name"),
    field("orchestrator.resource.name", Kind::Keyword, "k8s.pod.name"),
    field("orchestrator.resource.id", Kind::Keyword, "k8s.pod.uid"),
    field("orchestrator.resource.ip", Kind::Ip, "k8s.pod.ip"),
    field("orchestrator.resource.label", Kind::Keyword, "k8s.pod.labels"),
];

impl Kind {
    /// The value as this kind of field takes it.
    pub(super) fn take(self, value: &Value) -> Option<Value> {
        match self {
            Self::Keyword | Self::Text => text(value).map(Value::from),
            Self::Path => text(value).filter(|text| text.starts_with('/')).map(Value::from),
            Self::Long => value.as_i64().map(Value::from),
            Self::Ip => value.as_str()?.parse::<IpAddr>().ok().map(|ip| ip.to_string().into()),
        }
    }
}

/// A scalar as text, cut.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => truncate(text, VALUE_CHARS_MAX),
        Value::Number(number) => number.to_string(),
        Value::Bool(is_true) => is_true.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty() && text != ABSENT).then_some(text)
}

/// What Falco writes where a field has no value.
const ABSENT: &str = "<NA>";
