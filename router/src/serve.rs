//! Sockets: binding them, and the loop from a connection to an answer, with the bounds that keep one sender from
//! occupying the router.

mod stream;
mod tls;

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

pub(crate) use tls::Tls;
pub use tls::TlsError;

use stream::{Stream, Watched};

use crate::access::{Access, Caller};
use crate::admin::{self, Admin, Body};
use crate::ingest::{self, Ingest};
use crate::metrics::{Metrics, Rejected};

/// Connections to one listener at a time.
const CONNECTIONS_MAX: usize = 512;

/// A request's head must have arrived by then; also how long a connection may idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// A connection's buffer, and so the largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The pause after a connection could not be taken, as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who has ended a connection may make another one within this time while the router waits for the last words.
const RETURN_TIME_MAX: Duration = Duration::from_secs(1);

/// Owner and group may send; the mode is the whole access control of the socket.
const SOCKET_MODE: u32 = 0o660;

/// One listening socket and what is served there.
pub(crate) struct Door {
    pub(crate) listener: Listener,
    /// `None`: plain.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) service: Service,
}

/// What is served at a door; its connections outlive the listener.
pub(crate) struct Service {
    pub(crate) ingest: Option<Arc<Ingest>>,
    pub(crate) admin: Option<Arc<Admin>>,
    pub(crate) access: Arc<Access>,
}

pub(crate) enum Listener {
    Tcp(TcpListener),
    /// The file goes before the listener closes: after that it may be a successor's.
    Unix {
        _file: SocketFile,
        listener: UnixListener,
    },
}

/// What doors share that close at the same time.
#[derive(Clone)]
pub(crate) struct House {
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    /// No connection is taken any more, and open ones end after their answer.
    stop: CancellationToken,
    guests: watch::Sender<Guests>,
}

/// Connections to a house.
#[derive(Debug, Default, Clone, Copy)]
struct Guests {
    now: usize,
    /// Since the start.
    ever: u64,
}

/// A Unix socket's file, removed when dropped.
pub(crate) struct SocketFile(PathBuf);

pub(crate) async fn bind_tcp(address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((Listener::Tcp(listener), bound))
}

/// Takes the place of a socket that nobody listens at any more. Needs tokio's runtime.
pub(crate) fn bind_unix(path: &Path) -> io::Result<Listener> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(Listener::Unix { _file: file, listener })
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && StdUnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

impl Door {
    /// Until the house stops; the listener closes then.
    async fn serve(self, house: House) {
        let Self { listener, tls, service } = self;
        let (slots, service) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(service));
        loop {
            let accepted = tokio::select! {
                () = house.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, caller)) => match Arc::clone(&slots).try_acquire_owned() {
                    Ok(slot) => house.spawn(Arc::clone(&service), tls.clone(), stream, caller, slot),
                    Err(_) => house.metrics.count_rejected(Rejected::Connections),
                },
                Err(error) => {
                    warn!(%error, "cannot take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Caller)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                (Box::new(stream), Caller::Network(peer))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let caller = stream.peer_cred()?.into();
                (Box::new(stream), caller)
            }
        })
    }
}

impl Service {
    async fn answer(&self, metrics: &Metrics, request: Request<Incoming>, caller: &Caller) -> Response<Body> {
        let path = request.uri().path();
        if let Some(admin) = &self.admin {
            if let Some(answer) = admin.observe(request.method(), path) {
                return answer;
            }
            let is_ingest = self.ingest.is_some() && ingest::PATHS.contains(&path);
            if path.starts_with(admin::PREFIX) && !is_ingest {
                if self.access.may_administer(caller, request.headers()) {
                    return admin.operate(request).await;
                }
                metrics.count_rejected(Rejected::Unauthorized);
                return admin::not_allowed();
            }
        }
        let Some(ingest) = &self.ingest else { return admin::not_found() };
        if let Some(answer) = ingest.answer(request, caller).await {
            return admin::whole(answer);
        }
        metrics.count_rejected(Rejected::Path);
        admin::not_found()
    }
}

/// From its opening to its end.
impl House {
    pub(crate) fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            guests: watch::Sender::default(),
        }
    }

    pub(crate) fn open(&self, door: Door) {
        self.tasks.spawn(door.serve(self.clone()));
    }

    /// Something that goes on until the house closes.
    pub(crate) fn keep(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(task).await });
    }

    /// Waits until nobody is connected who may still have something to say: not at all where nobody ever was.
    pub(crate) async fn emptied(&self) {
        let mut guests = self.guests.subscribe();
        while guests.borrow().ever > 0 {
            // The sender lives as long as this.
            drop(guests.wait_for(|guests| guests.now == 0).await);
            let returned = guests.wait_for(|guests| guests.now > 0);
            if timeout(RETURN_TIME_MAX, returned).await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Waits until all answers are given, once it is closed. False: not within that time.
    pub(crate) async fn ended(&self, within: Duration) -> bool {
        timeout(within, self.tasks.wait()).await.is_ok()
    }
}

/// One connection.
impl House {
    fn spawn(
        &self,
        service: Arc<Service>,
        tls: Option<Arc<Tls>>,
        stream: Box<dyn Stream>,
        caller: Caller,
        slot: OwnedSemaphorePermit,
    ) {
        let house = self.clone();
        house.guests.send_modify(|guests| {
            guests.now += 1;
            guests.ever += 1;
        });
        self.tasks.spawn(async move {
            house.metrics.connections.inc();
            debug!(%caller, "a connection was made");
            if let Some(stream) = house.secure(tls.as_deref(), stream, caller).await {
                house.converse(&service, stream, caller).await;
            }
            house.metrics.connections.dec();
            house.guests.send_modify(|guests| guests.now -= 1);
            drop(slot);
        });
    }

    /// `None`: the other end did not show what was asked for, or the house stops.
    async fn secure(&self, tls: Option<&Tls>, stream: Box<dyn Stream>, caller: Caller) -> Option<Box<dyn Stream>> {
        let Some(tls) = tls else { return Some(stream) };
        let accepted = tokio::select! {
            accepted = tls.accept(stream) => accepted,
            () = self.stop.cancelled() => return None,
        };
        if let Err(error) = &accepted {
            debug!(%caller, %error, "a connection had not the TLS that is asked for");
            self.metrics.count_rejected(Rejected::Tls);
        }
        accepted.ok()
    }

    async fn converse(&self, service: &Service, stream: Box<dyn Stream>, caller: Caller) {
        let stream = Watched::new(stream);
        let asking = stream.asking();
        let answer = service_fn(|request| async move {
            Ok::<_, std::convert::Infallible>(service.answer(&self.metrics, request, &caller).await)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), answer);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%caller, %error, "a connection broke off");
            if let Some(reason) = blame(&error, asking.get()) {
                self.metrics.count_rejected(reason);
            }
        }
    }
}

/// What a connection did wrong that ended with an error; `None`: it only went away, or was idle for long.
fn blame(error: &hyper::Error, was_asking: bool) -> Option<Rejected> {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if cause == Some(io::ErrorKind::TimedOut) || (error.is_timeout() && was_asking) {
        return Some(Rejected::Slow);
    }
    error.is_parse().then_some(Rejected::Head)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            debug!(%error, "cannot remove the socket's file");
        }
    }
}

#[cfg(test)]
mod tests;
