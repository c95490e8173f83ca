//! Whose events are not reported beside the sensor's own: those of the process that takes the alerts. A rule that matches
//! each connection would else match the delivery of its own alert, and so on without an end.
//!
//! That process is known by the connection and not by a name. Whoever gets the sensor to send its alerts to him, and so gets muted,
//! has the alerts already; what he gains is told in ARCHITECTURE.md. It is one process: neither its children, nor who else
//! holds the same socket, nor a router on another machine, whose events are not seen here anyway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::warn;

use crate::emit::Peer;
use crate::enrich::procfs;
use crate::enrich::procfs::owner::{self, OverBound};
use crate::metrics::Metrics;

/// Between two looks at a connection that is new.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// Between two searches through all processes: one of 10,000 with three descriptors each takes some 0.15 s.
const SEARCH_INTERVAL: Duration = Duration::from_secs(10);

/// The first process, which may hold sockets for others, and starts whatever runs.
const INIT: u32 = 1;

/// The first pid namespace (`PROC_PID_INIT_INO`), whose numbers the kernel programs see.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// A process that runs its program, and not the next one of that number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// `CLOCK_BOOTTIME` nanoseconds.
    start_ns: u64,
    /// The program's path: somebody who has it run another one is reported again.
    program: Vec<u8>,
}

/// Knows who takes the alerts.
#[derive(Debug)]
pub struct Muting {
    peers: watch::Receiver<Option<Peer>>,
    /// Whom nobody has looked up yet.
    question: Option<Peer>,
    process: Option<Process>,
    asked: Option<Instant>,
    searched: Option<Instant>,
    metrics: Arc<Metrics>,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Found(Process),
    /// Somebody else than before, who is not found or not to be muted.
    Unknown,
    /// The connection is closed already, as it may be where each answer closes it.
    Closed,
    /// Not looked for again so soon.
    Later,
}

impl Muting {
    /// Without `peers` nobody is muted. Nor is anybody where processes have other numbers than the kernel programs see:
    /// that could be the wrong one.
    pub fn new(peers: Option<watch::Receiver<Option<Peer>>>, metrics: Arc<Metrics>) -> Self {
        let peers = peers.filter(|_| sees_the_kernel_s_numbers()).unwrap_or_else(|| watch::channel(None).1);
        Self { peers, question: None, process: None, asked: None, searched: None, metrics }
    }

    /// Resolves when somebody else may take the alerts.
    pub fn peers(&self) -> watch::Receiver<Option<Peer>> {
        self.peers.clone()
    }

    /// Who is to be muted now. To be called at least once a second: whoever ended is no longer muted then, and neither is
    /// a process that got his number.
    pub fn look(&mut self) -> Option<Process> {
        self.process = self.process.take().filter(Process::is_running);
        if self.peers.has_changed().unwrap_or(false) {
            self.question = *self.peers.borrow_and_update();
        }
        let is_due = is_over(self.asked, ASK_INTERVAL);
        let Some(peer) = self.question.filter(|_| is_due) else { return self.process.clone() };
        self.asked = Some(Instant::now());
        match self.answer(peer) {
            Ok(Answer::Later) => return self.process.clone(),
            Ok(Answer::Found(process)) => {
                self.metrics.count_output_lookup("found");
                self.process = Some(process);
            }
            Ok(Answer::Unknown) => {
                self.metrics.count_output_lookup("unknown");
                self.process = None;
            }
            // Who took the last alerts stays muted.
            Ok(Answer::Closed) => self.metrics.count_output_lookup("unknown"),
            Err(error) => {
                self.metrics.count_output_lookup("over_bound");
                self.process = None;
                warn!(%error, "the process that takes the alerts is not found, and reported as any other");
            }
        }
        self.question = None;
        self.process.clone()
    }

    fn answer(&mut self, peer: Peer) -> Result<Answer, OverBound> {
        match peer {
            Peer::Process(pid) => {
                // Told is who began to listen. He may be gone, and his number another's, while somebody else has the socket.
                let process = Process::of(pid).filter(|_| pid != INIT);
                let listens = owner::listens(pid)?;
                Ok(process.filter(|_| listens).map_or(Answer::Unknown, Answer::Found))
            }
            Peer::Connection { local, remote } => match owner::connection(remote, local)? {
                Some(inode) => self.holder(inode),
                None => Ok(Answer::Closed),
            },
        }
    }

    /// Most connections are to the same process as the last one.
    fn holder(&mut self, inode: u64) -> Result<Answer, OverBound> {
        if let Some(process) = self.process.clone().filter(|process| owner::holds(process.pid, inode)) {
            return Ok(Answer::Found(process));
        }
        if !is_over(self.searched, SEARCH_INTERVAL) {
            return Ok(Answer::Later);
        }
        self.searched = Some(Instant::now());
        let holder = owner::holder(inode)?.filter(|pid| *pid != INIT);
        Ok(holder.and_then(Process::of).map_or(Answer::Unknown, Answer::Found))
    }
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_ns: procfs::start_ns(pid)?, program: procfs::read_exe_path(pid)? })
    }

    fn is_running(&self) -> bool {
        procfs::is_running(self.pid, self.start_ns)
            && procfs::read_exe_path(self.pid).is_some_and(|program| program == self.program)
    }
}

fn sees_the_kernel_s_numbers() -> bool {
    let sees = std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == FIRST_PID_NAMESPACE);
    if !sees {
        warn!("the process that takes the alerts is not muted: the sensor runs in a pid namespace of its own");
    }
    sees
}

fn is_over(since: Option<Instant>, interval: Duration) -> bool {
    since.is_none_or(|since| since.elapsed() >= interval)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn muting() -> (watch::Sender<Option<Peer>>, Muting) {
        let (sender, peers) = watch::channel(None);
        (sender, Muting::new(Some(peers), Arc::new(Metrics::new().unwrap())))
    }

    /// What happens within a second happens later.
    fn let_time_pass(muting: &mut Muting) {
        (muting.asked, muting.searched) = (None, None);
    }

    /// Somebody who has this end of a connection.
    fn holding(stream: TcpStream) -> Child {
        Command::new("sleep").arg("60").stdin(Stdio::from(OwnedFd::from(stream))).spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn connected(listener: &TcpListener) -> (TcpStream, TcpStream, Peer) {
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = Peer::Connection { local: ours.local_addr().unwrap(), remote: ours.peer_addr().unwrap() };
        (ours, listener.accept().unwrap().0, peer)
    }

    #[test]
    fn who_has_the_other_end_is_muted_until_he_ends_and_his_successor_is_in_his_place() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (sender, mut muting) = muting();
        assert_eq!(muting.look(), None);

        let (_first, theirs, peer) = connected(&listener);
        let router = holding(theirs);
        sender.send_replace(Some(peer));
        assert_eq!(muting.look().unwrap().pid, router.id());
        end(router);
        assert_eq!(muting.look(), None);

        let (_second, theirs, peer) = connected(&listener);
        let router = holding(theirs);
        sender.send_replace(Some(peer));
        assert_eq!(muting.look(), None, "so soon after the last search there is no other");
        let_time_pass(&mut muting);
        assert_eq!(muting.look().unwrap().pid, router.id());
        end(router);
    }

    #[test]
    fn a_new_connection_to_the_same_process_is_no_search_and_a_closed_one_changes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (sender, mut muting) = muting();
        let (_first, _theirs, peer) = connected(&listener);
        sender.send_replace(Some(peer));
        assert_eq!(muting.look().unwrap().pid, std::process::id());

        let (_second, theirs, peer) = connected(&listener);
        sender.send_replace(Some(peer));
        (muting.asked, muting.searched) = (None, Some(Instant::now()));
        assert_eq!(muting.look().unwrap().pid, std::process::id());
        assert_eq!(muting.question, None, "it is answered");

        drop(theirs);
        sender.send_replace(Some(peer));
        let_time_pass(&mut muting);
        assert_eq!(muting.look().unwrap().pid, std::process::id());
    }

    #[test]
    fn a_process_of_the_same_number_that_started_later_or_runs_another_program_is_not_muted() {
        let (_sender, mut muting) = muting();
        let process = Process::of(std::process::id()).unwrap();
        let earlier = Process { start_ns: process.start_ns - 1_000_000_000, ..process.clone() };
        let other = Process { program: b"/usr/bin/router".to_vec(), ..process.clone() };
        for (muted, expected) in [(process.clone(), Some(process)), (earlier, None), (other, None)] {
            muting.process = Some(muted);
            assert_eq!(muting.look(), expected);
        }
    }

    #[test]
    fn a_number_is_muted_only_where_its_process_listens_and_never_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("router.sock")).unwrap();
        let other = Command::new("sleep").arg("60").spawn().unwrap();
        let (sender, mut muting) = muting();
        for (pid, expected) in [(other.id(), None), (INIT, None), (std::process::id(), Some(std::process::id()))] {
            sender.send_replace(Some(Peer::Process(pid)));
            let_time_pass(&mut muting);
            assert_eq!(muting.look().map(|process| process.pid), expected, "{pid}");
        }
        end(other);
    }
}
