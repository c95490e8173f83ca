//! `proc.*`: the process that did it, and its ancestors.

use tercel_filter::Value;

use super::definition::Flag::{NoRightHand, NoTransformer, Racy};
use super::definition::Type::{AbsTime, Bool, Double, Int64, RelTime, Text as Chars, Uint32, Uint64};
use super::definition::{AncestorGetter, Definition, Flag, Shape, number, row, text, truth};
use crate::enrich::process::Process;
use crate::event::{Event, Text};

const LINEAGE: &[Flag] = &[NoTransformer, NoRightHand];

/// How the name of every shell that people log in to ends.
const SHELL_ENDING: &[u8] = b"sh";

pub(super) const FIELDS: &[Definition] = &[
    row("proc.exe", Chars, "Argument 0: the program as its caller named it.")
        .get(|event, _| Some(Value::Text(event.process.exe()))),
    row("proc.pexe", Chars, "The parent's argument 0.").get(|event, _| of_parent(event, exe)),
    row("proc.aexe", Chars, "Argument 0 of the n-th ancestor (0 is the process, 1 its parent); without a number, of any ancestor.")
        .flags(LINEAGE)
        .ancestors(exe),
    row("proc.exepath", Chars, "The kernel's path of the program.").get(|event, _| exe_path(event.process)),
    row("proc.pexepath", Chars, "The kernel's path of the parent's program.")
        .get(|event, _| of_parent(event, exe_path)),
    row("proc.aexepath", Chars, "The kernel's path of the n-th ancestor's program; without a number, of any ancestor's.")
        .flags(LINEAGE)
        .ancestors(exe_path),
    row("proc.name", Chars, "The name of the thread that did it, at most 15 bytes: after an exec the program's file name.")
        .get(|event, _| Some(Value::Text(event.thread_name()))),
    row("proc.pname", Chars, "The parent's name.").get(|event, _| of_parent(event, name)),
    row("proc.aname", Chars, "The name of the n-th ancestor (0 is the process, 1 its parent); without a number, of any ancestor.")
        .flags(LINEAGE)
        .ancestors(name),
    row("proc.args", Chars, "The arguments after the program's own name, with blanks between them; with a number, that one of them from 0, empty where there are fewer.")
        .optional(Shape::Index)
        .get(arguments),
    row("proc.aargs", Chars, "The arguments of the n-th ancestor; without a number, of any ancestor.")
        .ancestors(|process| Some(Value::Text(process.arguments()))),
    row("proc.cmdline", Chars, "The process's name, a blank, and its arguments.").get(|event, _| cmdline(event.process)),
    row("proc.pcmdline", Chars, "The parent's name and arguments.").get(|event, _| of_parent(event, cmdline)),
    row("proc.acmdline", Chars, "Name and arguments of the n-th ancestor; without a number, of any ancestor.")
        .flags(LINEAGE)
        .ancestors(cmdline),
    row("proc.cmdnargs", Uint64, "How many arguments there are after the program's own name.")
        .get(|event, _| number(event.process.argument_list().count())),
    row("proc.cmdlenargs", Uint64, "How many bytes they have, without the blanks.")
        .get(|event, _| number(event.process.argument_list().map(<[u8]>::len).sum::<usize>())),
    row("proc.exeline", Chars, "Argument 0, a blank, and the other arguments.").get(|event, _| exe_line(event)),
    row("proc.env", Chars, "The environment that the process was started with, `NAME=value` with blanks between them; with a name, that variable's value, empty where it is not set. The first 4 KiB.")
        .optional(Shape::Name)
        .get(environment),
    row("proc.aenv", Chars, "The environment of the n-th ancestor, or a variable of the nearest ancestor that has it; without either, any ancestor's environment.")
        .any_ancestor(Shape::IndexOrName)
        .flags(LINEAGE)
        .get(ancestor_environment),
    row("proc.cwd", Chars, "The working directory, as the kernel knows it, with a slash at its end.")
        .get(|event, _| event.process.cwd().map(Value::Text)),
    row("proc.loginshellid", Int64, "The farthest of the process and its ancestors whose name ends with `sh`.")
        .get(|event, _| login_shell(event)),
    row("proc.tty", Uint32, "Device number of the controlling terminal; 0 is none.")
        .get(|event, _| number(event.process.tty)),
    row("proc.pid", Int64, "The process.").get(|event, _| number(event.process.tgid)),
    row("proc.ppid", Int64, "Its parent.").get(|event, _| number(event.process.ppid)),
    row("proc.apid", Int64, "The number of the n-th ancestor; without a number, of any ancestor.")
        .flags(LINEAGE)
        .ancestors(|process| number(process.tgid)),
    row("proc.vpid", Int64, "The process as its own pid namespace numbers it.")
        .get(|event, _| known(event.process.vpid)),
    row("proc.pvpid", Int64, "The parent as its own pid namespace numbers it.")
        .get(|event, _| known(event.ancestor(1)?.vpid)),
    row("proc.sid", Int64, "The session: the number of its leader.").get(|event, _| number(event.process.sid)),
    row("proc.sname", Chars, "The name of the session's leader; where it is gone, of the farthest ancestor in the session.")
        .get(|event, _| name(event.session_leader())),
    row("proc.sid.exe", Chars, "Its argument 0.").get(|event, _| exe(event.session_leader())),
    row("proc.sid.exepath", Chars, "The kernel's path of its program.")
        .get(|event, _| exe_path(event.session_leader())),
    row("proc.vpgid", Int64, "The process group as its own pid namespace numbers it.")
        .get(|event, _| known(event.process.vpgid)),
    row("proc.vpgid.name", Chars, "The name of that group's leader.")
        .get(|event, _| name(event.group_leader()?)),
    row("proc.vpgid.exe", Chars, "Its argument 0.").get(|event, _| exe(event.group_leader()?)),
    row("proc.vpgid.exepath", Chars, "The kernel's path of its program.")
        .get(|event, _| exe_path(event.group_leader()?)),
    row("proc.pgid", Int64, "The process group.").get(|event, _| known(event.process.pgid)),
    row("proc.pgid.name", Chars, "The name of the group's leader.").get(|event, _| name(event.group_leader()?)),
    row("proc.pgid.exe", Chars, "Its argument 0.").get(|event, _| exe(event.group_leader()?)),
    row("proc.pgid.exepath", Chars, "The kernel's path of its program.")
        .get(|event, _| exe_path(event.group_leader()?)),
    row("proc.duration", RelTime, "Nanoseconds since the process was started.")
        .get(|event, _| duration(event, event.process)),
    row("proc.ppid.duration", RelTime, "Nanoseconds since its parent was started.")
        .get(|event, _| duration(event, event.ancestor(1)?)),
    row("proc.pid.ts", RelTime, "When the process was started: nanoseconds since 1970.")
        .get(|event, _| Some(Value::Number(event.start_ns(event.process)))),
    row("proc.ppid.ts", RelTime, "When its parent was started: nanoseconds since 1970.")
        .get(|event, _| Some(Value::Number(event.start_ns(event.ancestor(1)?)))),
    row("proc.is_exe_writable", Bool, "Whether the user that runs the program may write to its file, by its permissions.")
        .get(|event, _| truth(event.exec_bits() & 1 != 0)),
    row("proc.is_exe_upper_layer", Bool, "Whether the program's file is in the upper layer of an overlay file system: not of the container's image.")
        .get(|event, _| truth(event.process.is_exe_upper_layer())),
    row("proc.is_exe_lower_layer", Bool, "Whether the program's file is in a lower layer of an overlay file system.")
        .get(|event, _| truth(event.process.is_exe_lower_layer())),
    row("proc.is_exe_from_memfd", Bool, "Whether the program runs out of memory, with no file: `memfd_create`.")
        .get(|event, _| truth(event.process.is_exe_from_memory())),
    row("proc.is_sid_leader", Bool, "Whether the process leads its session.")
        .get(|event, _| truth(event.process.sid == event.process.tgid)),
    row("proc.is_vpgid_leader", Bool, "Whether the process leads its group, in its own pid namespace.")
        .get(|event, _| truth(event.process.vpid != 0 && event.process.vpid == event.process.vpgid)),
    row("proc.is_pgid_leader", Bool, "Whether the process leads its group.")
        .get(|event, _| truth(event.process.pgid == event.process.tgid)),
    row("proc.exe_ino", Int64, "The inode number of the program's file.")
        .get(|event, _| number(event.process.program_file()?.inode)),
    row("proc.exe_ino.ctime", AbsTime, "When that inode changed last, before the program was started: nanoseconds since 1970.")
        .get(|event, _| number(event.process.program_file()?.ctime_ns)),
    row("proc.exe_ino.mtime", AbsTime, "When that file was written last, before the program was started: nanoseconds since 1970.")
        .get(|event, _| number(event.process.program_file()?.mtime_ns)),
    row("proc.exe_ino.ctime_duration_proc_start", AbsTime, "Nanoseconds from that inode's change to the start of the process.")
        .get(|event, _| number(event.start_ns(event.process).saturating_sub_unsigned(event.process.program_file()?.ctime_ns))),
    row("proc.exe_ino.ctime_duration_pidns_start", AbsTime, "Nanoseconds from the start of the pid namespace to that inode's change.")
        .get(|event, _| {
            let changed: i64 = event.process.program_file()?.ctime_ns.try_into().ok()?;
            number(changed.saturating_sub(event.namespace_start_ns()?))
        }),
    row("proc.pidns_init_start_ts", Uint64, "When the first process of the pid namespace was started: nanoseconds since 1970.")
        .get(|event, _| number(event.namespace_start_ns()?)),
    row("proc.fdopencount", Uint64, "How many descriptors the process has open. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| number(event.open_descriptors()?)),
    row("proc.fdlimit", Int64, "How many it might have open when it was started.")
        .get(|event, _| Some(event.process.descriptors_max()).filter(|limit| *limit > 0).and_then(number)),
    row("proc.fdusage", Double, "The share of that limit which is in use, in per cent. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| descriptor_share(event).map(Value::Float)),
    row("proc.vmsize", Uint64, "The process's virtual memory, in KiB. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| number(event.usage()?.virtual_kib)),
    row("proc.vmrss", Uint64, "Its resident memory, in KiB. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| number(event.usage()?.resident_kib)),
    row("proc.vmswap", Uint64, "Its memory that is swapped out, in KiB. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| number(event.usage()?.swapped_kib)),
    row("proc.nthreads", Uint64, "How many threads it has. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| number(event.usage()?.threads)),
    row("proc.nchilds", Uint64, "How many threads it has beside the main one. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| number(event.usage()?.threads.saturating_sub(1))),
    row("proc.stdin.type", Chars, "`fd.type` of its descriptor 0. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| event.standard_descriptor(0).map(|opening| text(opening.kind))),
    row("proc.stdout.type", Chars, "`fd.type` of its descriptor 1. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| event.standard_descriptor(1).map(|opening| text(opening.kind))),
    row("proc.stderr.type", Chars, "`fd.type` of its descriptor 2. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| event.standard_descriptor(2).map(|opening| text(opening.kind))),
    row("proc.stdin.name", Chars, "`fd.name` of its descriptor 0; `pipe:[…]` of a pipe. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| event.standard_descriptor(0).map(|opening| Value::Text(&opening.name))),
    row("proc.stdout.name", Chars, "`fd.name` of its descriptor 1; `pipe:[…]` of a pipe. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| event.standard_descriptor(1).map(|opening| Value::Text(&opening.name))),
    row("proc.stderr.name", Chars, "`fd.name` of its descriptor 2; `pipe:[…]` of a pipe. Asked of /proc.")
        .flags(&[Racy])
        .get(|event, _| event.standard_descriptor(2).map(|opening| Value::Text(&opening.name))),
    row("proc.is_container_healthcheck", Bool, "Whether the process belongs to the container's health check."),
    row("proc.is_container_liveness_probe", Bool, "Whether it belongs to the pod's liveness probe."),
    row("proc.is_container_readiness_probe", Bool, "Whether it belongs to the pod's readiness probe."),
];

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn name(process: &Process) -> Option<Value<'_>> {
    Some(Value::Text(process.name()))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn cmdline(process: &Process) -> Option<Value<'_>> {
    Some(Value::Text(process.cmdline()))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn exe(process: &Process) -> Option<Value<'_>> {
    Some(Value::Text(process.exe()))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn exe_path(process: &Process) -> Option<Value<'_>> {
    Some(Value::Text(process.exe_path()))
}

fn of_parent<'e>(event: &'e Event<'_>, get: AncestorGetter) -> Option<Value<'e>> {
    get(event.ancestor(1)?)
}

fn arguments<'e>(event: &'e Event<'_>, place: Option<&str>) -> Option<Value<'e>> {
    let Some(place) = place else { return Some(Value::Text(event.process.arguments())) };
    let argument = event.process.argument_list().nth(place.parse().ok()?);
    Some(Value::Text(argument.unwrap_or_default()))
}

#[expect(clippy::unnecessary_wraps, reason = "what the table wants")]
fn exe_line<'e>(event: &'e Event<'_>) -> Option<Value<'e>> {
    Some(Value::Text(event.text(Text::ExeLine, |text| {
        text.extend_from_slice(event.process.exe());
        text.push(b' ');
        text.extend_from_slice(event.process.arguments());
    })))
}

fn environment<'e>(event: &'e Event<'_>, variable: Option<&str>) -> Option<Value<'e>> {
    let environment = event.environment()?;
    let variables = || environment.strip_suffix(&[0]).unwrap_or(environment).split(|byte| *byte == 0);
    let Some(name) = variable else {
        return Some(Value::Text(event.text(Text::EnvironmentLine, |text| {
            for variable in variables() {
                text.extend_from_slice(variable);
                text.push(b' ');
            }
            text.pop();
        })));
    };
    let value = variables().find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    Some(text_or_nothing(value))
}

/// A number of which 0 says that nobody knows.
fn known<'e>(value: u32) -> Option<Value<'e>> {
    number(Some(value).filter(|value| *value != 0)?)
}

/// Of those ancestors that were started since somebody asks for environments.
fn ancestor_environment<'e>(event: &'e Event<'_>, argument: Option<&str>) -> Option<Value<'e>> {
    let variable = |process: &'e Process, name: &str| {
        let environment = process.environment()?;
        environment.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let line = |process: &'e Process| process.environment().map(Value::Text);
    match argument {
        Some(place) if place.bytes().all(|byte| byte.is_ascii_digit()) => line(event.ancestor(place.parse().ok()?)?),
        Some(name) => {
            event.state.processes.ancestors(event.process).find_map(|process| variable(process, name)).map(Value::Text)
        }
        None => event.state.processes.ancestors(event.process).find_map(line),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share in per cent")]
fn descriptor_share(event: &Event<'_>) -> Option<f64> {
    let limit = Some(event.process.descriptors_max()).filter(|limit| *limit > 0)?;
    Some(event.open_descriptors()? as f64 * 100.0 / limit as f64)
}

fn text_or_nothing(value: Option<&[u8]>) -> Value<'_> {
    value.map_or(text(""), Value::Text)
}

fn login_shell<'e>(event: &Event<'_>) -> Option<Value<'e>> {
    let lineage = std::iter::once(event.process).chain(event.state.processes.ancestors(event.process));
    number(lineage.filter(|process| process.name().ends_with(SHELL_ENDING)).last()?.tgid)
}

fn duration<'e>(event: &Event<'_>, process: &Process) -> Option<Value<'e>> {
    number(event.record.header.time_ns.saturating_sub(process.start_ns))
}
