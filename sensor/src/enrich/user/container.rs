//! The users and groups of containers, out of their own `/etc/passwd` and `/etc/group`.
//!
//! The files are read through `/proc/<pid>/root`. Whatever is there was put there by whoever owns the container: no link leads
//! out of its root, only regular files are opened, and a thread of its own reads them, so that a file system that does not
//! answer holds up nobody for longer than a moment.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use lru::LruCache;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

use super::{FILE_BYTES_MAX, Lines, parse};
use crate::enrich::procfs;

/// Containers whose names are remembered, and bytes of them all.
const CONTAINERS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
const BYTES_MAX: usize = 8 << 20;

/// Lines that are kept of one file, the first ones, and bytes of each that counts with them.
const LINES_MAX: usize = 4_096;
const LINE_OVERHEAD_BYTES: usize = 64;

/// A number without a name is looked for again in the files, but not before they are so old.
const REREAD_AFTER: Duration = Duration::from_secs(5);

/// The first process: its root is the host's. Where it may not be looked at, the sensor's own counts.
const HOST_PROCESSES: [&str; 2] = ["1", "self"];

/// How long an event waits for the files to be read.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// A process of the container, by its number and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inhabitant {
    pub(crate) tgid: u32,
    /// `CLOCK_BOOTTIME` nanoseconds.
    pub(crate) start_ns: u64,
}

/// Both files of one container.
#[derive(Debug)]
pub(crate) struct Names {
    pub(super) users: Lines,
    pub(super) groups: Lines,
    bytes: usize,
    read: Instant,
}

/// What was found out about a container.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Names(Arc<Names>),
    /// The process sees the host's files: it did not change its root, or not yet.
    Host,
    Unknown,
}

/// What a reading found.
#[derive(Debug)]
enum Answer {
    Names(Names),
    Host,
}

/// What the table counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Containers whose names were given up because there were too many.
    pub evicted: u64,
    /// Readings that failed: the process was gone, or the files did not come in time.
    pub failed: u64,
}

/// The names of containers, by the containers' ids.
#[derive(Debug)]
pub(crate) struct ContainerNames {
    by_id: RefCell<LruCache<Box<str>, Arc<Names>>>,
    bytes: Cell<usize>,
    reader: RefCell<Option<Reader>>,
    read: Read,
    counts: Cell<Counts>,
}

type Read = fn(Inhabitant) -> Option<Answer>;

impl Default for ContainerNames {
    fn default() -> Self {
        Self {
            by_id: RefCell::new(LruCache::new(CONTAINERS_MAX)),
            bytes: Cell::default(),
            reader: RefCell::default(),
            read,
            counts: Cell::default(),
        }
    }
}

impl ContainerNames {
    /// The names of a container, read anew where `has_it` says that what is asked for is not among them, if that is
    /// due and `may_read`.
    pub(crate) fn of(
        &self,
        id: &str,
        inhabitant: Inhabitant,
        may_read: impl FnOnce() -> bool,
        has_it: impl FnOnce(&Names) -> bool,
    ) -> Found {
        self.take_late();
        let known = self.by_id.borrow_mut().get(id).cloned();
        let is_enough = |names: &Arc<Names>| names.read.elapsed() < REREAD_AFTER || has_it(names);
        if known.as_ref().is_some_and(is_enough) || !may_read() {
            return known.map_or(Found::Unknown, Found::Names);
        }
        match self.read(id, inhabitant) {
            Some(Answer::Names(names)) => {
                let names = Arc::new(names);
                self.remember(id, Arc::clone(&names));
                Found::Names(names)
            }
            Some(Answer::Host) => Found::Host,
            None => {
                self.counts.set(Counts { failed: self.counts.get().failed + 1, ..self.counts.get() });
                known.map_or(Found::Unknown, Found::Names)
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// What came after nobody waited any more is good for the next event.
    fn take_late(&self) {
        let late = self.reader.borrow_mut().as_mut().and_then(Reader::take_late);
        if let Some((id, Some(Answer::Names(names)))) = late {
            self.remember(&id, Arc::new(names));
        }
    }

    fn read(&self, id: &str, inhabitant: Inhabitant) -> Option<Answer> {
        let mut reader = self.reader.borrow_mut();
        if reader.is_none() {
            *reader = Reader::start(self.read).ok();
        }
        reader.as_mut()?.ask(id, inhabitant)
    }

    fn remember(&self, id: &str, names: Arc<Names>) {
        let mut by_id = self.by_id.borrow_mut();
        let mut bytes = self.bytes.get() + names.bytes;
        let mut evicted = 0;
        if let Some((replaced, old)) = by_id.push(id.into(), names) {
            bytes -= old.bytes;
            evicted += u64::from(*replaced != *id);
        }
        while bytes > BYTES_MAX && by_id.len() > 1 {
            let Some((_, old)) = by_id.pop_lru() else { break };
            bytes -= old.bytes;
            evicted += 1;
        }
        self.bytes.set(bytes);
        self.counts.set(Counts { evicted: self.counts.get().evicted + evicted, ..self.counts.get() });
    }
}

/// The thread that reads, one container at a time.
#[derive(Debug)]
struct Reader {
    questions: SyncSender<Inhabitant>,
    answers: Receiver<Option<Answer>>,
    /// The container that it was asked about and did not answer in time.
    late: Option<Box<str>>,
}

impl Reader {
    fn start(read: Read) -> io::Result<Self> {
        let (questions, asked) = mpsc::sync_channel(1);
        let (answer, answers) = mpsc::sync_channel(1);
        let work = move || {
            while let Ok(inhabitant) = asked.recv() {
                if answer.send(read(inhabitant)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("container-names".to_owned()).spawn(work)?;
        Ok(Self { questions, answers, late: None })
    }

    /// `None`: it is not done with what it was asked before, or it does not answer in time, or there is no answer.
    fn ask(&mut self, id: &str, inhabitant: Inhabitant) -> Option<Answer> {
        if self.late.is_some() {
            return None;
        }
        self.questions.send(inhabitant).ok()?;
        let answer = self.answers.recv_timeout(WAIT_MAX);
        self.late = answer.is_err().then(|| id.into());
        answer.ok()?
    }

    fn take_late(&mut self) -> Option<(Box<str>, Option<Answer>)> {
        self.late.as_ref()?;
        let answer = self.answers.try_recv().ok()?;
        Some((self.late.take()?, answer))
    }
}

/// `None`: the process is gone, or its number is another's by now.
fn read(inhabitant: Inhabitant) -> Option<Answer> {
    let root = open_root(&inhabitant.tgid.to_string())?;
    // It lives: so the root was its own.
    if !procfs::is_running(inhabitant.tgid, inhabitant.start_ns) {
        return None;
    }
    let is_host = HOST_PROCESSES.into_iter().find_map(open_root).is_some_and(|host| is_same(&host, &root));
    Some(if is_host { Answer::Host } else { Answer::Names(read_below(&root)) })
}

fn open_root(process: &str) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, format!("/proc/{process}/root"), flags, Mode::empty()).ok()
}

fn is_same(left: &OwnedFd, right: &OwnedFd) -> bool {
    let identity = |directory| fstat(directory).map(|found| (found.st_dev, found.st_ino));
    matches!((identity(left), identity(right)), (Ok(left), Ok(right)) if left == right)
}

fn read_below(root: &OwnedFd) -> Names {
    let lines = |path: &str| {
        let text = read_file(root, path).unwrap_or_default();
        parse(&text, LINES_MAX)
    };
    let (users, groups) = (lines("etc/passwd"), lines("etc/group"));
    let bytes_of =
        |lines: &HashMap<u32, Box<str>>| -> usize { lines.values().map(|line| line.len() + LINE_OVERHEAD_BYTES).sum() };
    let bytes = bytes_of(&users.0) + bytes_of(&groups.0);
    Names { users, groups, bytes, read: Instant::now() }
}

fn read_file(root: &OwnedFd, path: &str) -> io::Result<String> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // With O_PATH nothing is opened yet: a pipe would wait, a device might do something.
    let found = openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(folder: &tempfile::TempDir) -> OwnedFd {
        openat(CWD, folder.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    fn folder(passwd: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        folder
    }

    fn itself() -> Inhabitant {
        let tgid = std::process::id();
        Inhabitant { tgid, start_ns: procfs::start_ns(tgid).unwrap() }
    }

    /// In whose containers every user is called after the process that was asked.
    fn reading_by(read: Read) -> ContainerNames {
        ContainerNames { read, ..ContainerNames::default() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a reading returns")]
    fn of_folder(inhabitant: Inhabitant) -> Option<Answer> {
        Some(Answer::Names(read_below(&root(&folder(&format!("app{}:x:1000:1000::/:\n", inhabitant.tgid))))))
    }

    fn name(found: Found, uid: u32) -> String {
        match found {
            Found::Names(names) => names.users.name(uid).to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_are_those_of_the_files_below_the_root() {
        let names = read_below(&root(&folder("app:x:1000:1000::/srv:/bin/ash\n")));
        assert_eq!((names.users.name(1000), names.users.name(0), names.users.name(5)), ("app", "root", "<NA>"));
        assert_eq!(names.groups.name(1000), "<NA>");
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_root() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "outside:x:1000:1000::/:\n").unwrap();
        for target in [outside.path().to_owned(), format!("../../../../..{}", outside.path().display()).into()] {
            let inside = folder("");
            let passwd = inside.path().join("etc/passwd");
            fs::remove_file(&passwd).unwrap();
            symlink(&target, &passwd).unwrap();
            assert_eq!(read_below(&root(&inside)).users.name(1000), "<NA>", "{}", target.display());
        }
        let inside = folder("");
        fs::write(inside.path().join("real"), "inside:x:1000:1000::/:\n").unwrap();
        fs::remove_file(inside.path().join("etc/passwd")).unwrap();
        symlink("/real", inside.path().join("etc/passwd")).unwrap();
        assert_eq!(read_below(&root(&inside)).users.name(1000), "inside");
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_holds_up_nobody() {
        let inside = folder("");
        let passwd = inside.path().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        rustix::fs::mknodat(CWD, &passwd, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read_file(&root(&inside), "etc/passwd").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_first_lines_count_where_there_are_too_many() {
        let many: Vec<_> = (0..LINES_MAX + 2).map(|id| format!("u{id}:x:{id}:0::/:")).collect();
        let names = read_below(&root(&folder(&many.join("\n"))));
        assert_eq!((names.users.name(4_095), names.users.name(4_096)), ("u4095", "<NA>"));
    }

    #[test]
    fn a_process_that_is_another_by_now_says_nothing_and_one_with_the_host_s_root_says_so() {
        assert!(read(Inhabitant { start_ns: 1, ..itself() }).is_none());
        let host = HOST_PROCESSES.into_iter().find_map(open_root).unwrap();
        assert_eq!(matches!(read(itself()), Some(Answer::Host)), is_same(&host, &open_root("self").unwrap()));
        assert!(!is_same(&host, &root(&folder(""))));
    }

    #[test]
    fn files_are_read_once_and_what_is_not_read_is_not_known() {
        let names = reading_by(of_folder);
        let process = |tgid| Inhabitant { tgid, start_ns: 1 };
        assert_eq!(known_at_last(&names, "a", process(7), true), "app7");
        assert_eq!(name(names.of("a", process(8), || panic!("they are known"), |_| false), 1_000), "app7");
        assert_eq!(name(names.of("b", process(7), || false, |_| true), 1_000), "Unknown");
    }

    /// Asks until there is an answer: a busy machine may take longer than an event waits.
    fn known_at_last(names: &ContainerNames, id: &str, inhabitant: Inhabitant, may_read: bool) -> String {
        for _ in 0..10_000 {
            match names.of(id, inhabitant, || may_read, |_| true) {
                Found::Unknown => thread::sleep(Duration::from_millis(1)),
                found => return name(found, 1_000),
            }
        }
        panic!("there is no answer");
    }

    #[test]
    fn what_takes_too_long_is_waited_for_once_and_good_for_the_next_event() {
        let names = reading_by(|inhabitant| {
            thread::sleep(if inhabitant.tgid == 7 { WAIT_MAX * 20 } else { Duration::ZERO });
            of_folder(inhabitant)
        });
        let process = |tgid| Inhabitant { tgid, start_ns: 1 };
        assert_eq!(name(names.of("a", process(7), || true, |_| true), 1_000), "Unknown");
        let asked = Instant::now();
        assert_eq!(name(names.of("b", process(8), || true, |_| true), 1_000), "Unknown");
        assert!(asked.elapsed() < WAIT_MAX * 10, "{:?}", asked.elapsed());
        assert_eq!(names.counts(), Counts { evicted: 0, failed: 2 });
        assert_eq!(known_at_last(&names, "a", process(9), false), "app7");
        assert_eq!(known_at_last(&names, "b", process(8), true), "app8");
    }

    #[test]
    fn the_bytes_of_all_containers_are_bounded() {
        let names = ContainerNames::default();
        let of_bytes = |bytes| {
            let Names { users, groups, read, .. } = read_below(&root(&folder("")));
            Arc::new(Names { users, groups, bytes, read })
        };
        for id in ["a", "b", "a", "c"] {
            names.remember(id, of_bytes(BYTES_MAX / 2));
        }
        assert_eq!((names.by_id.borrow().len(), names.bytes.get()), (2, BYTES_MAX));
        assert_eq!(names.counts(), Counts { evicted: 1, failed: 0 });
        assert!(names.by_id.borrow().contains("a") && !names.by_id.borrow().contains("b"));
    }
}
