//! Which parameters an event has, in Falco's order, and where the record has them.

use tercel_sensor_abi::RecordKind;
use tercel_sensor_abi::process::ForkArguments;

use super::{Parameter, Row, flags as names};
use crate::event::call::Subject;
use crate::event::{Event, EventType, OpenedFile};

macro_rules! rows {
    ($($list:ident = [$(($name:literal, $get:expr)),* $(,)?];)*) => {
        $(pub(in crate::event) const $list: &[Row] = &[$(($name, $get)),*];)*
    };
}

#[rustfmt::skip]
rows! {
    OPEN = [("fd", descriptor), ("name", path::<0>), ("flags", open_flags), ("mode", open_mode), ("dev", device), ("ino", inode)];
    OPENAT = [("fd", descriptor), ("dirfd", directory::<0>), ("name", path::<0>), ("flags", open_flags), ("mode", open_mode),
        ("dev", device), ("ino", inode)];
    OPENAT2 = [("fd", descriptor), ("dirfd", directory::<0>), ("name", path::<0>), ("flags", open_flags), ("mode", open_mode),
        ("resolve", |event| Parameter::flags(event.file().map_or(0, OpenedFile::resolve), names::RESOLVE)), ("dev", device), ("ino", inode)];
    CREAT = [("fd", descriptor), ("name", path::<0>), ("mode", open_mode), ("dev", device), ("ino", inode),
        ("creat_flags", |event| layer_flags(event))];
    OPEN_BY_HANDLE_AT = [("fd", descriptor), ("mountfd", directory::<0>), ("flags", open_flags),
        ("path", |event| event.descriptor_facts().map_or(Parameter::Unknown, |found| Parameter::Text(found.name))), ("dev", device), ("ino", inode)];

    SOCKET = [("fd", descriptor), ("domain", |event| Parameter::constant(event.argument(0), names::FAMILIES)),
        ("type", number::<1>), ("proto", number::<2>)];
    CONNECT = [("res", result), ("tuple", tuple), ("fd", descriptor), ("addr", address)];
    BIND = [("res", result), ("addr", address), ("fd", descriptor)];
    LISTEN = [("res", result), ("fd", descriptor), ("backlog", number::<1>)];
    ACCEPT = [("fd", descriptor), ("tuple", tuple), ("queuepct", unknown), ("queuelen", unknown), ("queuemax", unknown)];
    ACCEPT4 = [("fd", descriptor), ("tuple", tuple), ("queuepct", unknown), ("queuelen", unknown), ("queuemax", unknown),
        ("flags", |event| Parameter::flags(event.argument(3), names::NEW_DESCRIPTOR))];
    SENDTO = [("res", result), ("data", data), ("fd", descriptor), ("size", number::<2>), ("tuple", tuple)];
    RECVFROM = [("res", result), ("data", data), ("tuple", tuple), ("fd", descriptor), ("size", number::<2>)];
    RECVMSG = [("res", result), ("size", |event| Parameter::Number(event.record.header.result.max(0))), ("data", data),
        ("tuple", tuple), ("msgcontrol", unknown), ("fd", descriptor)];
    SHUTDOWN = [("res", result), ("fd", descriptor), ("how", |event| Parameter::constant(event.argument(1), names::SHUTDOWN))];
    SOCKET_OPTION = [("res", result), ("fd", descriptor), ("level", number::<1>), ("optname", number::<2>), ("val", unknown),
        ("optlen", unknown)];
    SOCKETPAIR = [("res", result), ("fd1", pair::<0>), ("fd2", pair::<1>), ("source", unknown), ("peer", unknown),
        ("domain", |event| Parameter::constant(event.argument(0), names::FAMILIES)), ("type", number::<1>), ("proto", number::<2>)];

    ONE_PATH = [("res", result), ("path", path::<0>)];
    TWO_PATHS = [("res", result), ("oldpath", path::<0>), ("newpath", path::<1>)];
    RENAMEAT = [("res", result), ("olddirfd", directory::<0>), ("oldpath", path::<0>), ("newdirfd", directory::<2>),
        ("newpath", path::<1>)];
    RENAMEAT2 = [("res", result), ("olddirfd", directory::<0>), ("oldpath", path::<0>), ("newdirfd", directory::<2>),
        ("newpath", path::<1>), ("flags", |event| Parameter::flags(event.argument(4), names::RENAME))];
    LINKAT = [("res", result), ("olddir", directory::<0>), ("oldpath", path::<0>), ("newdir", directory::<2>),
        ("newpath", path::<1>), ("flags", |event| Parameter::flags(event.argument(4), names::AT))];
    SYMLINK = [("res", result), ("target", text), ("linkpath", path::<0>)];
    SYMLINKAT = [("res", result), ("target", text), ("linkdirfd", directory::<1>), ("linkpath", path::<0>)];
    UNLINKAT = [("res", result), ("dirfd", directory::<0>), ("name", path::<0>),
        ("flags", |event| Parameter::flags(event.argument(2), names::UNLINK))];
    MKDIR = [("res", result), ("path", path::<0>), ("mode", octal::<1>)];
    MKDIRAT = [("res", result), ("dirfd", directory::<0>), ("path", path::<0>), ("mode", octal::<2>)];
    MKNOD = [("res", result), ("path", path::<0>), ("mode", octal::<1>), ("dev", number::<2>)];
    MKNODAT = [("res", result), ("dirfd", directory::<0>), ("path", path::<0>), ("mode", octal::<2>), ("dev", number::<3>)];
    CHMOD = [("res", result), ("filename", path::<0>), ("mode", mode::<1>)];
    FCHMODAT = [("res", result), ("dirfd", directory::<0>), ("filename", path::<0>), ("mode", mode::<2>)];
    FCHMOD = [("res", result), ("fd", descriptor), ("mode", mode::<1>)];
    CHOWN = [("res", result), ("path", path::<0>), ("uid", user::<1>), ("gid", group::<2>)];
    FCHOWNAT = [("res", result), ("dirfd", directory::<0>), ("pathname", path::<0>), ("uid", user::<2>), ("gid", group::<3>),
        ("flags", |event| Parameter::flags(event.argument(4), names::AT))];
    FCHOWN = [("res", result), ("fd", descriptor), ("uid", user::<1>), ("gid", group::<2>)];
    MOUNT = [("res", result), ("dev", text), ("dir", path::<0>), ("type", second_text),
        ("flags", |event| Parameter::flags(event.argument(3), names::MOUNT))];
    UMOUNT2 = [("res", result), ("name", path::<0>), ("flags", |event| Parameter::flags(event.argument(1), names::UNMOUNT))];

    ONE_RESULT = [("res", result)];
    ONE_DESCRIPTOR = [("res", result), ("fd", descriptor)];
    DUP = [("res", made), ("oldfd", fd::<0>)];
    DUP2 = [("res", made), ("oldfd", fd::<0>), ("newfd", fd::<1>)];
    DUP3 = [("res", made), ("oldfd", fd::<0>), ("newfd", fd::<1>),
        ("flags", |event| Parameter::flags(event.argument(2), names::NEW_DESCRIPTOR))];
    FCNTL = [("res", result), ("fd", descriptor), ("cmd", |event| Parameter::constant(event.argument(1), names::FCNTL)),
        ("arg", number::<2>)];
    PIPE = [("res", result), ("fd1", pair::<0>), ("fd2", pair::<1>), ("ino", unknown),
        ("flags", |event| Parameter::flags(event.argument(1), names::NEW_DESCRIPTOR))];
    EVENTFD = [("res", made), ("initval", number::<0>), ("flags", |event| Parameter::flags(event.argument(1), names::NEW_DESCRIPTOR))];
    EPOLL_CREATE = [("res", made), ("size", number::<0>)];
    EPOLL_CREATE1 = [("res", made), ("flags", |event| Parameter::flags(event.argument(0), names::NEW_DESCRIPTOR))];
    FLAGS_FIRST = [("res", made), ("flags", |event| Parameter::flags(event.argument(0), names::NEW_DESCRIPTOR))];
    TIMERFD_CREATE = [("res", made), ("clockid", number::<0>),
        ("flags", |event| Parameter::flags(event.argument(1), names::NEW_DESCRIPTOR))];
    SIGNALFD = [("res", made), ("fd", fd::<0>), ("mask", unknown), ("flags", |event| Parameter::flags(event.argument(3), names::NEW_DESCRIPTOR))];
    PIDFD_OPEN = [("fd", made), ("pid", process::<0>), ("flags", |event| Parameter::flags(event.argument(1), names::NEW_DESCRIPTOR))];
    PIDFD_GETFD = [("fd", made), ("pid_fd", fd::<0>), ("target_fd", number::<1>), ("flags", number::<2>)];
    MEMFD_CREATE = [("fd", made), ("name", text), ("flags", |event| Parameter::flags(event.argument(1), names::MEMORY_FILE))];
    IO_URING_SETUP = [("res", made), ("entries", number::<0>), ("sq_entries", unknown), ("cq_entries", unknown), ("flags", unknown),
        ("sq_thread_cpu", unknown), ("sq_thread_idle", unknown), ("features", unknown)];
    SETNS = [("res", result), ("fd", descriptor), ("nstype", |event| Parameter::flags(event.argument(1), names::CLONE))];
    FINIT_MODULE = [("res", result), ("fd", descriptor), ("uargs", text),
        ("flags", |event| Parameter::flags(event.argument(2), names::MODULE))];

    INIT_MODULE = [("res", result), ("img", unknown), ("length", number::<1>), ("uargs", text)];
    DELETE_MODULE = [("res", result), ("name", text), ("flags", |event| Parameter::flags(event.argument(1), names::DELETE_MODULE))];
    BPF = [("fd", result), ("cmd", |event| Parameter::constant(event.argument(0), names::BPF))];
    PTRACE = [("res", result), ("addr", number::<2>), ("data", number::<3>),
        ("request", |event| Parameter::constant(event.argument(0), names::PTRACE)), ("pid", process::<1>)];
    UNSHARE = [("res", result), ("flags", |event| Parameter::flags(event.argument(0), names::CLONE))];
    SETUID = [("res", result), ("uid", user::<0>)];
    SETGID = [("res", result), ("gid", group::<0>)];
    SETREUID = [("res", result), ("ruid", user::<0>), ("euid", user::<1>)];
    SETREGID = [("res", result), ("rgid", group::<0>), ("egid", group::<1>)];
    SETRESUID = [("res", result), ("ruid", user::<0>), ("euid", user::<1>), ("suid", user::<2>)];
    SETRESGID = [("res", result), ("rgid", group::<0>), ("egid", group::<1>), ("sgid", group::<2>)];
    SETPGID = [("res", result), ("pid", process::<0>), ("pgid", process::<1>)];
    CAPSET = [("res", result), ("cap_inheritable", |event| Parameter::Capabilities(event.record.header.cap_inheritable)),
        ("cap_permitted", |event| Parameter::Capabilities(event.record.header.cap_permitted)),
        ("cap_effective", |event| Parameter::Capabilities(event.record.header.cap_effective))];
    PRCTL = [("res", result), ("option", |event| Parameter::constant(event.argument(0), names::PRCTL)), ("arg2_str", new_name),
        ("arg2_int", number::<1>)];
    MPROTECT = [("res", result), ("addr", number::<0>), ("length", number::<1>),
        ("prot", |event| Parameter::flags(event.argument(2), names::PROTECTION))];
    KILL = [("res", result), ("pid", process::<0>), ("sig", |event| Parameter::Signal(event.argument_u32(1)))];
    TKILL = [("res", result), ("tid", process::<0>), ("sig", |event| Parameter::Signal(event.argument_u32(1)))];
    TGKILL = [("res", result), ("pid", process::<0>), ("tid", process::<1>), ("sig", |event| Parameter::Signal(event.argument_u32(2)))];
    PROCESS_VM = [("res", result), ("pid", process::<0>)];

    EXECVE = [("res", result), ("exe", exe), ("args", arguments), ("tid", tid), ("pid", pid), ("ptid", ptid), ("cwd", empty),
        ("fdlimit", |event| Parameter::Number(event.process.descriptors_max())),
        ("pgft_maj", |event| Parameter::Number(event.process.major_faults())),
        ("pgft_min", |event| Parameter::Number(event.process.minor_faults())), ("vm_size", unknown), ("vm_rss", unknown),
        ("vm_swap", unknown), ("comm", comm), ("cgroups", unknown), ("env", unknown),
        ("tty", |event| Parameter::Number(event.process.tty.into())),
        ("vpgid", |event| Parameter::Number(event.process.vpgid.into())),
        ("loginuid", |event| Parameter::User(event.record.header.loginuid)), ("flags", exec_flags),
        ("cap_inheritable", |event| Parameter::Capabilities(event.record.header.cap_inheritable)),
        ("cap_permitted", |event| Parameter::Capabilities(event.record.header.cap_permitted)),
        ("cap_effective", |event| Parameter::Capabilities(event.record.header.cap_effective)),
        ("exe_ino", |event| Parameter::unsigned(event.process.exe_inode())),
        ("exe_ino_ctime", |event| Parameter::unsigned(event.process.exe_ctime_ns())),
        ("exe_ino_mtime", |event| Parameter::unsigned(event.process.exe_mtime_ns())),
        ("uid", |event| Parameter::User(event.record.header.euid)), ("trusted_exepath", exe_path),
        ("pgid", |event| Parameter::Number(event.process.pgid.into())),
        ("gid", |event| Parameter::Group(event.record.header.egid)), ("filename", asked_program)];
    CLONE = [("res", child), ("exe", exe), ("args", arguments), ("tid", tid), ("pid", pid), ("ptid", ptid), ("cwd", empty),
        ("fdlimit", |event| Parameter::Number(event.process.descriptors_max())),
        ("pgft_maj", |event| Parameter::Number(event.process.major_faults())),
        ("pgft_min", |event| Parameter::Number(event.process.minor_faults())), ("vm_size", unknown), ("vm_rss", unknown),
        ("vm_swap", unknown), ("comm", comm), ("cgroups", unknown),
        ("flags", |event| Parameter::flags(fork_of(event).flags, names::CLONE)),
        ("uid", |event| Parameter::Number(event.record.header.euid.into())),
        ("gid", |event| Parameter::Number(event.record.header.egid.into())),
        ("vtid", |event| Parameter::Number(event.process.vpid.into())),
        ("vpid", |event| Parameter::Number(event.process.vpid.into())), ("pidns_init_start_ts", unknown)];
    PROCEXIT = [("status", |event| Parameter::Result(exit_status(event).into())),
        ("ret", |event| Parameter::Result((exit_status(event) >> 8 & 0xff).into())),
        ("sig", |event| Parameter::Signal(exit_status(event) & 0x7f)),
        ("core", |event| Parameter::Number((exit_status(event) >> 7 & 1).into())), ("reaper_tid", unknown)];
    GENERIC = [("ID", |event| Parameter::Text(event.event_type.name().as_bytes())),
        ("nativeID", |event| Parameter::Number(event.record.header.syscall.into()))];
}

/// Those of this event.
pub(super) fn rows(event: &Event<'_>) -> &'static [Row] {
    match event.record.kind {
        RecordKind::Exec => EXECVE,
        RecordKind::Fork => CLONE,
        RecordKind::Exit => PROCEXIT,
        _ => event.call.map_or(GENERIC, |call| call.parameters),
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

/// The descriptor that the event is about.
fn descriptor<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    let is_made = event.call.is_some_and(|call| call.subject == Subject::Result);
    match event.raw_descriptor() {
        Some(number) if number < 0 && !is_made => Parameter::Number(number),
        Some(number) => Parameter::Descriptor(number),
        None => Parameter::Unknown,
    }
}

/// The result, which is a descriptor or an error.
fn made<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Descriptor(event.record.header.result)
}

/// A descriptor of which no more than its number is known.
fn fd<'e, const PLACE: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Number(event.argument_i32(PLACE).into())
}

fn directory<'e, const PLACE: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Directory(event.argument_i32(PLACE).into())
}

fn path<'e, const NTH: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    match (event.raw_path(NTH), event.path(NTH)) {
        (Some(raw), Some(resolved)) => Parameter::Path { raw, resolved },
        _ => Parameter::Unknown,
    }
}

fn open_flags<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event
        .file()
        .map_or(Parameter::Unknown, |file| Parameter::OpenFlags { bits: file.falco_flags(), names: file.flags() })
}

fn open_mode<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    let is_creat = event.event_type == EventType::CREAT;
    event.file().map_or(Parameter::Unknown, |file| Parameter::Octal(file.mode(is_creat)))
}

fn device<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.descriptor_facts().map_or(Parameter::Unknown, |found| Parameter::Number(found.device()))
}

fn inode<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.descriptor_facts().map_or(Parameter::Unknown, |found| Parameter::unsigned(found.facts.inode))
}

fn layer_flags<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.descriptor_facts().map_or(Parameter::Unknown, |found| Parameter::flags(found.layer_bits(), names::FILE_LAYER))
}

fn exec_flags<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::flags(event.exec_bits(), names::EXEC)
}

fn number<'e, const PLACE: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::unsigned(event.argument(PLACE))
}

fn octal<'e, const PLACE: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Octal(event.argument_u32(PLACE))
}

fn mode<'e, const PLACE: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Mode(event.argument_u32(PLACE) & 0o177_777)
}

fn user<'e, const PLACE: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::User(event.argument_u32(PLACE))
}

fn group<'e, const PLACE: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Group(event.argument_u32(PLACE))
}

fn process<'e, const PLACE: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.argument_i32(PLACE))
}

/// The first text that is no path.
fn text<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.captured_text(0).map_or(Parameter::Unknown, Parameter::Text)
}

fn second_text<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.captured_text(1).map_or(Parameter::Unknown, Parameter::Text)
}

fn data<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    event.data().map_or(Parameter::Unknown, Parameter::Data)
}

fn pair<'e, const NTH: usize>(event: &'e Event<'_>) -> Parameter<'e> {
    event.pair().map_or(Parameter::Unknown, |pair| Parameter::Number(pair[NTH].into()))
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
        RecordKind::ExecFailed => event.raw_path(0).map_or(Parameter::Unknown, Parameter::Text),
        _ => Parameter::Unknown,
    }
}

fn comm<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Text(event.thread_name())
}

/// Of `PR_SET_NAME`: the thread's name after it.
fn new_name<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    const PR_SET_NAME: u64 = 15;
    if event.argument(0) == PR_SET_NAME { Parameter::Text(event.thread_name()) } else { Parameter::Text(b"") }
}

fn tid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.tid.cast_signed())
}

fn pid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.tgid.cast_signed())
}

fn ptid<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(event.record.header.ppid.cast_signed())
}

fn fork_of(event: &Event<'_>) -> ForkArguments {
    ForkArguments::from_words(event.record.header.arguments)
}

fn child<'e>(event: &'e Event<'_>) -> Parameter<'e> {
    Parameter::Process(fork_of(event).child_tgid.cast_signed())
}

/// As `wait` reports it: the exit status in bits 8 to 15, a core dump in bit 7, the signal in bits 0 to 6.
fn exit_status(event: &Event<'_>) -> u32 {
    event.argument_u32(0)
}
