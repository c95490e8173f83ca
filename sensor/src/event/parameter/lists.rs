//! Which parameters an event has, in Falco's order, and where the record has them.

use tercel_sensor_abi::RecordKind;
use tercel_sensor_abi::process::{FailedExecArguments, ForkArguments};

use super::Parameter;
use crate::event::{Event, EventType};

/// Name, and value.
pub(super) type Row = (&'static str, for<'e> fn(&'e Event<'_>) -> Parameter<'e>);

const OPEN: &[Row] =
    &[("fd", descriptor), ("name", path), ("flags", flags), ("mode", mode), ("dev", unknown), ("ino", unknown)];

const OPENAT: &[Row] = &[
    ("fd", descriptor),
    ("dirfd", directory),
    ("name", path),
    ("flags", flags),
    ("mode", mode),
    ("dev", unknown),
    ("ino", unknown),
];

const OPENAT2: &[Row] = &[
    ("fd", descriptor),
    ("dirfd", directory),
    ("name", path),
    ("flags", flags),
    ("mode", mode),
    ("resolve", unknown),
    ("dev", unknown),
    ("ino", unknown),
];

const CREAT: &[Row] =
    &[("fd", descriptor), ("name", path), ("mode", mode), ("dev", unknown), ("ino", unknown), ("creat_flags", unknown)];

const CONNECT: &[Row] = &[("res", result), ("tuple", tuple), ("fd", descriptor), ("addr", address)];

const EXECVE: &[Row] = &[
    ("res", result),
    ("exe", exe),
    ("args", arguments),
    ("tid", tid),
    ("pid", pid),
    ("ptid", ptid),
    ("cwd", empty),
    ("fdlimit", unknown),
    ("pgft_maj", unknown),
    ("pgft_min", unknown),
    ("vm_size", unknown),
    ("vm_rss", unknown),
    ("vm_swap", unknown),
    ("comm", comm),
    ("cgroups", unknown),
    ("env", unknown),
    ("tty", tty),
    ("vpgid", unknown),
    ("loginuid", |event| Parameter::User(event.record.header.loginuid)),
    ("flags", unknown),
    ("cap_inheritable", unknown),
    ("cap_permitted", unknown),
    ("cap_effective", unknown),
    ("exe_ino", unknown),
    ("exe_ino_ctime", unknown),
    ("exe_ino_mtime", unknown),
    ("uid", |event| Parameter::User(event.record.header.euid)),
    ("trusted_exepath", exe_path),
    ("pgid", unknown),
    ("gid", |event| Parameter::Group(event.record.header.gid)),
    ("filename", asked_program),
];

const CLONE: &[Row] = &[
    ("res", child),
    ("exe", exe),
    ("args", arguments),
    ("tid", tid),
    ("pid", pid),
    ("ptid", ptid),
    ("cwd", empty),
    ("fdlimit", unknown),
    ("pgft_maj", unknown),
    ("pgft_min", unknown),
    ("vm_size", unknown),
    ("vm_rss", unknown),
    ("vm_swap", unknown),
    ("comm", comm),
    ("cgroups", unknown),
    ("flags", unknown),
    ("uid", |event| Parameter::Number(event.record.header.euid.into())),
    ("gid", |event| Parameter::Number(event.record.header.gid.into())),
    ("vtid", unknown),
    ("vpid", unknown),
    ("pidns_init_start_ts", unknown),
];

const PROCEXIT: &[Row] = &[
    ("status", |event| Parameter::Result(exit_status(event).into())),
    ("ret", |event| Parameter::Result((exit_status(event) >> 8 & 0xff).into())),
    ("sig", |event| Parameter::Signal(exit_status(event) & 0x7f)),
    ("core", |event| Parameter::Number((exit_status(event) >> 7 & 1).into())),
    ("reaper_tid", unknown),
];

/// None for events that are not reported.
pub(super) fn rows(event_type: EventType) -> &'static [Row] {
    match event_type {
        EventType::OPEN => OPEN,
        EventType::OPENAT => OPENAT,
        EventType::OPENAT2 => OPENAT2,
        EventType::CREAT => CREAT,
        EventType::CONNECT => CONNECT,
        EventType::EXECVE | EventType::EXECVEAT => EXECVE,
        EventType::CLONE => CLONE,
        EventType::PROCEXIT => PROCEXIT,
        _ => &[],
    }
}

fn unknown<'e>(_: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Unknown
}

/// Falco has the parameter and leaves it empty.
fn empty<'e>(_: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Text(b"")
}

fn result<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Result(event.record.header.result)
}

fn descriptor<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    match event.record.kind {
        RecordKind::Open => Parameter::Descriptor(event.record.header.result),
        _ => event.descriptor().map_or(Parameter::Unknown, Parameter::Descriptor),
    }
}

fn directory<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.file().map_or(Parameter::Unknown, |file| Parameter::Directory(file.directory_fd().into()))
}

fn path<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.file().map_or(Parameter::Unknown, |file| Parameter::Path { raw: file.raw_name(), resolved: file.name() })
}

fn flags<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.file().map_or(Parameter::Unknown, |file| Parameter::Flags { bits: file.falco_flags(), names: file.flags() })
}

fn mode<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    let is_creat = event.event_type == EventType::CREAT;
    event.file().map_or(Parameter::Unknown, |file| Parameter::Octal(file.mode(is_creat)))
}

fn tuple<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.connection().map_or(Parameter::Unknown, |connection| Parameter::Text(connection.name()))
}

fn address<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.connection().map_or(Parameter::Unknown, |connection| match connection.asked {
        Some(end) => Parameter::Address(end),
        None => Parameter::Text(connection.name()),
    })
}

/// A failed exec has the caller's program still; the one that was asked for is not in the record.
fn exe<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    match event.record.kind {
        RecordKind::ExecFailed => Parameter::Unknown,
        _ => Parameter::Text(event.process.exe()),
    }
}

fn arguments<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    match event.record.kind {
        RecordKind::ExecFailed => Parameter::Unknown,
        _ => Parameter::Arguments(event.process),
    }
}

fn exe_path<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Text(event.process.exe_path())
}

fn asked_program<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    match event.record.kind {
        RecordKind::ExecFailed => Parameter::Text(event.record.string(FailedExecArguments::STRING_NAME)),
        _ => Parameter::Unknown,
    }
}

fn comm<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Text(event.thread_name())
}

fn tty<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Number(event.process.tty.into())
}

fn tid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.tid)
}

fn pid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.tgid)
}

fn ptid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.ppid)
}

fn child<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(ForkArguments::from_words(event.record.header.arguments).child_tgid)
}

/// As `wait` reports it: the exit status in bits 8 to 15, a core dump in bit 7, the signal in bits 0 to 6.
fn exit_status(event: &Event<'_>) -> u32 {
    u32::try_from(event.record.header.arguments[0] & u64::from(u32::MAX)).unwrap_or_default()
}
