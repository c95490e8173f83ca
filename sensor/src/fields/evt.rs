//! `evt.*` and `syscall.*`: what happened, when, and how it went.

use jiff::tz::TimeZone;
use tercel_filter::Value;
use tercel_sensor_abi::RecordKind;

use super::definition::Flag::{
    CountsFromOne, Deprecated, FilterOnly, NoRightHand, NoTransformer, PrintOnly, Racy, TableOnly,
};
use super::definition::Type::{
    AbsTime, Bool, Bytes, Dynamic, EventType as Name, Int16, Int64, RelTime, Text as Chars, Uint32, Uint64,
};
use super::definition::{Definition, Shape, number, row, text, truth};
use super::time::{NANOSECONDS_PER_SECOND, TimeForm};
use crate::event::{Event, EventType, OpenedFile, Text, result_name};

const SECOND_NS: u64 = NANOSECONDS_PER_SECOND.unsigned_abs();

const MILLISECOND_NS: u64 = 1_000_000;

/// Where system loggers listen: by the name that programs know, and by the one that it is a link to.
const SYSLOG_SOCKETS: [&[u8]; 2] = [b"/dev/log", b"/run/systemd/journal/dev-log"];

/// Calls about memory, sorted.
const MEMORY_CALLS: [&str; 13] = [
    "brk",
    "madvise",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mprotect",
    "mremap",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_mprotect",
    "process_madvise",
];

pub(super) const FIELDS: &[Definition] = &[
    row("evt.num", Uint64, "Counts the events that the sensor looked at, from 1.")
        .flags(&[CountsFromOne])
        .get(|event, _| number(event.number)),
    row("evt.time", Chars, "When the kernel saw the event: local time of day with nanoseconds. In an alert's fields, the number of nanoseconds since 1970.")
        .get(|event, _| Some(time(event, TimeForm::Time))),
    row("evt.time.s", Chars, "The local time of day in seconds.")
        .get(|event, _| Some(time(event, TimeForm::TimeSeconds))),
    row("evt.time.iso8601", Chars, "Date and time with nanoseconds, UTC. In an alert's fields, the number of nanoseconds since 1970.")
        .get(|event, _| Some(time(event, TimeForm::Iso8601))),
    row("evt.datetime", Chars, "Local date and time with nanoseconds.")
        .get(|event, _| Some(time(event, TimeForm::DateTime))),
    row("evt.datetime.s", Chars, "Local date and time in seconds.")
        .get(|event, _| Some(time(event, TimeForm::DateTimeSeconds))),
    row("evt.rawtime", AbsTime, "Nanoseconds since 1970.")
        .get(|event, _| Some(Value::Number(event.time_ns))),
    row("evt.rawtime.s", AbsTime, "Whole seconds since 1970.")
        .get(|event, _| Some(Value::Number(event.time_ns.div_euclid(NANOSECONDS_PER_SECOND)))),
    row("evt.rawtime.ns", AbsTime, "The nanoseconds beyond the whole second.")
        .get(|event, _| Some(Value::Number(event.time_ns.rem_euclid(NANOSECONDS_PER_SECOND)))),
    row("evt.reltime", RelTime, "Nanoseconds since the first event that the sensor looked at.")
        .get(|event, _| number(event.state.timeline.since_first_ns())),
    row("evt.reltime.s", RelTime, "Whole seconds since the first event.")
        .get(|event, _| number(event.state.timeline.since_first_ns() / SECOND_NS)),
    row("evt.reltime.ns", RelTime, "The nanoseconds of `evt.reltime` beyond the whole second.")
        .get(|event, _| number(event.state.timeline.since_first_ns() % SECOND_NS)),
    row("evt.pluginname", Chars, "The plugin that an event comes from; Tercel has no plugins."),
    row("evt.plugininfo", Chars, "What a plugin tells of its event; Tercel has no plugins."),
    row("evt.source", Chars, "Where the event comes from: `syscall`.").get(|_, _| Some(text("syscall"))),
    row("evt.is_async", Bool, "Whether a plugin made the event beside the stream: never.").get(|_, _| truth(false)),
    row("evt.asynctype", Chars, "The name of such an event."),
    row("evt.hostname", Chars, "The machine's name, as alerts have it in `hostname`.")
        .get(|event, _| Some(&*event.state.hostname).filter(|name| !name.is_empty()).map(text)),
    row("evt.latency", RelTime, "Always 0, as in Falco.").flags(&[Deprecated]).get(|_, _| number(0)),
    row("evt.latency.s", RelTime, "Always 0, as in Falco.").flags(&[Deprecated]).get(|_, _| number(0)),
    row("evt.latency.ns", RelTime, "Always 0, as in Falco.").flags(&[Deprecated]).get(|_, _| number(0)),
    row("evt.latency.quantized", Uint64, "Always 0, as in Falco.")
        .flags(&[TableOnly, Deprecated])
        .get(|_, _| number(0)),
    row("evt.latency.human", Chars, "Always `0ns`, as in Falco.").flags(&[Deprecated]).get(|_, _| Some(text("0ns"))),
    row("evt.deltatime", RelTime, "Nanoseconds since the event before; 0 for the first.")
        .get(|event, _| number(event.state.timeline.since_before_ns())),
    row("evt.deltatime.s", RelTime, "Whole seconds since the event before.")
        .get(|event, _| number(event.state.timeline.since_before_ns() / SECOND_NS)),
    row("evt.deltatime.ns", RelTime, "The nanoseconds of `evt.deltatime` beyond the whole second.")
        .get(|event, _| number(event.state.timeline.since_before_ns() % SECOND_NS)),
    row("evt.outputtime", Chars, "In an output, the same as `evt.time`.")
        .flags(&[PrintOnly])
        .get(|event, _| Some(time(event, TimeForm::Time))),
    row("evt.dir", Chars, "Always `<`: events are about calls that returned.")
        .flags(&[Deprecated])
        .get(|_, _| Some(text("<"))),
    row("evt.type", Name, "What happened: the name of a system call, or `procexit`.")
        .get(|event, _| Some(Value::Enum(event.event_type.0))),
    row("evt.type.is", Uint32, "1 where the event has the type that is named behind the dot, else 0.")
        .dotted(Shape::EventType)
        .get(is_of_type),
    row("evt.category", Chars, "What kind of call it is: `file`, `net`, `process`, `memory` or another.")
        .get(|event, _| Some(text(category(event)))),
    row("evt.cpu", Int16, "The processor that it happened on, from 0.")
        .get(|event, _| number(event.record.header.cpu)),
    row("evt.args", Chars, "The event's arguments, `name=value` with blanks between them; what a value stands for follows it in parentheses.")
        .flags(&[Racy])
        .get(|event, _| Some(arguments(event))),
    row("evt.arg", Chars, "One argument by its name or its place, as text: a descriptor with its file (`<f>/etc/hosts`), a path made absolute, flags and errors by name. `<NA>` where it is empty.")
        .dotted(Shape::Parameter)
        .flags(&[Racy])
        .get(argument),
    row("evt.rawarg", Dynamic, "One argument by its name, as it is: numbers as numbers, in Falco's numbering of flags.")
        .dotted(Shape::RawParameter)
        .flags(&[NoTransformer, NoRightHand, Racy])
        .get(raw_argument),
    row("evt.info", Chars, "The same as `evt.args`.").flags(&[Racy]).get(|event, _| Some(arguments(event))),
    row("evt.buffer", Bytes, "What was sent or received, its first 80 bytes; of calls about sockets.")
        .flags(&[Racy])
        .get(|event, _| event.data().map(Value::Text)),
    row("evt.buflen", Uint64, "How many bytes were sent or received.").get(|event, _| bytes_moved(event, |_| true)),
    row("evt.res", Chars, "`SUCCESS`, or the error's name, such as `ENOENT`.")
        .get(|event, _| event.result().map(|result| text(result_name(result)))),
    row("evt.rawres", Int64, "What the system call returned: for an open the descriptor, negative for an error.")
        .get(|event, _| event.result().map(Value::Number)),
    row("evt.failed", Bool, "Whether the system call returned an error.")
        .get(|event, _| event.result().map(|result| Value::Bool(result < 0))),
    row("evt.is_io", Bool, "Whether the call reads or writes.").get(|event, _| truth(direction(event).is_some())),
    row("evt.is_io_read", Bool, "Whether the call reads.").get(|event, _| truth(is_reading(event))),
    row("evt.is_io_write", Bool, "Whether the call writes.").get(|event, _| truth(is_writing(event))),
    row("evt.io_dir", Chars, "`read` or `write`, of calls that do.").get(|event, _| direction(event).map(text)),
    row("evt.is_wait", Bool, "Whether the call is one that waits, such as poll.").get(|_, _| truth(false)),
    row("evt.wait_latency", RelTime, "Always 0, as in Falco.").flags(&[Deprecated]).get(|_, _| number(0)),
    row("evt.is_syslog", Bool, "Whether something was sent to `/dev/log`.").get(|event, _| truth(is_syslog(event))),
    row("evt.count", Uint32, "Always 1.").get(|_, _| number(1)),
    row("evt.count.error", Uint32, "1 where the call failed, else 0.").get(|event, _| failures(event, |_| true)),
    row("evt.count.error.file", Uint32, "The same for calls about files; missing for others.")
        .get(|event, _| failures(event, |event| category(event) == "file")),
    row("evt.count.error.net", Uint32, "The same for calls about sockets; missing for others.")
        .get(|event, _| failures(event, |event| category(event) == "net")),
    row("evt.count.error.memory", Uint32, "The same for calls about memory; missing for others.")
        .get(|event, _| failures(event, |event| category(event) == "memory")),
    row("evt.count.error.other", Uint32, "The same for calls about neither files nor sockets nor memory; missing for those.")
        .get(|event, _| failures(event, |event| !matches!(category(event), "file" | "net" | "memory"))),
    row("evt.count.exit", Uint32, "1 where the event is the return of a call; missing where it is not.")
        .get(|event, _| is_syscall(event).then_some(Value::Number(1))),
    row("evt.count.procinfo", Uint32, "Always 0.").flags(&[TableOnly]).get(|_, _| number(0)),
    row("evt.count.threadinfo", Uint32, "Always 0.").flags(&[TableOnly]).get(|_, _| number(0)),
    row("evt.around", Uint64, "Compared with a number of milliseconds, whether the event is no farther than that from the time in brackets.")
        .required(Shape::Time)
        .flags(&[FilterOnly, NoTransformer, NoRightHand])
        .distance()
        .get(distance),
    row("evt.abspath", Chars, "The path of a call that takes a directory's descriptor and a name, made absolute.")
        .flags(&[Racy])
        .get(|event, _| absolute_path(event, 0)),
    row("evt.abspath.src", Chars, "The path that such a call starts from, where it has two; else its one.")
        .flags(&[Racy])
        .get(|event, _| absolute_path(event, 0)),
    row("evt.abspath.dst", Chars, "The path that such a call leads to, where it has two; else its one.")
        .flags(&[Racy])
        .get(|event, _| absolute_path(event, 1).or_else(|| absolute_path(event, 0))),
    row("evt.buflen.in", Uint64, "How many bytes were read.").flags(&[TableOnly]).get(|event, _| bytes_moved(event, is_reading)),
    row("evt.buflen.out", Uint64, "How many bytes were written.").flags(&[TableOnly]).get(|event, _| bytes_moved(event, is_writing)),
    row("evt.buflen.file", Uint64, "How many bytes were read from or written to a file.").flags(&[TableOnly]),
    row("evt.buflen.file.in", Uint64, "How many bytes were read from a file.").flags(&[TableOnly]),
    row("evt.buflen.file.out", Uint64, "How many bytes were written to a file.").flags(&[TableOnly]),
    row("evt.buflen.net", Uint64, "How many bytes were received or sent.").flags(&[TableOnly]).get(|event, _| bytes_moved(event, |_| true)),
    row("evt.buflen.net.in", Uint64, "How many bytes were received.").flags(&[TableOnly]).get(|event, _| bytes_moved(event, is_reading)),
    row("evt.buflen.net.out", Uint64, "How many bytes were sent.").flags(&[TableOnly]).get(|event, _| bytes_moved(event, is_writing)),
    row("evt.is_open_read", Bool, "Whether a file was opened for reading, or should have been.")
        .get(|event, _| truth(opened(event).is_some_and(OpenedFile::reads))),
    row("evt.is_open_write", Bool, "Whether a file was opened for writing, or should have been.")
        .get(|event, _| truth(opened(event).is_some_and(OpenedFile::writes))),
    row("evt.infra.docker.name", Chars, "What happened in Docker, of events that Falco no longer has.").flags(&[TableOnly]),
    row("evt.infra.docker.container.id", Chars, "The container of such an event.").flags(&[TableOnly]),
    row("evt.infra.docker.container.name", Chars, "The name of that container.").flags(&[TableOnly]),
    row("evt.infra.docker.container.image", Chars, "The image of that container.").flags(&[TableOnly]),
    row("evt.is_open_exec", Bool, "Whether an open may make a file, with a mode that lets it be executed.")
        .get(|event, _| truth(event.file().is_some_and(|file| makes_executable(event, file)))),
    row("evt.is_open_create", Bool, "Whether a successful open may have made the file: with `O_CREAT` or `O_TMPFILE`.")
        .get(|event, _| truth(opened(event).is_some_and(OpenedFile::creates))),
    row("syscall.type", Chars, "The name of the system call; missing where the event is none.")
        .get(|event, _| is_syscall(event).then(|| text(event.event_type.name()))),
];

fn time<'e>(event: &'e Event<'_>, form: TimeForm) -> Value<'e> {
    let write = |text: &mut Vec<u8>| text.extend(form.write(event.time_ns, &TimeZone::system()).into_bytes());
    Value::Text(event.text(form.text(), write))
}

/// In milliseconds, what is begun counted whole.
fn distance<'e>(event: &Event<'_>, time: Option<&str>) -> Option<Value<'e>> {
    let time_ns: i64 = time?.parse().ok()?;
    number(event.time_ns.abs_diff(time_ns).div_ceil(MILLISECOND_NS))
}

fn is_syslog(event: &Event<'_>) -> bool {
    is_writing(event) && event.connection().is_some_and(|connection| SYSLOG_SOCKETS.contains(&connection.name()))
}

fn is_of_type<'e>(event: &'e Event<'_>, argument: Option<&str>) -> Option<Value<'e>> {
    number(u8::from(EventType::find(argument?)? == event.event_type))
}

/// All but the end of a process, which the scheduler tells of.
fn is_syscall(event: &Event<'_>) -> bool {
    event.event_type != EventType::PROCEXIT
}

fn category(event: &Event<'_>) -> &'static str {
    match event.record.kind {
        RecordKind::Open | RecordKind::Path | RecordKind::Descriptor => "file",
        RecordKind::Network => "net",
        RecordKind::Exec | RecordKind::ExecFailed | RecordKind::Fork | RecordKind::Exit => "process",
        RecordKind::Other if MEMORY_CALLS.binary_search(&event.event_type.name()).is_ok() => "memory",
        RecordKind::Other => "other",
    }
}

fn arguments<'e>(event: &'e Event<'_>) -> Value<'e> {
    Value::Text(event.text(Text::Arguments, |text| event.write_parameters(text)))
}

fn argument<'e>(event: &'e Event<'_>, argument: Option<&str>) -> Option<Value<'e>> {
    let (place, parameter) = event.parameter(argument?)?;
    parameter.text(place, event).map(Value::Text)
}

fn raw_argument<'e>(event: &'e Event<'_>, argument: Option<&str>) -> Option<Value<'e>> {
    let (_, parameter) = event.parameter(argument?)?;
    parameter.raw()
}

fn failures<'e>(event: &Event<'_>, is_about: fn(&Event<'_>) -> bool) -> Option<Value<'e>> {
    let result = event.result().filter(|_| is_about(event))?;
    number(u8::from(result < 0))
}

/// Only of those calls that take a directory's descriptor.
fn absolute_path<'e>(event: &'e Event<'_>, nth: usize) -> Option<Value<'e>> {
    event.call?.directory_of(nth)?;
    event.path(nth).map(Value::Text)
}

/// `read` and `write`, of the calls that do so with a socket; those of files are not reported with what they move.
fn direction(event: &Event<'_>) -> Option<&'static str> {
    if is_reading(event) {
        Some("read")
    } else if is_writing(event) {
        Some("write")
    } else {
        None
    }
}

fn is_reading(event: &Event<'_>) -> bool {
    matches!(event.event_type, EventType::RECVFROM | EventType::RECVMSG | EventType::RECVMMSG)
}

fn is_writing(event: &Event<'_>) -> bool {
    matches!(event.event_type, EventType::SENDTO | EventType::SENDMSG | EventType::SENDMMSG)
}

fn bytes_moved<'e>(event: &'e Event<'_>, is_wanted: fn(&Event<'_>) -> bool) -> Option<Value<'e>> {
    direction(event).filter(|_| is_wanted(event))?;
    number(event.result()?.max(0))
}

/// creat has no flags, as in Falco, where the questions about them are then answered with false.
fn opened<'e, 'a>(event: &'e Event<'a>) -> Option<&'e OpenedFile<'a>> {
    event.file().filter(|_| event.event_type != EventType::CREAT)
}

fn makes_executable(event: &Event<'_>, file: &OpenedFile<'_>) -> bool {
    file.makes_executable(event.event_type == EventType::CREAT)
}
