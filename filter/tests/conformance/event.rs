//! An event as a map from fields to values.
//!
//! The tables' event is `cat /etc/shadow` by root's shell: it opens the file and, as no real event does, has a connection,
//! a buffer and what else a field of each type needs. It runs on the host, so what containers have is missing.

use tercel_filter::{Catalog, FieldId, Fields, Kind, Value, Values};

use crate::falco::{self, EVENT_TYPES, Falco};

/// One `field: value` each, as sections of the tables write them too.
const SHADOW: &str = r"
evt.num: 7
evt.time: 12:00:00.000000000
evt.rawtime: 1710000000123456789
evt.deltatime: 0
evt.type: openat
evt.cpu: 2
evt.arg[0]: 3
evt.arg[fd]: <f>/etc/shadow
evt.arg[flags]: O_RDONLY|O_CLOEXEC
evt.arg[mode]: 0
evt.arg[name]: /etc/shadow
evt.arg[res]: 0
evt.rawarg[res]: -2
evt.buffer: HTTP/1.1 200 OK\x0d\x0a\x00\x01end
evt.buflen: 22
evt.res: SUCCESS
evt.rawres: 3
evt.failed: false
evt.is_open_read: true
evt.is_open_write: false
proc.exe: cat
proc.exepath: /usr/bin/cat
proc.name: cat
proc.pname: bash
proc.aname: bash, sshd, systemd
proc.aname[0]: cat
proc.aexepath: /usr/bin/bash, /usr/sbin/sshd, /usr/lib/systemd/systemd
proc.apid: 100, 50, 1
proc.args: -n /etc/shadow
proc.args[0]: -n
proc.args[1]: /etc/shadow
proc.aargs[1]: -l
proc.cmdline: cat -n /etc/shadow
proc.cmdnargs: 2
proc.env: HOME=/root LANG=C.UTF-8
proc.env[HOME]: /root
proc.env[LANG]: C.UTF-8
proc.cwd: /root/
proc.tty: 34816
proc.pid: 200
proc.ppid: 100
proc.duration: 5000000000
proc.is_exe_upper_layer: false
proc.is_exe_from_memfd: false
proc.fdusage: 12.5
thread.cpu: 0.25
thread.cap_effective: CAP_CHOWN CAP_SYS_ADMIN
thread.cgroup[cpu]: /user.slice
user.uid: 0
user.name: root
user.loginuid: -1
group.gid: 1000
group.name: <NA>
fd.num: 3
fd.type: file
fd.types: file, ipv4
fd.name: /etc/shadow
fd.nameraw: ../etc/shadow
fd.directory: /etc
fd.filename: shadow
fd.cip: 192.168.1.5
fd.sip: 93.184.216.34
fd.cport: 40000
fd.sport: 443
fd.l4proto: <NA>
fd.ino: 131074
fd.connected: true
container.id: host
";

#[derive(Debug, Clone)]
enum Owned {
    Text(Vec<u8>),
    Number(i64),
    Float(f64),
    Bool(bool),
    Ip(std::net::IpAddr),
    Enum(u16),
    List(Vec<String>),
    Several(Vec<Owned>),
}

impl Owned {
    fn value(&self) -> Option<Value<'_>> {
        Some(match self {
            Self::Text(bytes) => Value::Text(bytes),
            Self::Number(number) => Value::Number(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Ip(address) => Value::Ip(*address),
            Self::Enum(index) => Value::Enum(*index),
            Self::List(items) => Value::List(items),
            Self::Several(_) => return None,
        })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    values: Vec<(FieldId, Option<String>, Owned)>,
}

impl Event {
    pub(crate) fn empty() -> Self {
        Self { values: Vec::new() }
    }

    pub(crate) fn shadow() -> Self {
        let mut event = Self::empty();
        for line in SHADOW.lines().filter(|line| !line.is_empty()) {
            event.set(line);
        }
        event
    }

    /// Takes `field: value` or `field[argument]: value`; `-` takes the value away. `\xHH` is a byte, `""` is the empty text,
    /// several values have commas between them.
    pub(crate) fn set(&mut self, line: &str) {
        let (key, text) = line.split_once(':').unwrap_or_else(|| panic!("no value in `{line}`"));
        let (name, argument) = match key.split_once('[') {
            Some((name, argument)) => (name, Some(argument.trim_end_matches(']').to_owned())),
            None => (key, None),
        };
        let field = Falco.field(name).unwrap_or_else(|| panic!("no field `{name}`")).id;
        let text = text.trim();
        self.values.retain(|(id, of, _)| (*id, of) != (field, &argument));
        if text != "-" {
            let value = parse(field, argument.as_deref(), text);
            self.values.push((field, argument, value));
        }
    }

    /// Sets a text that no line could hold.
    pub(crate) fn set_text(&mut self, name: &str, text: Vec<u8>) {
        let field = Falco.field(name).unwrap().id;
        self.values.retain(|(id, of, _)| (*id, of) != (field, &None));
        self.values.push((field, None, Owned::Text(text)));
    }

    fn get(&self, field: FieldId, argument: Option<&str>) -> Option<&Owned> {
        self.values.iter().find(|(id, of, _)| *id == field && of.as_deref() == argument).map(|(.., value)| value)
    }

    fn named(&self, name: &str) -> Option<Value<'_>> {
        self.get(Falco.field(name)?.id, None)?.value()
    }

    /// The n-th of several, from 1.
    fn ancestor(&self, field: FieldId, argument: &str) -> Option<Value<'_>> {
        let Owned::Several(values) = self.get(field, None)? else { return None };
        values.get(argument.parse::<usize>().ok()?.checked_sub(1)?)?.value()
    }
}

fn parse(field: FieldId, argument: Option<&str>, text: &str) -> Owned {
    match falco::values(field) {
        Values::List if text == "()" => Owned::List(Vec::new()),
        Values::List => Owned::List(text.split(", ").map(str::to_owned).collect()),
        Values::AnyOf if argument.is_none() => {
            Owned::Several(text.split(", ").map(|item| scalar(field, item)).collect())
        }
        _ => scalar(field, text),
    }
}

fn scalar(field: FieldId, text: &str) -> Owned {
    match falco::kind(field) {
        Kind::Text | Kind::Bytes => Owned::Text(bytes(text)),
        Kind::Number | Kind::Port => Owned::Number(text.parse().unwrap()),
        Kind::Float => Owned::Float(text.parse().unwrap()),
        Kind::Bool => Owned::Bool(text.parse().unwrap()),
        Kind::Ip | Kind::Net => Owned::Ip(text.parse().unwrap()),
        Kind::Enum { .. } => Owned::Enum(event_type(text)),
        Kind::Dynamic => text.parse().map_or_else(|_| Owned::Text(bytes(text)), Owned::Number),
    }
}

pub(crate) fn event_type(name: &str) -> u16 {
    let index = EVENT_TYPES.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no event type `{name}`"));
    u16::try_from(index).unwrap()
}

fn bytes(text: &str) -> Vec<u8> {
    if text == "\"\"" {
        return Vec::new();
    }
    let mut parts = text.split("\\x");
    let mut result = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        result.push(u8::from_str_radix(&part[..2], 16).unwrap());
        result.extend_from_slice(&part.as_bytes()[2..]);
    }
    result
}

impl Fields for Event {
    fn value(&self, field: FieldId, argument: Option<&str>) -> Option<Value<'_>> {
        if let Some(value) = self.get(field, argument) {
            return value.value();
        }
        match (falco::name(field), argument) {
            ("fd.cnet", None) => self.named("fd.cip"),
            ("fd.snet", None) => self.named("fd.sip"),
            ("proc.env" | "proc.args", Some(_)) => self.get(field, None).map(|_| Value::Text(b"")),
            (_, Some(argument)) => self.ancestor(field, argument),
            (_, None) => None,
        }
    }

    fn any(&self, field: FieldId, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        let ends = match falco::name(field) {
            "fd.ip" | "fd.net" => ["fd.cip", "fd.sip"],
            "fd.port" => ["fd.cport", "fd.sport"],
            _ => {
                let Some(Owned::Several(values)) = self.get(field, None) else { return false };
                return values.iter().filter_map(Owned::value).any(test);
            }
        };
        ends.iter().filter_map(|name| self.named(name)).any(test)
    }
}
