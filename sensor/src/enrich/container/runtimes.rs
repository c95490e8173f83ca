//! The sockets of container runtimes: who is asked, and how.
//!
//! One thread holds a connection to each. It asks about every container that it hears of, by the runtime's events or
//! because the watching thread saw a process of it, and hands over what it is told. Whoever watches never waits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc as threads;
use std::thread;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::containerd::Containerd;
use super::cri::Cri;
use super::docker::Docker;
use super::metadata::Metadata;

/// Containers that wait to be asked about, and answers that wait to be taken in.
const ASKS_MAX: usize = 1_024;
const ANSWERS_MAX: usize = 1_024;

/// Events of a runtime that wait to be looked at: then it waits, too.
pub(super) const EVENTS_MAX: usize = 256;

/// Containers of one runtime that are asked about when it is connected to.
const RUNNING_MAX: usize = 4_096;

/// Questions to one runtime at a time. Docker answers nothing about a container while it starts it, and may start many.
const IN_FLIGHT_MAX: usize = 32;

/// For one answer.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// For the list of what runs, too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A runtime tells of a container late, if its cgroup is there before it has written it down: when it is asked again.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(40), Duration::from_millis(80), Duration::from_millis(200)];

/// Between two attempts to connect: the first and the longest wait.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How long a start waits for what the runtimes tell of containers that run already.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Where runtimes have their sockets, below the host's root.
const USUAL: [(Api, &str); 7] = [
    (Api::Docker, "run/docker.sock"),
    (Api::Docker, "run/podman/podman.sock"),
    (Api::Docker, "var/run/docker.sock"),
    (Api::Containerd, "run/containerd/containerd.sock"),
    (Api::Containerd, "run/k3s/containerd/containerd.sock"),
    (Api::Containerd, "run/k0s/containerd.sock"),
    (Api::Cri, "run/crio/crio.sock"),
];

/// What is spoken at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Docker's, of Podman too.
    Docker,
    /// containerd's own, and the kubelet's beside it.
    Containerd,
    /// The kubelet's: CRI-O.
    Cri,
}

impl Api {
    const ALL: [Self; 3] = [Self::Docker, Self::Containerd, Self::Cri];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Cri => "cri",
        }
    }
}

/// A socket at which a runtime is asked: `docker=/run/docker.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    pub api: Api,
    pub path: PathBuf,
}

impl Socket {
    /// The usual ones below this directory.
    pub fn usual(host_root: &Path) -> Vec<Self> {
        let mut sockets: Vec<Self> = Vec::new();
        for (api, path) in USUAL {
            let path = host_root.join(path);
            // `/var/run` is mostly a link to `/run`.
            let is_known =
                |other: &Self| matches!((other.path.canonicalize(), path.canonicalize()), (Ok(a), Ok(b)) if a == b);
            if !sockets.iter().any(is_known) {
                sockets.push(Self { api, path });
            }
        }
        sockets
    }
}

impl FromStr for Socket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('=').filter(|(_, path)| path.starts_with('/'));
        let socket = parts.and_then(|(name, path)| {
            let api = Api::ALL.into_iter().find(|api| api.name() == name)?;
            Some(Self { api, path: path.into() })
        });
        socket.ok_or_else(|| {
            let shown = text.escape_debug();
            format!("unknown runtime `{shown}`, expected `docker=PATH`, `containerd=PATH` or `cri=PATH` with a socket's whole path")
        })
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.api.name(), self.path.display())
    }
}

/// A runtime cannot be asked, or what it answers cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("it is not there")]
    Absent,
    #[error("no answer in time")]
    Timeout,
    #[error("the connection failed")]
    Http(#[from] reqwest::Error),
    #[error("the connection failed")]
    Connection(#[from] tonic::transport::Error),
    #[error("it answers with an error")]
    Grpc(#[from] Box<tonic::Status>),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer is longer than is read")]
    TooLong,
    #[error("its answer is not what this version reads")]
    Unreadable(#[from] serde_json::Error),
    #[error("its events ended")]
    EventsEnded,
}

/// The ids of containers.
pub(super) type Running = Vec<String>;

/// A container of which a runtime says that something happened to it.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) full_id: String,
    /// What it says of it, if anything.
    pub(super) announced: Option<Box<Metadata>>,
}

impl From<String> for Notice {
    fn from(full_id: String) -> Self {
        Self { full_id, announced: None }
    }
}

/// One way to ask. A clone asks through the same connection.
pub(super) trait Runtime: Clone + Send + Sync + 'static {
    /// Also the containers that run, and its events. A runtime that has none keeps them open.
    fn connect(socket: &Path) -> impl Future<Output = Result<(Self, Running, Receiver<Notice>), Error>> + Send;

    /// `None`: it knows no such container.
    fn inspect(&self, id: &str) -> impl Future<Output = Result<Option<Metadata>, Error>> + Send;
}

/// What a runtime told.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) full_id: String,
    pub(super) metadata: Box<Metadata>,
}

/// What became of questions, of all runtimes together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Connections that stand.
    pub(super) connected: AtomicUsize,
    pub(super) told: AtomicU64,
    /// Answers of which something was cut.
    pub(super) cut: AtomicU64,
    /// Questions that no usable answer came to.
    pub(super) failed: AtomicU64,
    /// Containers that nobody was asked about because too many waited.
    pub(super) refused: AtomicU64,
}

/// The thread that asks. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Runtimes {
    asks: broadcast::Sender<Arc<str>>,
    answers: Receiver<Answer>,
    tally: Arc<Tally>,
}

impl Runtimes {
    /// Connects to those that are there; waits a moment for what they tell of running containers.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(super) fn start(sockets: Vec<Socket>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (asks, _) = broadcast::channel(ASKS_MAX);
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let (first, settled) = threads::sync_channel::<()>(0);
        let tally = Arc::<Tally>::default();
        let mut desks = JoinSet::new();
        for socket in sockets {
            let desk = Desk { socket, asks: asks.downgrade(), answers: sender.clone(), tally: Arc::clone(&tally) };
            desks.spawn_on(desk.keep(first.clone()), runtime.handle());
        }
        drop(first);
        thread::Builder::new().name("containers".to_owned()).spawn(move || {
            runtime.block_on(async { while desks.join_next().await.is_some() {} });
        })?;
        // Nobody sends: it ends when everybody has let go of it.
        _ = settled.recv_timeout(FIRST_WAIT);
        Ok(Self { asks, answers, tally })
    }

    /// Asks everybody about a container.
    pub(super) fn ask(&self, full_id: &str) {
        // Nobody listens where nobody is connected.
        _ = self.asks.send(full_id.into());
    }

    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// Where one runtime is asked.
struct Desk {
    socket: Socket,
    /// Gone with whoever asks.
    asks: broadcast::WeakSender<Arc<str>>,
    answers: Sender<Answer>,
    tally: Arc<Tally>,
}

impl Desk {
    /// Connects again and again. `first` is let go of when what can be told at the start was told.
    async fn keep(self, first: threads::SyncSender<()>) {
        let mut first = Some(first);
        let mut backoff = BACKOFF_MIN;
        let mut before = String::new();
        while self.asks.strong_count() > 0 {
            let started = Instant::now();
            let error = match self.socket.api {
                Api::Docker => self.serve::<Docker>(&mut first).await,
                Api::Containerd => self.serve::<Containerd>(&mut first).await,
                Api::Cri => self.serve::<Cri>(&mut first).await,
            };
            drop(first.take());
            let trouble = chain(&error);
            match error {
                Error::Absent => debug!(runtime = %self.socket, "no container runtime"),
                // Once, until it is another.
                _ if trouble != before => {
                    warn!(runtime = %self.socket, error = trouble, "cannot ask the container runtime, will try again");
                }
                _ => {}
            }
            before = trouble;
            backoff = if started.elapsed() > BACKOFF_MAX { BACKOFF_MIN } else { backoff };
            tokio::select! {
                () = sleep(backoff) => {}
                () = self.answers.closed() => return,
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Until it breaks.
    async fn serve<R: Runtime>(&self, first: &mut Option<threads::SyncSender<()>>) -> Error {
        if !self.socket.path.exists() {
            return Error::Absent;
        }
        let Some(asks) = self.asks.upgrade().map(|asks| asks.subscribe()) else { return Error::EventsEnded };
        let connected = timeout(CONNECT_TIMEOUT, R::connect(&self.socket.path)).await;
        let (runtime, running, events) = match connected.unwrap_or(Err(Error::Timeout)) {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        info!(runtime = %self.socket, containers = running.len(), "connected to the container runtime");
        let _connected = Connected::count(&self.tally);
        let skipped = running.len().saturating_sub(RUNNING_MAX);
        self.tally.refused.fetch_add(skipped as u64, Ordering::Relaxed);
        let backlog = running.into_iter().take(RUNNING_MAX).collect();
        Session { desk: self, runtime, asks, events, backlog, later: BinaryHeap::new() }.run(first).await
    }
}

/// Counts a connection as long as it stands.
struct Connected<'a>(&'a Tally);

impl<'a> Connected<'a> {
    fn count(tally: &'a Tally) -> Self {
        tally.connected.fetch_add(1, Ordering::Release);
        Self(tally)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Release);
    }
}

/// A question; `attempt` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    full_id: Arc<str>,
    attempt: usize,
}

impl From<Arc<str>> for Question {
    fn from(full_id: Arc<str>) -> Self {
        Self { full_id, attempt: 0 }
    }
}

type Outcome = (Question, Result<Option<Metadata>, Error>);

/// One connection.
struct Session<'a, R> {
    desk: &'a Desk,
    runtime: R,
    asks: broadcast::Receiver<Arc<str>>,
    events: Receiver<Notice>,
    /// Who ran already; they can wait.
    backlog: VecDeque<String>,
    /// What is asked again, the soonest first.
    later: BinaryHeap<Reverse<(Instant, Question)>>,
}

impl<R: Runtime> Session<'_, R> {
    async fn run(mut self, first: &mut Option<threads::SyncSender<()>>) -> Error {
        let mut in_flight: JoinSet<Outcome> = JoinSet::new();
        loop {
            if self.backlog.is_empty() && in_flight.is_empty() {
                drop(first.take());
            }
            let has_room = in_flight.len() < IN_FLIGHT_MAX;
            let soonest = self.later.peek().map(|Reverse((when, _))| *when);
            let question: Question = tokio::select! {
                biased;
                Some(done) = in_flight.join_next() => {
                    if let Ok(outcome) = done
                        && self.take(outcome).await.is_err()
                    {
                        return Error::EventsEnded;
                    }
                    continue;
                }
                ask = self.asks.recv(), if has_room => match ask {
                    Ok(full_id) => full_id.into(),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        self.desk.tally.refused.fetch_add(missed, Ordering::Relaxed);
                        continue;
                    }
                    Err(broadcast::error::RecvError::Closed) => return Error::EventsEnded,
                },
                event = self.events.recv(), if has_room => match event {
                    Some(Notice { full_id, announced }) => {
                        if let Some(metadata) = announced
                            && self.tell(&full_id, metadata).await.is_err()
                        {
                            return Error::EventsEnded;
                        }
                        Arc::<str>::from(full_id).into()
                    }
                    None => return Error::EventsEnded,
                },
                () = sleep_until(soonest.unwrap_or_else(Instant::now)), if has_room && soonest.is_some() => {
                    let Some(Reverse((_, question))) = self.later.pop() else { continue };
                    question
                }
                Some(full_id) = async { self.backlog.pop_front() }, if has_room && !self.backlog.is_empty() => {
                    // Whoever is gone by now is not asked for again.
                    Question { full_id: full_id.into(), attempt: RETRIES.len() }
                }
            };
            let runtime = self.runtime.clone();
            in_flight.spawn(async move {
                let told = timeout(REQUEST_TIMEOUT, runtime.inspect(&question.full_id)).await;
                (question, told.unwrap_or(Err(Error::Timeout)))
            });
        }
    }

    /// # Errors
    ///
    /// Nobody wants to know any more.
    async fn take(&mut self, (question, told): Outcome) -> Result<(), ()> {
        let tally = &self.desk.tally;
        match told {
            Ok(Some(mut metadata)) => {
                tally.told.fetch_add(1, Ordering::Relaxed);
                tally.cut.fetch_add(u64::from(metadata.bound()), Ordering::Relaxed);
                return self.tell(&question.full_id, Box::new(metadata)).await;
            }
            Ok(None) => {}
            Err(error) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                debug!(runtime = %self.desk.socket, error = chain(&error), "no answer about a container");
            }
        }
        // Another runtime may know it, or this one in a moment.
        if let Some(wait) = RETRIES.get(question.attempt)
            && self.later.len() < ASKS_MAX
        {
            let again = Question { attempt: question.attempt + 1, ..question };
            self.later.push(Reverse((Instant::now() + *wait, again)));
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Nobody wants to know any more.
    async fn tell(&self, full_id: &str, metadata: Box<Metadata>) -> Result<(), ()> {
        self.desk.answers.send(Answer { full_id: full_id.to_owned(), metadata }).await.or(Err(()))
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
