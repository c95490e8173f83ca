//! Fields of Falco's, with Falco's types: enough of them to have every type, flag and kind of argument.

use tercel_filter::{Argument, Catalog, Field, FieldId, Kind, Values};

/// A part of what the kernel has, and what Falco names beside it.
pub(crate) const EVENT_TYPES: &[&str] = &[
    "accept",
    "accept4",
    "bind",
    "bpf",
    "chdir",
    "chmod",
    "chroot",
    "clone",
    "clone3",
    "close",
    "connect",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "execve",
    "execveat",
    "fchmod",
    "fchmodat",
    "fcntl",
    "finit_module",
    "fork",
    "fstat",
    "init_module",
    "kill",
    "link",
    "linkat",
    "listen",
    "lstat",
    "memfd_create",
    "mkdir",
    "mkdirat",
    "mount",
    "open",
    "open_by_handle_at",
    "openat",
    "openat2",
    "prctl",
    "procexit",
    "ptrace",
    "read",
    "recvfrom",
    "recvmsg",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendmsg",
    "sendto",
    "setns",
    "setpgid",
    "setsid",
    "setuid",
    "signaldeliver",
    "socket",
    "stat",
    "symlink",
    "symlinkat",
    "umount",
    "unlink",
    "unlinkat",
    "unshare",
    "userfaultfd",
    "vfork",
    "write",
];

const EVENT_TYPE: Kind = Kind::Enum { what: "event type", names: EVENT_TYPES, ordered: false };

const FIELDS: &[Row] = &[
    row("evt.num", "UINT64", Kind::Number).counts_from_one(),
    row("evt.time", "CHARBUF", Kind::Text),
    row("evt.rawtime", "ABSTIME", Kind::Number),
    row("evt.deltatime", "RELTIME", Kind::Number),
    row("evt.type", "CHARBUF", EVENT_TYPE).plain_only(),
    row("evt.cpu", "INT16", Kind::Number),
    row("evt.arg", "CHARBUF", Kind::Text).argument(Argument::Dotted),
    row("evt.rawarg", "DYN", Kind::Dynamic).argument(Argument::Dotted).plain_only(),
    row("evt.buffer", "BYTEBUF", Kind::Bytes),
    row("evt.buflen", "UINT64", Kind::Number),
    row("evt.res", "CHARBUF", Kind::Text),
    row("evt.rawres", "INT64", Kind::Number),
    row("evt.failed", "BOOL", Kind::Bool),
    row("evt.is_open_read", "BOOL", Kind::Bool),
    row("evt.is_open_write", "BOOL", Kind::Bool),
    row("proc.exe", "CHARBUF", Kind::Text),
    row("proc.exepath", "CHARBUF", Kind::Text),
    row("proc.name", "CHARBUF", Kind::Text),
    row("proc.pname", "CHARBUF", Kind::Text),
    row("proc.aname", "CHARBUF", Kind::Text).any_of(),
    row("proc.aexepath", "CHARBUF", Kind::Text).any_of(),
    row("proc.apid", "INT64", Kind::Number).any_of(),
    row("proc.args", "CHARBUF", Kind::Text).argument(Argument::Optional),
    row("proc.aargs", "CHARBUF", Kind::Text).argument(Argument::Optional),
    row("proc.cmdline", "CHARBUF", Kind::Text),
    row("proc.cmdnargs", "UINT64", Kind::Number),
    row("proc.env", "CHARBUF", Kind::Text).argument(Argument::Optional),
    row("proc.cwd", "CHARBUF", Kind::Text),
    row("proc.tty", "UINT32", Kind::Number),
    row("proc.pid", "INT64", Kind::Number),
    row("proc.ppid", "INT64", Kind::Number),
    row("proc.duration", "RELTIME", Kind::Number),
    row("proc.is_exe_upper_layer", "BOOL", Kind::Bool),
    row("proc.is_exe_from_memfd", "BOOL", Kind::Bool),
    row("proc.fdusage", "DOUBLE", Kind::Float),
    row("thread.cpu", "DOUBLE", Kind::Float),
    row("thread.cap_effective", "CHARBUF", Kind::Text),
    row("thread.cgroup", "CHARBUF", Kind::Text).argument(Argument::Required),
    row("user.uid", "UINT32", Kind::Number),
    row("user.name", "CHARBUF", Kind::Text),
    row("user.loginuid", "INT64", Kind::Number),
    row("group.gid", "UINT32", Kind::Number),
    row("group.name", "CHARBUF", Kind::Text),
    row("fd.num", "INT64", Kind::Number),
    row("fd.type", "CHARBUF", Kind::Text),
    row("fd.types", "CHARBUF", Kind::Text).list(),
    row("fd.name", "CHARBUF", Kind::Text),
    row("fd.nameraw", "CHARBUF", Kind::Text),
    row("fd.directory", "CHARBUF", Kind::Text),
    row("fd.filename", "CHARBUF", Kind::Text),
    row("fd.ip", "IPADDR", Kind::Ip).either_of(),
    row("fd.cip", "IPADDR", Kind::Ip),
    row("fd.sip", "IPADDR", Kind::Ip),
    row("fd.port", "PORT", Kind::Port).either_of(),
    row("fd.cport", "PORT", Kind::Port),
    row("fd.sport", "PORT", Kind::Port),
    row("fd.net", "IPNET", Kind::Net).either_of(),
    row("fd.cnet", "IPNET", Kind::Net).plain_only(),
    row("fd.snet", "IPNET", Kind::Net).plain_only(),
    row("fd.l4proto", "CHARBUF", Kind::Text),
    row("fd.ino", "INT64", Kind::Number),
    row("fd.connected", "BOOL", Kind::Bool),
    row("container.id", "CHARBUF", Kind::Text),
    row("container.name", "CHARBUF", Kind::Text),
    row("container.image.repository", "CHARBUF", Kind::Text),
    row("container.privileged", "BOOL", Kind::Bool),
    row("container.mount.dest", "CHARBUF", Kind::Text).argument(Argument::Required),
    row("k8s.ns.name", "CHARBUF", Kind::Text),
    row("k8s.pod.label", "CHARBUF", Kind::Text).argument(Argument::Required),
];

/// What `evt.arg` and `evt.rawarg` may be asked for by name.
const EVENT_ARGUMENTS: &[&str] = &["fd", "flags", "mode", "name", "res", "request", "size"];

struct Row {
    name: &'static str,
    field: Field,
}

const fn row(name: &'static str, type_name: &'static str, kind: Kind) -> Row {
    Row { name, field: Field { type_name, ..Field::new(FieldId(0), kind) } }
}

impl Row {
    const fn argument(mut self, argument: Argument) -> Self {
        self.field.argument = argument;
        self
    }

    /// Takes neither a transformer nor another field on the other side.
    const fn plain_only(mut self) -> Self {
        self.field.transformable = false;
        self.field.right_hand = false;
        self
    }

    const fn any_of(mut self) -> Self {
        self.field.values = Values::AnyOf;
        self.argument(Argument::Optional).plain_only()
    }

    const fn either_of(mut self) -> Self {
        self.field.values = Values::EitherOf;
        self.plain_only()
    }

    const fn list(mut self) -> Self {
        self.field.values = Values::List;
        self.field.right_hand = false;
        self
    }

    const fn counts_from_one(mut self) -> Self {
        self.field.counts_from_one = true;
        self
    }
}

pub(crate) struct Falco;

impl Catalog for Falco {
    fn field(&self, name: &str) -> Option<Field> {
        let index = FIELDS.iter().position(|row| row.name == name)?;
        Some(Field { id: FieldId(u16::try_from(index).unwrap()), ..FIELDS[index].field })
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(FIELDS.iter().map(|row| row.name))
    }

    fn check_argument(&self, field: FieldId, argument: &str) -> Result<(), String> {
        let is_number = argument.bytes().all(|byte| byte.is_ascii_digit());
        match name(field) {
            "evt.arg" | "evt.rawarg" if !is_number && !EVENT_ARGUMENTS.contains(&argument) => {
                Err(format!("unknown event argument `{argument}`"))
            }
            "proc.aname" | "proc.aexepath" | "proc.apid" if !is_number => {
                Err(format!("`{argument}` is no number of an ancestor"))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn name(field: FieldId) -> &'static str {
    FIELDS[usize::from(field.0)].name
}

pub(crate) fn kind(field: FieldId) -> Kind {
    FIELDS[usize::from(field.0)].field.kind
}

pub(crate) fn values(field: FieldId) -> Values {
    FIELDS[usize::from(field.0)].field.values
}
