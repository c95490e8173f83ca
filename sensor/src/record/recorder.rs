//! Records → a recording: each with what it takes to understand it in front of it.

use std::collections::HashSet;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use tercel_sensor_abi::{Counters, RecordKind};

use super::tree::Tree;
use crate::clock;
use crate::enrich::State;
use crate::enrich::container::{Container, Inventory};
use crate::enrich::process::Process;
use crate::recording::{End, Item, Machine, Writer, redacted_environment, redacted_record};
use crate::ring::Record;

/// Processes whose environment was looked up, and cgroups whose container was written down: what is pushed out is written
/// once more.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(32_768).unwrap();

/// A clock that is only steered moves less in a second; one that is set moves more.
const CLOCK_TOLERANCE_NS: u64 = 1_000_000;

/// Writes records down. What it does not find in its own state, as a sensor that watches, is asked of /proc and written.
pub(super) struct Recorder<W> {
    writer: Writer<W>,
    state: State,
    /// `None`: everybody is recorded.
    tree: Option<Tree>,
    redacts: bool,
    wall_offset_ns: i64,
    records: u64,
    /// By number and start.
    environments_asked: LruCache<(u32, u64), ()>,
    /// What was written last, by cgroup.
    containers: LruCache<u64, Option<Arc<Container>>>,
    /// Containers that a record was about: what their runtimes tell is written, and of nobody else's.
    met: LruCache<Box<str>, ()>,
}

impl<W: Write> Recorder<W> {
    /// Writes down what is there before the first record.
    pub(super) fn start(
        output: W,
        machine: &Machine,
        mut state: State,
        tree: Option<Tree>,
        redacts: bool,
    ) -> io::Result<Self> {
        state.processes.keep_answers();
        let wall_offset_ns = clock::wall_offset_ns();
        let mut recorder = Self {
            writer: Writer::start(output)?,
            state,
            tree,
            redacts,
            wall_offset_ns,
            records: 0,
            environments_asked: LruCache::new(REMEMBERED_MAX),
            containers: LruCache::new(REMEMBERED_MAX),
            met: LruCache::new(REMEMBERED_MAX),
        };
        recorder.state.inventory.keep_changed();
        recorder.writer.write(&Item::Machine(machine.clone()))?;
        recorder.writer.write(&Item::Clock(wall_offset_ns))?;
        recorder.write_users()?;
        recorder.write_processes()?;
        Ok(recorder)
    }

    /// Written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.writer.bytes()
    }

    /// Writes what runtimes told since. `now_ns`: `CLOCK_BOOTTIME`.
    pub(super) fn refresh(&mut self, now_ns: u64) -> io::Result<()> {
        self.state.now_ns = self.state.now_ns.max(now_ns);
        self.state.inventory.refresh(self.state.now_ns);
        self.write_news()
    }

    /// Housekeeping, about once a second.
    pub(super) fn tick(&mut self, now_ns: u64, wall_offset_ns: i64) -> io::Result<()> {
        self.state.tick(now_ns);
        if wall_offset_ns.abs_diff(self.wall_offset_ns) > CLOCK_TOLERANCE_NS {
            self.wall_offset_ns = wall_offset_ns;
            self.writer.write(&Item::Clock(wall_offset_ns))?;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, record: &Record<'_>) -> io::Result<()> {
        if self.tree.as_mut().is_some_and(|tree| !tree.takes(record)) {
            return Ok(());
        }
        self.state.apply(record);
        for process in self.state.processes.take_answers() {
            self.writer.write(&Item::Process(Box::new(process)))?;
        }
        self.write_container(record)?;
        self.write_metadata_of(record)?;
        self.write_news()?;
        self.write_environment(record)?;
        self.records += 1;
        match redacted_record(record).filter(|_| self.redacts) {
            Some(bytes) => self.write_redacted(&bytes),
            None => self.writer.write(&Item::Record(*record)),
        }
    }

    /// Tells what was lost, and ends the recording. Gives the output back.
    pub(super) fn finish(mut self, counters: &Counters, skipped: u64) -> io::Result<(End, W)> {
        let end = End::new(self.records, counters, skipped, self.tree.map_or(0, |tree| tree.unfollowed()));
        self.writer.write(&Item::End(end.clone()))?;
        Ok((end, self.writer.finish()?))
    }

    fn write_redacted(&mut self, bytes: &[u8]) -> io::Result<()> {
        let record = Record::parse(bytes).ok_or(io::ErrorKind::InvalidData)?;
        self.writer.write(&Item::Record(record))
    }

    /// Every user and group: a call may name any.
    fn write_users(&mut self) -> io::Result<()> {
        let users = &self.state.users;
        users.user_lines().try_for_each(|line| self.writer.write(&Item::User(&line)))?;
        users.group_lines().try_for_each(|line| self.writer.write(&Item::Group(&line)))
    }

    /// Every process; of a command's those that it descends from, or shares session and group with: nobody else's
    /// command line is anybody's business.
    fn write_processes(&mut self) -> io::Result<()> {
        let own = self.tree.as_ref().map(|_| self.lineage(std::process::id()));
        let is_written = |process: &&Process| own.as_ref().is_none_or(|own| own.contains(&process.tgid));
        let mut processes = self.state.processes.all().filter(is_written);
        processes.try_for_each(|process| self.writer.write(&Item::Process(Box::new(process.clone()))))
    }

    fn lineage(&self, tgid: u32) -> HashSet<u32> {
        let processes = &self.state.processes;
        let own = processes.get(tgid).into_iter();
        let ancestors = processes.get(tgid).into_iter().flat_map(|process| processes.ancestors(process));
        own.chain(ancestors).flat_map(|process| [process.tgid, process.sid, process.pgid]).collect()
    }

    /// The container of the record's cgroup, if it is news.
    fn write_container(&mut self, record: &Record<'_>) -> io::Result<()> {
        let cgroup_id = record.header.cgroup_id;
        let Some(process) = self.state.processes.get(record.header.tgid) else { return Ok(()) };
        if cgroup_id == 0 || self.containers.get(&cgroup_id) == Some(&process.container) {
            return Ok(());
        }
        let container = process.container.as_deref().cloned();
        self.containers.put(cgroup_id, process.container.clone());
        self.writer.write(&Item::Container { cgroup_id, container })
    }

    /// What was told of the record's container, when it is first heard of.
    fn write_metadata_of(&mut self, record: &Record<'_>) -> io::Result<()> {
        let process = self.state.processes.get(record.header.tgid);
        let Some(container) = process.and_then(|process| process.container.as_ref()) else { return Ok(()) };
        if self.met.put(container.full_id.as_str().into(), ()).is_some() {
            return Ok(());
        }
        write_metadata(&mut self.writer, &self.state.inventory, &container.full_id)
    }

    /// What is told from now on.
    fn write_news(&mut self) -> io::Result<()> {
        for full_id in self.state.inventory.take_changed() {
            if self.met.contains(&full_id) {
                write_metadata(&mut self.writer, &self.state.inventory, &full_id)?;
            }
        }
        Ok(())
    }

    /// The environment of a process that was started before the recording, when it is first heard of.
    fn write_environment(&mut self, record: &Record<'_>) -> io::Result<()> {
        let (tgid, start_ns) = (record.header.tgid, record.header.start_ns);
        if record.kind == RecordKind::Exec || self.environments_asked.put((tgid, start_ns), ()).is_some() {
            return Ok(());
        }
        let Some(variables) = self.state.processes.ask_environment(tgid) else { return Ok(()) };
        let variables = if self.redacts { redacted_environment(&variables) } else { variables };
        self.writer.write(&Item::Environment { tgid, start_ns, variables: &variables })
    }
}

fn write_metadata<W: Write>(writer: &mut Writer<W>, inventory: &Inventory, full_id: &str) -> io::Result<()> {
    if !inventory.has_heard_of(full_id) {
        return Ok(());
    }
    writer.write(&Item::Metadata { full_id, metadata: inventory.of(full_id).cloned().map(Box::new) })
}
