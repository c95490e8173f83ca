//! What is taken of each call. One that is not here is reported with its number and result alone.

use tercel_sensor_abi::{CallSpec, Capture, RecordKind, What};

use super::{Call, Subject};
use crate::event::parameter::{Row, lists};

const RESULT: u8 = Capture::RESULT;
/// In the place of a directory's descriptor: the path starts from the working directory.
const HERE: u8 = Capture::NOTHING;

const WORKING_DIRECTORY: Capture = Capture::new(What::WorkingDirectory, HERE, HERE);
const PROCESS: Capture = Capture::new(What::Process, HERE, HERE);
/// What a call makes a descriptor for.
const MADE: &[Capture] = &[descriptor(RESULT)];
/// What the descriptor in the first argument leads to.
const FIRST: &[Capture] = &[descriptor(0)];
/// One path, from the working directory.
const ONE_PATH: &[Capture] = &[path(0, HERE)];
/// One path, from the directory in the first argument.
const ONE_PATH_AT: &[Capture] = &[path(1, 0)];
const TWO_PATHS: &[Capture] = &[path(0, HERE), path(1, HERE)];
const TWO_PATHS_AT: &[Capture] = &[path(1, 0), path(3, 2)];
const MESSAGE: &[Capture] =
    &[Capture::new(What::MessageAddress, 1, HERE), Capture::new(What::MessageData, 1, RESULT), descriptor(0)];
/// Of several messages the first one's address.
const MESSAGES: &[Capture] = &[Capture::new(What::MessageAddress, 1, HERE), descriptor(0)];

const OF_FIRST: Subject = Subject::Argument(0);

use RecordKind::{Descriptor, ExecFailed, Network, Open, Other, Path};

#[rustfmt::skip]
pub(super) static CALLS: &[Call] = &[
    call("open", Open, Subject::Result, &[path(0, HERE), descriptor(RESULT)], lists::OPEN).opens(1),
    call("openat", Open, Subject::Result, &[path(1, 0), descriptor(RESULT)], lists::OPENAT).opens(2),
    call("openat2", Open, Subject::Result, &[path(1, 0), descriptor(RESULT), Capture::new(What::OpenHow, 2, HERE)], lists::OPENAT2)
        .opens(CallSpec::FLAGS_ARE_POINTED_TO),
    call("creat", Open, Subject::Result, &[path(0, HERE), descriptor(RESULT)], lists::CREAT).opens(CallSpec::FLAGS_ARE_CREATS),
    call("open_by_handle_at", Open, Subject::Result, MADE, lists::OPEN_BY_HANDLE_AT).opens(2),

    call("execve", ExecFailed, Subject::None, ONE_PATH, lists::EXECVE).fails(),
    call("execveat", ExecFailed, Subject::None, ONE_PATH_AT, lists::EXECVE).fails(),

    call("socket", Network, Subject::Result, MADE, lists::SOCKET),
    call("connect", Network, OF_FIRST, &[address(1, 2), descriptor(0)], lists::CONNECT),
    call("bind", Network, OF_FIRST, &[address(1, 2), descriptor(0)], lists::BIND),
    call("listen", Network, OF_FIRST, FIRST, lists::LISTEN),
    call("accept", Network, Subject::Result, &[address_out(1, 2), descriptor(RESULT)], lists::ACCEPT),
    call("accept4", Network, Subject::Result, &[address_out(1, 2), descriptor(RESULT)], lists::ACCEPT4),
    call("sendto", Network, OF_FIRST, &[address(4, 5), data(1, 2), descriptor(0)], lists::SENDTO),
    call("recvfrom", Network, OF_FIRST, &[address_out(4, 5), data(1, RESULT), descriptor(0)], lists::RECVFROM),
    call("sendmsg", Network, OF_FIRST, MESSAGE, lists::SENDTO),
    call("recvmsg", Network, OF_FIRST, MESSAGE, lists::RECVMSG),
    call("sendmmsg", Network, OF_FIRST, MESSAGES, lists::SENDTO),
    call("recvmmsg", Network, OF_FIRST, MESSAGES, lists::RECVMSG),
    call("shutdown", Network, OF_FIRST, FIRST, lists::SHUTDOWN),
    call("getsockopt", Network, OF_FIRST, FIRST, lists::SOCKET_OPTION),
    call("setsockopt", Network, OF_FIRST, FIRST, lists::SOCKET_OPTION),
    call("socketpair", Network, Subject::None, &[Capture::new(What::Pair, 3, HERE)], lists::SOCKETPAIR),

    call("rename", Path, Subject::None, TWO_PATHS, lists::TWO_PATHS),
    call("renameat", Path, Subject::None, TWO_PATHS_AT, lists::RENAMEAT),
    call("renameat2", Path, Subject::None, TWO_PATHS_AT, lists::RENAMEAT2),
    call("link", Path, Subject::None, TWO_PATHS, lists::TWO_PATHS),
    call("linkat", Path, Subject::None, TWO_PATHS_AT, lists::LINKAT),
    call("symlink", Path, Subject::None, &[text(0), path(1, HERE)], lists::SYMLINK),
    call("symlinkat", Path, Subject::None, &[text(0), path(2, 1)], lists::SYMLINKAT),
    call("unlink", Path, Subject::None, ONE_PATH, lists::ONE_PATH),
    call("unlinkat", Path, OF_FIRST, ONE_PATH_AT, lists::UNLINKAT),
    call("rmdir", Path, Subject::None, ONE_PATH, lists::ONE_PATH),
    call("mkdir", Path, Subject::None, ONE_PATH, lists::MKDIR),
    call("mkdirat", Path, OF_FIRST, ONE_PATH_AT, lists::MKDIRAT),
    call("mknod", Path, Subject::None, ONE_PATH, lists::MKNOD),
    call("mknodat", Path, Subject::None, ONE_PATH_AT, lists::MKNODAT),
    call("chmod", Path, Subject::None, ONE_PATH, lists::CHMOD),
    call("fchmodat", Path, OF_FIRST, ONE_PATH_AT, lists::FCHMODAT),
    call("fchmodat2", Path, OF_FIRST, ONE_PATH_AT, lists::FCHMODAT),
    call("fchmod", Descriptor, OF_FIRST, FIRST, lists::FCHMOD),
    call("chown", Path, Subject::None, ONE_PATH, lists::CHOWN),
    call("lchown", Path, Subject::None, ONE_PATH, lists::CHOWN),
    call("fchownat", Path, OF_FIRST, ONE_PATH_AT, lists::FCHOWNAT),
    call("fchown", Descriptor, OF_FIRST, FIRST, lists::FCHOWN),
    call("truncate", Path, Subject::None, ONE_PATH, lists::ONE_PATH),
    call("ftruncate", Descriptor, OF_FIRST, FIRST, lists::ONE_DESCRIPTOR),
    call("chdir", Path, Subject::None, &[path(0, HERE), WORKING_DIRECTORY], lists::ONE_PATH),
    call("fchdir", Descriptor, OF_FIRST, &[descriptor(0), WORKING_DIRECTORY], lists::ONE_DESCRIPTOR),
    call("chroot", Path, Subject::None, &[path(0, HERE), WORKING_DIRECTORY], lists::ONE_PATH),
    call("pivot_root", Path, Subject::None, &[path(0, HERE), path(1, HERE), WORKING_DIRECTORY], lists::GENERIC),
    call("mount", Path, Subject::None, &[text(0), path(1, HERE), text(2)], lists::MOUNT),
    call("umount2", Path, Subject::None, ONE_PATH, lists::UMOUNT2),

    call("dup", Descriptor, Subject::Result, MADE, lists::DUP),
    call("dup2", Descriptor, Subject::Result, MADE, lists::DUP2),
    call("dup3", Descriptor, Subject::Result, MADE, lists::DUP3),
    call("fcntl", Descriptor, OF_FIRST, FIRST, lists::FCNTL),
    call("close", Descriptor, OF_FIRST, &[], lists::ONE_DESCRIPTOR),
    call("pipe", Descriptor, Subject::None, &[Capture::new(What::Pair, 0, HERE)], lists::PIPE),
    call("pipe2", Descriptor, Subject::None, &[Capture::new(What::Pair, 0, HERE)], lists::PIPE),
    call("eventfd", Descriptor, Subject::Result, MADE, lists::EVENTFD),
    call("eventfd2", Descriptor, Subject::Result, MADE, lists::EVENTFD),
    call("epoll_create", Descriptor, Subject::Result, MADE, lists::EPOLL_CREATE),
    call("epoll_create1", Descriptor, Subject::Result, MADE, lists::EPOLL_CREATE1),
    call("inotify_init", Descriptor, Subject::Result, MADE, lists::ONE_RESULT),
    call("inotify_init1", Descriptor, Subject::Result, MADE, lists::FLAGS_FIRST),
    call("timerfd_create", Descriptor, Subject::Result, MADE, lists::TIMERFD_CREATE),
    call("signalfd", Descriptor, Subject::Result, MADE, lists::SIGNALFD),
    call("signalfd4", Descriptor, Subject::Result, MADE, lists::SIGNALFD),
    call("pidfd_open", Descriptor, Subject::Result, MADE, lists::PIDFD_OPEN),
    call("pidfd_getfd", Descriptor, Subject::Result, MADE, lists::PIDFD_GETFD),
    call("memfd_create", Descriptor, Subject::Result, &[text(0), descriptor(RESULT)], lists::MEMFD_CREATE),
    call("userfaultfd", Descriptor, Subject::Result, MADE, lists::FLAGS_FIRST),
    call("io_uring_setup", Descriptor, Subject::Result, MADE, lists::IO_URING_SETUP),
    call("setns", Descriptor, OF_FIRST, FIRST, lists::SETNS),
    call("finit_module", Descriptor, OF_FIRST, &[text(1), descriptor(0)], lists::FINIT_MODULE),

    call("init_module", Other, Subject::None, &[text(2)], lists::INIT_MODULE),
    call("delete_module", Other, Subject::None, &[text(0)], lists::DELETE_MODULE),
    call("bpf", Other, Subject::None, &[], lists::BPF),
    call("ptrace", Other, Subject::None, &[], lists::PTRACE),
    call("unshare", Other, Subject::None, &[], lists::UNSHARE),
    call("setuid", Other, Subject::None, &[], lists::SETUID),
    call("setgid", Other, Subject::None, &[], lists::SETGID),
    call("setreuid", Other, Subject::None, &[], lists::SETREUID),
    call("setregid", Other, Subject::None, &[], lists::SETREGID),
    call("setresuid", Other, Subject::None, &[], lists::SETRESUID),
    call("setresgid", Other, Subject::None, &[], lists::SETRESGID),
    call("setsid", Other, Subject::None, &[PROCESS], lists::ONE_RESULT),
    call("setpgid", Other, Subject::None, &[PROCESS], lists::SETPGID),
    call("capset", Other, Subject::None, &[], lists::CAPSET),
    call("prctl", Other, Subject::None, &[], lists::PRCTL),
    call("mprotect", Other, Subject::None, &[], lists::MPROTECT),
    call("kill", Other, Subject::None, &[], lists::KILL),
    call("tkill", Other, Subject::None, &[], lists::TKILL),
    call("tgkill", Other, Subject::None, &[], lists::TGKILL),
    call("process_vm_readv", Other, Subject::None, &[], lists::PROCESS_VM),
    call("process_vm_writev", Other, Subject::None, &[], lists::PROCESS_VM),
];

const fn call(
    name: &'static str,
    kind: RecordKind,
    subject: Subject,
    captures: &'static [Capture],
    parameters: &'static [Row],
) -> Call {
    Call { name, kind, open_flags: 0, failed_only: false, captures, subject, parameters }
}

impl Call {
    const fn opens(self, open_flags: u8) -> Self {
        Self { open_flags, ..self }
    }

    /// Only where it fails: a success is told by the scheduler.
    const fn fails(self) -> Self {
        Self { failed_only: true, ..self }
    }
}

const fn path(argument: u8, directory: u8) -> Capture {
    Capture::new(What::Path, argument, directory)
}

const fn text(argument: u8) -> Capture {
    Capture::new(What::Text, argument, HERE)
}

const fn address(argument: u8, length: u8) -> Capture {
    Capture::new(What::Address, argument, length)
}

const fn address_out(argument: u8, length: u8) -> Capture {
    Capture::new(What::AddressOut, argument, length)
}

const fn data(argument: u8, length: u8) -> Capture {
    Capture::new(What::Data, argument, length)
}

const fn descriptor(argument: u8) -> Capture {
    Capture::new(What::Descriptor, argument, HERE)
}
