//! What is asked only when a rule wants to know, of /proc and of a container's files: within the budget for such questions,
//! once for each event. A process that is gone, or whose number is another's by now, has no answer.

use std::cell::OnceCell;
use std::io::Write;
use std::sync::LazyLock;

use super::{Endpoint, Event, Role, Text};
use crate::enrich::process::Process;
use crate::enrich::procfs::descriptors::{self, Opened, Socket, TABLES};
use crate::enrich::procfs::{self, Usage};
use crate::enrich::user::{Inhabitant, Question};

/// Standard input, output and error.
const STANDARD: usize = 3;

/// The controllers of cgroup v2 that Falco tells of, all of which are in one place.
const UNIFIED: [&str; 5] = ["cpuset", "cpu", "cpuacct", "io", "memory"];

/// Every type that a descriptor can have, each as a list of one.
static KINDS: LazyLock<Vec<[String; 1]>> = LazyLock::new(|| {
    let words = [
        "bpf",
        "directory",
        "event",
        "eventpoll",
        "file",
        "inotify",
        "io_uring",
        "ipv4",
        "ipv6",
        "memfd",
        "netlink",
        "pidfd",
        "pipe",
        "signalfd",
        "timerfd",
        "unix",
        "userfaultfd",
    ];
    words.map(|word| [word.to_owned()]).into()
});

/// What was asked for.
#[derive(Default)]
pub(super) struct Answers {
    is_running: OnceCell<bool>,
    usage: OnceCell<Option<Usage>>,
    descriptors: OnceCell<Option<u64>>,
    kinds: OnceCell<Option<Vec<String>>>,
    standard: [OnceCell<Option<Opening>>; STANDARD],
    cgroups: OnceCell<Option<String>>,
}

/// A descriptor that the process has open.
pub(crate) struct Opening {
    /// Falco's word.
    pub(crate) kind: &'static str,
    pub(crate) name: Vec<u8>,
}

impl Event<'_> {
    fn answers(&self) -> &Answers {
        self.answers.get_or_init(Box::default)
    }

    /// Whether /proc may be asked once more about the process.
    fn may_ask(&self) -> bool {
        let Process { tgid, start_ns, .. } = *self.process;
        self.state.processes.spend_lookup()
            && *self.answers().is_running.get_or_init(|| procfs::is_running(tgid, start_ns))
    }

    /// What the process uses now.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let ask = || self.may_ask().then(|| procfs::read_usage(self.process.tgid)).flatten();
        *self.answers().usage.get_or_init(ask)
    }

    /// How many descriptors it has open now.
    pub(crate) fn open_descriptors(&self) -> Option<u64> {
        let ask = || self.may_ask().then(|| descriptors::count(self.process.tgid)).flatten();
        *self.answers().descriptors.get_or_init(ask)
    }

    /// The types of the descriptors that it has open now, sorted, each once.
    pub(crate) fn descriptor_kinds(&self) -> Option<&[String]> {
        let ask = || {
            self.may_ask().then(|| {
                let opened = descriptors::numbers(self.process.tgid).filter_map(|number| self.look_at(number));
                let mut kinds: Vec<_> = opened.map(|opening| opening.kind.to_owned()).collect();
                kinds.sort_unstable();
                kinds.dedup();
                kinds
            })
        };
        self.answers().kinds.get_or_init(ask).as_deref()
    }

    /// The type of one of them, as a list of one.
    pub(crate) fn descriptor_kind_of(&self, number: u32) -> Option<&[String]> {
        let kind = match self.standard_descriptor(usize::try_from(number).ok()?) {
            Some(opening) => opening.kind,
            None => self.may_ask().then(|| self.look_at(number)).flatten()?.kind,
        };
        KINDS.iter().find(|[word]| word == kind).map(<[String; 1]>::as_slice)
    }

    /// Its standard input (0), output (1) or error (2).
    pub(crate) fn standard_descriptor(&self, number: usize) -> Option<&Opening> {
        let ask = || self.may_ask().then(|| self.look_at(u32::try_from(number).ok()?)).flatten();
        self.answers().standard.get(number)?.get_or_init(ask).as_ref()
    }

    /// The socket's table costs a look-up each.
    fn look_at(&self, number: u32) -> Option<Opening> {
        let inode = match descriptors::opened(self.process.tgid, number)? {
            Opened::Known(kind, name) => return Some(Opening { kind, name }),
            Opened::Socket(inode) => inode,
        };
        let mut tables = TABLES.into_iter().take_while(|_| self.state.processes.spend_lookup());
        let socket = tables.find_map(|table| descriptors::socket_in(self.process.tgid, table, inode))?;
        Some(match socket {
            Socket::Unix(name) => Opening { kind: "unix", name },
            Socket::Netlink => Opening { kind: "netlink", name: Vec::new() },
            Socket::Internet { kind, local, remote } => {
                let is_server = self.state.sockets.role_of(inode) == Some(Role::Server);
                Opening { kind, name: connection_name(local, remote, is_server) }
            }
        })
    }

    /// The thread's cgroups, `controller=path` with blanks between them.
    pub(crate) fn cgroups(&self) -> Option<&[u8]> {
        let lines = self.cgroup_lines()?;
        Some(self.text(Text::Cgroups, |text| {
            for (controller, path) in controllers(lines) {
                let blank = if text.is_empty() { "" } else { " " };
                _ = write!(text, "{blank}{controller}={path}");
            }
        }))
    }

    /// The path of its cgroup for one controller.
    pub(crate) fn cgroup(&self, controller: &str) -> Option<&str> {
        controllers(self.cgroup_lines()?).find(|(name, _)| *name == controller).map(|(_, path)| path)
    }

    fn cgroup_lines(&self) -> Option<&str> {
        let ask = || self.may_ask().then(|| procfs::read_cgroups(self.record.header.tid)).flatten();
        self.answers().cgroups.get_or_init(ask).as_deref()
    }

    /// Appends what is known of a user or a group where the process runs: on the host by the host's files, in a container by
    /// the container's own.
    pub(crate) fn write_user(&self, question: Question, id: u32, text: &mut Vec<u8>) {
        let users = &self.state.users;
        let Some(container) = &self.process.container else {
            return text.extend_from_slice(users.of_host(question, id).as_bytes());
        };
        let of_container = (&*container.id, self.inhabitant());
        users.write_of_container(of_container, question, id, || self.state.processes.spend_lookup(), text);
    }

    /// The farthest ancestor in the same container: its root is the container's, where a later process may have changed its own.
    fn inhabitant(&self) -> Inhabitant {
        let container = &self.process.container;
        let inside =
            self.state.processes.ancestors(self.process).take_while(|ancestor| ancestor.container == *container);
        let first = inside.filter(|ancestor| ancestor.is_running()).last().unwrap_or(self.process);
        Inhabitant { tgid: first.tgid, start_ns: first.start_ns }
    }
}

/// Controllers and paths out of lines `hierarchy:controllers:path`. What version 1 does not have is where version 2 says.
fn controllers(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = |line| -> Option<(&str, &str)> {
        let mut parts = str::splitn(line, 3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    };
    let named = move || {
        let lines =
            lines.lines().filter_map(parts).filter(|(names, _)| !names.is_empty() && !names.starts_with("name="));
        lines.flat_map(|(names, path)| names.split(',').map(move |name| (name, path)))
    };
    let unified = lines.lines().filter_map(parts).find(|(names, _)| names.is_empty());
    let rest = unified.into_iter().flat_map(|(_, path)| UNIFIED.map(|name| (name, path)));
    named().chain(rest.filter(move |(name, _)| named().all(|(other, _)| other != *name)))
}

/// As `fd.name` has it: the client first.
fn connection_name(local: Endpoint, remote: Option<Endpoint>, is_server: bool) -> Vec<u8> {
    let Some(remote) = remote else { return format!("{}:{}", local.ip, local.port).into_bytes() };
    let (client, server) = if is_server { (remote, local) } else { (local, remote) };
    format!("{}:{}->{}:{}", client.ip, client.port, server.ip, server.port).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &str) -> Vec<String> {
        controllers(lines).map(|(name, path)| format!("{name}={path}")).collect()
    }

    #[test]
    fn controllers_of_both_versions_are_listed_once() {
        assert_eq!(shown("0::/a:b"), ["cpuset=/a:b", "cpu=/a:b", "cpuacct=/a:b", "io=/a:b", "memory=/a:b"]);
        let mixed = "5:cpu,cpuacct:/v1\n4:memory:/m\n1:name=systemd:/s\n0::/v2\n";
        assert_eq!(shown(mixed), ["cpu=/v1", "cpuacct=/v1", "memory=/m", "cpuset=/v2", "io=/v2"]);
        assert!(shown("").is_empty() && shown("no colons").is_empty());
    }

    #[test]
    fn the_client_of_a_connection_comes_first() {
        let end = |last, port| Endpoint { ip: [10, 0, 0, last].into(), port };
        let name = |remote, is_server| String::from_utf8(connection_name(end(1, 22), remote, is_server)).unwrap();
        assert_eq!(name(None, false), "10.0.0.1:22");
        assert_eq!(name(Some(end(2, 4_000)), true), "10.0.0.2:4000->10.0.0.1:22");
        assert_eq!(name(Some(end(2, 443)), false), "10.0.0.1:22->10.0.0.2:443");
    }
}
