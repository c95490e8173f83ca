//! `thread.*`: the thread that did it.

use std::io::Write;

use tercel_filter::Value;

use super::definition::Flag::{Racy, TableOnly};
use super::definition::Type::{Bool, Double, Int64, RelTime, Text as Chars, Uint64};
use super::definition::{Definition, Shape, number, row, text, truth};
use crate::capability;
use crate::enrich::procfs::Usage;
use crate::event::{Event, Text};

const KIB: u64 = 1_024;

pub(super) const FIELDS: &[Definition] = &[
    row(
        "thread.cap_permitted",
        Chars,
        "Capabilities that the thread may take on, such as `CAP_SYS_ADMIN`, with blanks between them.",
    )
    .get(|event, _| Some(capabilities(event, Text::PermittedCapabilities, event.record.header.cap_permitted))),
    row("thread.cap_inheritable", Chars, "Capabilities that survive an exec.")
        .get(|event, _| Some(capabilities(event, Text::InheritableCapabilities, event.record.header.cap_inheritable))),
    row("thread.cap_effective", Chars, "Capabilities that the thread has on.")
        .get(|event, _| Some(capabilities(event, Text::Capabilities, event.record.header.cap_effective))),
    row(
        "thread.pfmajor",
        Uint64,
        "Page faults of the main thread that had to read from a disk, when the program was started.",
    )
    .get(|event, _| number(event.process.major_faults())),
    row("thread.pfminor", Uint64, "Page faults of the main thread that had not, when the program was started.")
        .get(|event, _| number(event.process.minor_faults())),
    row("thread.tid", Int64, "The thread.").get(|event, _| number(event.record.header.tid)),
    row("thread.ismain", Bool, "Whether it is its process's main thread.")
        .get(|event, _| truth(event.record.header.tid == event.record.header.tgid)),
    row("thread.vtid", Int64, "The main thread as its own pid namespace numbers it; missing for other threads.").get(
        |event, _| {
            let header = &event.record.header;
            let number_in_namespace = event.process.vpid;
            (header.tid == header.tgid && number_in_namespace != 0).then_some(Value::Number(number_in_namespace.into()))
        },
    ),
    row("thread.nametid", Chars, "`proc.name` and `thread.tid`, one behind the other.")
        .flags(&[TableOnly])
        .get(|event, _| name_and_number(event)),
    row("thread.exectime", RelTime, "Nanoseconds of processor time since the last switch."),
    row("thread.totexectime", RelTime, "Nanoseconds of processor time since the sensor's start."),
    row("thread.cgroups", Chars, "The thread's cgroups, `controller=path` with blanks between them. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| event.cgroups().map(Value::Text)),
    row(
        "thread.cgroup",
        Chars,
        "The path of its cgroup for the controller that is named behind the dot. Asked of /proc.",
    )
    .dotted(Shape::Controller)
    .flags(&[Racy])
    .get(|event, controller| event.cgroup(controller?).map(text)),
    row("thread.cpu", Double, "The share of a processor that the thread used in the last second, in per cent."),
    row("thread.cpu.user", Double, "Of that, what it used for itself."),
    row("thread.cpu.system", Double, "Of that, what the kernel used for it."),
    row(
        "thread.vmsize",
        Uint64,
        "Virtual memory of a main thread's process, in KiB; 0 for other threads. Asked of /proc.",
    )
    .flags(&[Racy])
    .get(|event, _| memory(event, |usage| usage.virtual_kib)),
    row(
        "thread.vmrss",
        Uint64,
        "Resident memory of a main thread's process, in KiB; 0 for other threads. Asked of /proc.",
    )
    .flags(&[Racy])
    .get(|event, _| memory(event, |usage| usage.resident_kib)),
    row("thread.vmsize.b", Uint64, "`thread.vmsize` in bytes.")
        .flags(&[TableOnly, Racy])
        .get(|event, _| memory(event, |usage| usage.virtual_kib.saturating_mul(KIB))),
    row("thread.vmrss.b", Uint64, "`thread.vmrss` in bytes.")
        .flags(&[TableOnly, Racy])
        .get(|event, _| memory(event, |usage| usage.resident_kib.saturating_mul(KIB))),
];

fn memory<'e>(event: &Event<'_>, get: fn(&Usage) -> u64) -> Option<Value<'e>> {
    let header = &event.record.header;
    if header.tid != header.tgid {
        return Some(Value::Number(0));
    }
    number(get(&event.usage()?))
}

fn capabilities<'e>(event: &'e Event<'_>, text: Text, bits: u64) -> Value<'e> {
    Value::Text(event.text(text, |text| capability::write(text, bits)))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn name_and_number<'e>(event: &'e Event<'_>) -> Option<Value<'e>> {
    Some(Value::Text(event.text(Text::ThreadName, |text| {
        text.extend_from_slice(event.thread_name());
        _ = write!(text, "{}", event.record.header.tid);
    })))
}
