//! The process table: who runs what, started by whom.
//!
//! A process is identified by its number and its start time, for numbers are used again. The table is filled from /proc
//! at the start, then kept by fork, exec and exit records; a process that is unknown all the same (its fork was lost) is
//! looked up in /proc, within a budget. A process that ended stays for its descendants' sake.

pub(crate) mod recorded;
mod trust;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tercel_sensor_abi::file::{LAYER_LOWER, LAYER_UPPER};
use tercel_sensor_abi::process::{ExecArguments, ForkArguments, ProcessFacts};
use tercel_sensor_abi::{RecordHeader, RecordKind, What};

use super::container::{Container, Containers, Lookup};
use super::procfs;
use crate::event::{EventType, call};
use crate::ring::Record;
use trust::{COMPARISONS_MAX, COMPARISONS_PER_TICK, Trust};

/// Processes that are remembered, those that ended included: at some 700 bytes, as is usual, about 23 MiB.
pub const PROCESSES_MAX: usize = 32_768;

/// Bytes of all their texts: arguments and paths may take 12 KiB each. Children that did not exec share their parent's,
/// and are counted as if they did not.
const TEXT_BYTES_MAX: usize = 48 << 20;

/// Share of the table that is given up at once when it is full.
const EVICTED_SHARE: usize = 16;

/// How long a process that ended is remembered at least; longer while a child of it is.
const REMEMBERED_NS: u64 = 30_000_000_000;

/// Ancestors that are followed at most: deeper trees than this are made to hide.
const ANCESTORS_MAX: usize = 64;

/// Look-ups in /proc per second, and how many may be saved up.
const LOOKUPS_PER_TICK: u32 = 200;
const LOOKUPS_MAX: u32 = 1_000;

/// Threads of the kernel have no start time to compare to; entries from /proc are exact to a tick.
const START_TOLERANCE_NS: u64 = procfs::START_TOLERANCE_NS;

/// Stands before a path of which only the end is known, so that it is not taken for an absolute one.
pub const CUT_PATH: &[u8] = b"<UNKNOWN>";

/// Stands at the end of arguments that the kernel side cut.
const CUT_MARK: &str = "…";

/// The program that a process runs. Shared by a process and the children it forks until they exec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    comm: Box<[u8]>,
    /// The name, then each argument after a blank.
    cmdline: Box<[u8]>,
    /// Where in `cmdline` the first argument starts; its length where there is none.
    arguments_at: usize,
    /// Bytes of each argument, the blank behind it left out.
    argument_bytes: Box<[u16]>,
    exe: Box<[u8]>,
    exe_path: Box<[u8]>,
    /// Each variable ended by a NUL; empty where it was not asked for.
    environment: Box<[u8]>,
    file: ProgramFile,
}

/// The file that a program was started from, at its start. All zero: unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgramFile {
    pub inode: u64,
    /// Nanoseconds since 1970.
    pub ctime_ns: u64,
    pub mtime_ns: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// One of the `LAYER_`s.
    pub(super) layer: u32,
}

impl ProgramFile {
    fn of(facts: &ProcessFacts) -> Self {
        Self {
            inode: facts.exe_inode,
            ctime_ns: facts.exe_ctime_ns,
            mtime_ns: facts.exe_mtime_ns,
            mode: facts.exe_mode,
            uid: facts.exe_uid,
            gid: facts.exe_gid,
            layer: facts.exe_layer,
        }
    }
}

impl Image {
    /// `arguments`: each ended by a NUL, the program's own name first.
    fn new(comm: &[u8], arguments: &[u8], exe_path: &[u8]) -> Self {
        let arguments = arguments.strip_suffix(&[0]).unwrap_or(arguments);
        let mut parts = arguments.split(|byte| *byte == 0);
        let exe = parts.next().unwrap_or_default();
        let mut cmdline = Vec::with_capacity(comm.len() + arguments.len());
        let mut argument_bytes = Vec::new();
        cmdline.extend_from_slice(comm);
        for part in parts {
            cmdline.push(b' ');
            cmdline.extend_from_slice(part);
            argument_bytes.push(u16::try_from(part.len()).unwrap_or(u16::MAX));
        }
        let arguments_at = cmdline.len().min(comm.len() + 1);
        Self {
            comm: comm.into(),
            cmdline: cmdline.into(),
            arguments_at,
            argument_bytes: argument_bytes.into(),
            exe: exe.into(),
            exe_path: exe_path.into(),
            environment: Box::default(),
            file: ProgramFile::default(),
        }
    }

    /// The same program after the process gave itself another name.
    fn renamed(&self, comm: &[u8]) -> Self {
        let arguments = &self.cmdline[self.comm.len().min(self.cmdline.len())..];
        let cmdline = [comm, arguments].concat();
        let arguments_at = cmdline.len().min(comm.len() + 1);
        Self { comm: comm.into(), cmdline: cmdline.into(), arguments_at, ..self.clone() }
    }
}

/// One process.
#[derive(Debug, Clone, Default)]
pub struct Process {
    pub tgid: u32,
    pub ppid: u32,
    /// `CLOCK_BOOTTIME` nanoseconds.
    pub start_ns: u64,
    /// Session leader.
    pub sid: u32,
    /// Leader of the process group.
    pub pgid: u32,
    /// Process and group leader as the process's own pid namespace numbers them; 0 where that is unknown.
    pub vpid: u32,
    pub vpgid: u32,
    /// Inode number of that namespace, and when its first process started (`CLOCK_BOOTTIME` nanoseconds); 0 where unknown.
    pub pid_namespace: u32,
    pub pid_namespace_start_ns: u64,
    /// Device number of the controlling terminal; 0 is none.
    pub tty: u32,
    /// `None`: it runs on the host.
    pub container: Option<Arc<Container>>,
    /// Descriptors that it may have open, and page faults of its main thread, at its start.
    limits: Limits,
    /// Inode number of the cgroup v2 directory that `container` was found by.
    cgroup_id: u64,
    image: Arc<Image>,
    cwd: Option<Arc<[u8]>>,
    exited_ns: Option<u64>,
    seen_ns: u64,
    trust: Trust,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Limits {
    descriptors_max: u64,
    minor_faults: u64,
    major_faults: u64,
}

/// How the kernel names a program in memory; at the start, /proc shows the name with a slash.
const MEMORY_FILE: [&[u8]; 2] = [b"memfd:", b"/memfd:"];

impl Process {
    /// The name that the kernel knows it by, at most 15 bytes.
    pub fn name(&self) -> &[u8] {
        &self.image.comm
    }

    /// Name and arguments.
    pub fn cmdline(&self) -> &[u8] {
        &self.image.cmdline
    }

    /// The arguments without the program.
    pub fn arguments(&self) -> &[u8] {
        &self.image.cmdline[self.image.arguments_at..]
    }

    /// The same one by one.
    pub fn argument_list(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.arguments();
        self.image.argument_bytes.iter().map(move |bytes| {
            let (argument, behind) = rest.split_at(usize::from(*bytes).min(rest.len()));
            rest = behind.get(1..).unwrap_or_default();
            argument
        })
    }

    /// The program as its caller named it: argument 0.
    pub fn exe(&self) -> &[u8] {
        &self.image.exe
    }

    /// The kernel's path of the program; empty where it is unknown, as for kernel threads. `memfd:NAME` is a program in
    /// memory; [`CUT_PATH`] stands before a path that lost its head.
    pub fn exe_path(&self) -> &[u8] {
        &self.image.exe_path
    }

    /// The working directory when last looked at, with a slash at its end.
    pub fn cwd(&self) -> Option<&[u8]> {
        self.cwd.as_deref()
    }

    /// The environment that it was started with, each variable ended by a NUL; `None` where it was not asked for then.
    pub fn environment(&self) -> Option<&[u8]> {
        Some(&*self.image.environment).filter(|environment| !environment.is_empty())
    }

    /// `None` where it is not known, as for kernel threads.
    pub fn program_file(&self) -> Option<&ProgramFile> {
        Some(&self.image.file).filter(|file| file.inode != 0)
    }

    pub fn is_exe_from_memory(&self) -> bool {
        MEMORY_FILE.iter().any(|start| self.exe_path().starts_with(start))
    }

    pub fn is_exe_upper_layer(&self) -> bool {
        self.image.file.layer == LAYER_UPPER
    }

    pub fn is_exe_lower_layer(&self) -> bool {
        self.image.file.layer == LAYER_LOWER
    }

    /// Whether somebody with these rights may write to the program's file, by its permissions.
    pub fn is_exe_writable_by(&self, user: u32, group: u32, overrides: bool) -> bool {
        let file = &self.image.file;
        let bit = match () {
            () if file.uid == user => 0o200,
            () if file.gid == group => 0o020,
            () => 0o002,
        };
        file.inode != 0 && (overrides || file.mode & bit != 0)
    }

    pub(crate) fn exe_inode(&self) -> u64 {
        self.image.file.inode
    }

    pub(crate) fn exe_ctime_ns(&self) -> u64 {
        self.image.file.ctime_ns
    }

    pub(crate) fn exe_mtime_ns(&self) -> u64 {
        self.image.file.mtime_ns
    }

    pub(crate) fn descriptors_max(&self) -> i64 {
        self.limits.descriptors_max.try_into().unwrap_or(i64::MAX)
    }

    pub(crate) fn minor_faults(&self) -> i64 {
        self.limits.minor_faults.cast_signed()
    }

    pub(crate) fn major_faults(&self) -> i64 {
        self.limits.major_faults.cast_signed()
    }

    fn set_facts(&mut self, facts: &ProcessFacts) {
        self.sid = facts.sid;
        self.pgid = facts.pgid;
        self.tty = facts.tty;
        self.vpid = facts.vpid;
        self.vpgid = facts.vpgid;
        self.pid_namespace = facts.pid_namespace;
        self.pid_namespace_start_ns = facts.pid_namespace_start_ns;
        self.limits = Limits {
            descriptors_max: facts.descriptors_max,
            minor_faults: facts.minor_faults,
            major_faults: facts.major_faults,
        };
    }

    fn text_bytes(&self) -> usize {
        let Image { cmdline, argument_bytes, exe, exe_path, environment, .. } = &*self.image;
        let texts = cmdline.len() + size_of_val(&**argument_bytes) + exe.len() + exe_path.len() + environment.len();
        texts + self.cwd.as_ref().map_or(0, |cwd| cwd.len())
    }

    /// As far as the records tell.
    pub(crate) fn is_running(&self) -> bool {
        self.exited_ns.is_none()
    }

    fn is(&self, start_ns: u64) -> bool {
        self.start_ns.abs_diff(start_ns) <= START_TOLERANCE_NS
    }
}

/// What the table counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given up because the table was full.
    pub evicted: u64,
    /// Found in /proc.
    pub looked_up: u64,
    /// Known ones that were compared with /proc after a loss.
    pub compared: u64,
    /// Gone from /proc before they were looked up.
    pub gone: u64,
    /// Not looked up because the budget was spent.
    pub over_budget: u64,
    /// Known only by what their own records say.
    pub unknown: u64,
}

/// The process table.
#[derive(Debug)]
pub struct Processes {
    by_tgid: HashMap<u32, Process>,
    text_bytes: usize,
    budget: Cell<u32>,
    /// By which the budget grows at a tick; 0 where there is no /proc to ask.
    lookups_per_tick: u32,
    /// What /proc answered; `None` where nobody wants to know.
    answers: Option<Vec<Process>>,
    /// How many known processes may be compared with /proc before the next tick.
    comparisons_left: u32,
    /// Times that records about the lives of processes were found missing.
    losses: u32,
    /// Of these, those after which every process was compared with /proc.
    swept: u32,
    counts: Counts,
}

impl Default for Processes {
    fn default() -> Self {
        Self {
            by_tgid: HashMap::new(),
            text_bytes: 0,
            budget: Cell::new(LOOKUPS_MAX),
            lookups_per_tick: LOOKUPS_PER_TICK,
            answers: None,
            comparisons_left: COMPARISONS_MAX,
            losses: 0,
            swept: 0,
            counts: Counts::default(),
        }
    }
}

impl Processes {
    pub fn get(&self, tgid: u32) -> Option<&Process> {
        self.by_tgid.get(&tgid)
    }

    pub fn len(&self) -> usize {
        self.by_tgid.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_tgid.is_empty()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Parent, grandparent and so on, as far as they are known.
    pub fn ancestors<'a>(&'a self, process: &'a Process) -> impl Iterator<Item = &'a Process> {
        let parent_of = |child: &Process| {
            self.get(child.ppid).filter(|parent| {
                parent.start_ns <= child.start_ns.saturating_add(START_TOLERANCE_NS) && parent.tgid != child.tgid
            })
        };
        std::iter::successors(parent_of(process), move |child| parent_of(child)).take(ANCESTORS_MAX)
    }

    /// Whether /proc may be asked once more; counts down.
    pub fn spend_lookup(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }

    /// Reads every process out of /proc.
    pub(super) fn seed(&mut self) {
        for process in procfs::pids().take(PROCESSES_MAX).filter_map(read_process) {
            self.insert(process);
        }
    }

    pub(super) fn apply(&mut self, record: &Record<'_>, containers: &Containers) {
        let header = &record.header;
        if record.is_behind_lost_process {
            self.distrust();
        }
        self.ensure_known(record);
        if record.kind != RecordKind::Exec {
            self.follow_cgroup(header, containers);
        }
        let parent_container = match record.kind {
            RecordKind::Exec => self.get(header.ppid).and_then(|parent| parent.container.clone()),
            _ => None,
        };
        let Some(process) = self.by_tgid.get_mut(&header.tgid) else { return };
        let before = process.text_bytes();
        process.seen_ns = header.time_ns;
        process.ppid = header.ppid;
        match record.kind {
            RecordKind::Exec => exec(process, record, parent_container, containers),
            RecordKind::Fork => {
                let child = fork(process, record);
                return self.insert(child);
            }
            RecordKind::Exit => process.exited_ns = Some(header.time_ns),
            _ => returned(process, record),
        }
        self.text_bytes = self.text_bytes + process.text_bytes() - before;
        self.keep_within_bounds();
    }

    /// A process that was moved to another cgroup may be in another container from now on.
    fn follow_cgroup(&mut self, header: &RecordHeader, containers: &Containers) {
        let stays = |process: &Process| process.cgroup_id == header.cgroup_id || header.cgroup_id == 0;
        if self.get(header.tgid).is_none_or(stays) {
            return;
        }
        let found = match containers.of_cgroup(header.cgroup_id) {
            Lookup::Unknown if self.spend_lookup() => containers.of_process_in(header.tgid, header.cgroup_id),
            found => found,
        };
        // Where the budget is spent its next record asks again.
        if let (Lookup::Known(container), Some(process)) = (found, self.by_tgid.get_mut(&header.tgid)) {
            (process.cgroup_id, process.container) = (header.cgroup_id, container);
        }
    }

    /// Forgets those that ended a while ago and have no descendants; fills the look-up budget.
    pub(super) fn tick(&mut self, now_ns: u64) {
        self.budget.set((self.budget.get() + self.lookups_per_tick).min(LOOKUPS_MAX));
        self.comparisons_left = (self.comparisons_left + COMPARISONS_PER_TICK).min(COMPARISONS_MAX);
        self.sweep(now_ns);
        self.forget_exited(now_ns.saturating_sub(REMEMBERED_NS));
    }

    fn forget_exited(&mut self, before_ns: u64) {
        let is_old = |process: &Process| process.exited_ns.is_some_and(|exited| exited < before_ns);
        if self.by_tgid.values().any(is_old) {
            let parents: HashSet<u32> = self.by_tgid.values().map(|process| process.ppid).collect();
            self.retain(|process| !is_old(process) || parents.contains(&process.tgid));
        }
    }

    fn retain(&mut self, mut stays: impl FnMut(&Process) -> bool) {
        let mut text_bytes = 0;
        self.by_tgid.retain(|_, process| {
            let stays = stays(process);
            text_bytes += if stays { process.text_bytes() } else { 0 };
            stays
        });
        self.text_bytes = text_bytes;
    }

    /// The record's process and its ancestors are in the table afterwards, from /proc where need be; what is not to be
    /// found there is at least known by what the record says.
    fn ensure_known(&mut self, record: &Record<'_>) {
        let header = &record.header;
        let mut is_compared = true;
        match self.get(header.tgid).filter(|process| process.is(header.start_ns)) {
            Some(process) if self.by_tgid.contains_key(&header.ppid) || header.ppid == 0 => {
                if self.is_trusted(process) {
                    return;
                }
                if record.kind == RecordKind::Exec {
                    self.take_as_told(header.tgid);
                } else {
                    is_compared = self.compare(header.tgid, header.start_ns, header.time_ns);
                }
            }
            Some(_) => {}
            None => {
                let process = self.look_up(header.tgid).filter(|process| process.is(header.start_ns));
                self.counts.unknown += u64::from(process.is_none());
                let mut process = process.unwrap_or_else(|| from_header(header));
                process.start_ns = header.start_ns;
                self.insert(process);
            }
        }
        if self.ensure_ancestors(header) && is_compared {
            self.trust_lineage(header.tgid, header.ppid);
        }
    }

    /// `false`: some are not known, or not compared with /proc, as they should be.
    fn ensure_ancestors(&mut self, header: &RecordHeader) -> bool {
        let (mut tgid, mut born_before_ns) = (header.ppid, header.start_ns);
        for _ in 0..ANCESTORS_MAX {
            if tgid == 0 {
                return true;
            }
            match self.get(tgid) {
                Some(known) if self.is_trusted(known) => return true,
                Some(_) => {
                    if !self.compare(tgid, born_before_ns, header.time_ns) {
                        return false;
                    }
                }
                None => {
                    let Some(process) = self.look_up(tgid) else { return false };
                    self.insert(process);
                }
            }
            let Some(process) = self.get(tgid) else { return false };
            (tgid, born_before_ns) = (process.ppid, process.start_ns);
        }
        true
    }

    fn look_up(&mut self, tgid: u32) -> Option<Process> {
        if !self.spend_lookup() {
            self.counts.over_budget += 1;
            return None;
        }
        let losses = self.losses;
        let process = read_process(tgid).map(|process| Process { trust: Trust::after(losses), ..process });
        match process {
            Some(_) => self.counts.looked_up += 1,
            None => self.counts.gone += 1,
        }
        if let Some(answers) = &mut self.answers {
            answers.extend(process.clone());
        }
        process
    }

    fn insert(&mut self, process: Process) {
        self.text_bytes += process.text_bytes();
        if let Some(replaced) = self.by_tgid.insert(process.tgid, process) {
            self.text_bytes -= replaced.text_bytes();
        }
        self.keep_within_bounds();
    }

    fn keep_within_bounds(&mut self) {
        if self.by_tgid.len() > PROCESSES_MAX || self.text_bytes > TEXT_BYTES_MAX {
            self.make_room();
        }
    }

    /// Gives up those that ended without descendants; then, where that is not enough, those not heard of for longest.
    fn make_room(&mut self) {
        let before = self.by_tgid.len();
        self.forget_exited(u64::MAX);
        if self.by_tgid.len() > before - before / EVICTED_SHARE {
            let mut seen: Vec<u64> = self.by_tgid.values().map(|process| process.seen_ns).collect();
            let (_, oldest, _) = seen.select_nth_unstable(before / EVICTED_SHARE);
            let oldest = *oldest;
            let mut left = before / EVICTED_SHARE;
            self.retain(|process| {
                let stays = process.seen_ns > oldest || left == 0;
                left -= usize::from(!stays);
                stays
            });
        }
        self.counts.evicted += (before - self.by_tgid.len()) as u64;
    }
}

fn read_process(tgid: u32) -> Option<Process> {
    let stat = procfs::read_stat(tgid)?;
    let arguments = procfs::read_arguments(tgid).unwrap_or_default();
    let exe_path = procfs::read_exe_path(tgid).unwrap_or_default();
    let container = match Containers::of_process(tgid) {
        Lookup::Known(container) => container,
        Lookup::Unknown => None,
    };
    let numbers = procfs::read_namespace_numbers(tgid).unwrap_or_default();
    let mut image = Image::new(&stat.comm, &arguments, &exe_path);
    image.file = if exe_path.is_empty() { None } else { procfs::read_program_file(tgid) }.unwrap_or_default();
    Some(Process {
        tgid,
        ppid: stat.ppid,
        start_ns: stat.start_ns,
        sid: stat.sid,
        pgid: stat.pgid,
        vpid: numbers.pid,
        vpgid: numbers.pgid,
        tty: stat.tty,
        container,
        image: Arc::new(image),
        cwd: procfs::read_cwd(tgid).map(Into::into),
        ..Process::default()
    })
}

fn from_header(header: &RecordHeader) -> Process {
    Process {
        tgid: header.tgid,
        ppid: header.ppid,
        start_ns: header.start_ns,
        image: Arc::new(Image::new(comm(header), &[], &[])),
        ..Process::default()
    }
}

/// `parent_container` is the best guess where the process itself is already gone. The parent of a container's first
/// process is the runtime, on the host, and says nothing.
fn exec(process: &mut Process, record: &Record<'_>, parent_container: Option<Arc<Container>>, containers: &Containers) {
    let header = &record.header;
    let arguments = ExecArguments::from_words(header.arguments);
    let exe_path = kernel_path(record, record.string(ExecArguments::STRING_EXE_PATH));
    let mut image = Image::new(comm(header), &argv(record, arguments), &exe_path);
    image.environment = record.string(ExecArguments::STRING_ENVIRONMENT).into();
    if let Some(facts) = ProcessFacts::from_bytes(record.string(ExecArguments::STRING_FACTS)) {
        process.set_facts(&facts);
        image.file = ProgramFile::of(&facts);
    }
    process.image = Arc::new(image);
    set_cwd(process, record, ExecArguments::STRING_WORKING_DIRECTORY);
    let directories = record.strings().skip(ExecArguments::STRING_CGROUP);
    process.cgroup_id = header.cgroup_id;
    match containers.of_record(header.tgid, header.cgroup_id, directories) {
        Lookup::Known(container) => process.container = container,
        Lookup::Unknown => process.container = parent_container.or(process.container.take()),
    }
}

/// The arguments of an exec record, with a mark where they go on.
fn argv<'a>(record: &Record<'a>, arguments: ExecArguments) -> Cow<'a, [u8]> {
    let argv = record.string(ExecArguments::STRING_ARGV);
    if argv.is_empty() || arguments.argv_bytes <= argv.len() as u64 {
        return Cow::Borrowed(argv);
    }
    Cow::Owned([argv, CUT_MARK.as_bytes()].concat())
}

/// A path of the kernel in a record, with a mark where it lost its head.
pub(crate) fn kernel_path<'a>(record: &Record<'a>, path: &'a [u8]) -> Cow<'a, [u8]> {
    let is_cut = record.header.flags & RecordHeader::PATH_CUT != 0
        && !path.is_empty()
        && !path.starts_with(b"/")
        && !path.starts_with(MEMORY_FILE[0]);
    if is_cut { Cow::Owned([CUT_PATH, b"/", path].concat()) } else { Cow::Borrowed(path) }
}

/// The working directory in a record, to which the slash at its end is added. An empty one changes nothing.
fn set_cwd(process: &mut Process, record: &Record<'_>, string: usize) {
    let path = kernel_path(record, record.string(string));
    let is_same = |cwd: &[u8]| cwd.strip_suffix(b"/").is_some_and(|cwd| cwd == &*path) || *cwd == *path;
    if path.is_empty() || process.cwd.as_deref().is_some_and(is_same) {
        return;
    }
    let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
    process.cwd = Some([&path, slash].concat().into());
}

fn fork(parent: &Process, record: &Record<'_>) -> Process {
    let arguments = ForkArguments::from_words(record.header.arguments);
    let mut child = Process {
        tgid: arguments.child_tgid,
        ppid: parent.tgid,
        start_ns: arguments.child_start_ns,
        exited_ns: None,
        seen_ns: record.header.time_ns,
        ..parent.clone()
    };
    set_cwd(&mut child, record, ForkArguments::STRING_WORKING_DIRECTORY);
    if let Some(facts) = ProcessFacts::from_bytes(record.string(ForkArguments::STRING_FACTS)) {
        child.set_facts(&facts);
    }
    child
}

/// A system call came back: what it changed of its process.
fn returned(process: &mut Process, record: &Record<'_>) {
    rename(process, &record.header);
    if record.header.result < 0 {
        return;
    }
    let Some((event_type, Some(call))) = call::of_number(record.header.syscall) else { return };
    if !EventType::OF_STATE.contains(&event_type) {
        return;
    }
    if let Some(string) = call.string_of(&[What::WorkingDirectory], 0) {
        set_cwd(process, record, string);
    }
    let facts = call.string_of(&[What::Process], 0).map(|string| record.string(string));
    if let Some(facts) = facts.and_then(ProcessFacts::from_bytes) {
        process.set_facts(&facts);
    }
}

/// The main thread's name is the process's.
fn rename(process: &mut Process, header: &RecordHeader) {
    let comm = comm(header);
    if header.tid == header.tgid && process.name() != comm {
        process.image = Arc::new(process.image.renamed(comm));
    }
}

/// The thread's name without the padding.
pub(crate) fn comm(header: &RecordHeader) -> &[u8] {
    header.comm.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
