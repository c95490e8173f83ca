//! What the sensor remembers, so that a record of the kernel becomes an event with a history: processes and their
//! ancestors, sockets, users, containers.

pub mod container;
pub mod dns;
pub mod kubernetes;
pub mod process;
pub(crate) mod procfs;
pub mod socket;
pub(crate) mod timeline;
pub mod user;

use std::cell::Cell;
use std::path::Path;

use crate::ring::Record;
use container::{Container, Containers, Inventory};
use dns::HostNames;
use process::Processes;
use socket::Sockets;
use timeline::Timeline;
use user::Users;

/// Everything that events look things up in.
#[derive(Debug)]
pub struct State {
    pub processes: Processes,
    pub sockets: Sockets,
    pub users: Users,
    /// The hosts that rules name.
    pub hosts: HostNames,
    pub(crate) timeline: Timeline,
    /// How often somebody asked for the next number.
    numbers: Cell<u64>,
    /// The machine's name as alerts have it; empty where nobody set it.
    pub hostname: String,
    containers: Containers,
    /// What their runtimes tell of them.
    pub inventory: Inventory,
    /// The present, `CLOCK_BOOTTIME`: at least the last record's time.
    pub(crate) now_ns: u64,
}

impl State {
    /// Knows no process yet. `passwd` and `group`: the files that name users and groups.
    pub fn new(passwd: &Path, group: &Path) -> Self {
        Self {
            processes: Processes::default(),
            sockets: Sockets::default(),
            users: Users::new(passwd, group),
            hosts: HostNames::default(),
            timeline: Timeline::default(),
            numbers: Cell::default(),
            hostname: String::new(),
            containers: Containers::new(),
            inventory: Inventory::new(),
            now_ns: 0,
        }
    }

    /// Knows what it is told, out of a recording, and asks neither /proc nor files.
    pub(crate) fn recorded() -> Self {
        Self {
            processes: Processes::recorded(),
            sockets: Sockets::default(),
            users: Users::recorded(),
            hosts: HostNames::default(),
            timeline: Timeline::default(),
            numbers: Cell::default(),
            hostname: String::new(),
            containers: Containers::recorded(),
            inventory: Inventory::recorded(),
            now_ns: 0,
        }
    }

    /// From now on a process in this cgroup v2 directory is in this container.
    pub(crate) fn learn_container(&mut self, cgroup_id: u64, container: Option<Container>) {
        self.containers.learn(cgroup_id, container);
    }

    /// Cgroups whose containers were forgotten because there were too many.
    pub(crate) fn containers_evicted(&self) -> u64 {
        self.containers.evicted()
    }

    #[must_use]
    pub fn with_hostname(self, hostname: &str) -> Self {
        Self { hostname: hostname.to_owned(), ..self }
    }

    #[must_use]
    pub fn with_hosts(self, hosts: HostNames) -> Self {
        Self { hosts, ..self }
    }

    #[must_use]
    pub fn with_inventory(self, inventory: Inventory) -> Self {
        Self { inventory, ..self }
    }

    /// The next number, from 1.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    /// Reads the running processes out of /proc. To be called when the kernel programs already report, and before their
    /// first record is applied: then none is missed in between.
    pub fn seed(&mut self) {
        self.processes.seed();
    }

    /// Takes in what a record says. After it the record's process is known.
    pub fn apply(&mut self, record: &Record<'_>) {
        self.processes.apply(record, &self.containers);
        self.sockets.apply(record);
        self.timeline.take(record.header.time_ns);
        self.now_ns = self.now_ns.max(record.header.time_ns);
        // With each record, so that none is missed however its container was found; mostly a look-up.
        let process = self.processes.get(record.header.tgid);
        if let Some(container) = process.and_then(|process| process.container.as_ref()) {
            self.inventory.want(&container.full_id, self.now_ns);
        }
    }

    /// Housekeeping, about once a second. `now_ns`: `CLOCK_BOOTTIME`.
    pub fn tick(&mut self, now_ns: u64) {
        self.processes.tick(now_ns);
        self.users.refresh();
        self.hosts.refresh();
    }
}
