//! Sockets: binding them, and the loop from a connection to an answer, with the bounds that keep one sender from
//! occupying the router.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::admin::{self, Admin};
use crate::ingest::{self, Ingest};
use crate::metrics::{Metrics, Rejected};

/// Connections to one listener at a time.
const CONNECTIONS_MAX: usize = 512;

/// A request's head must have arrived by then; also how long a connection may idle.
const HEAD_TIME_MAX: Duration = Duration::from_mins(1);

/// A connection's buffer, and so the largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The pause after a connection could not be taken, as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Owner and group may send; the mode is the whole access control of the socket.
const SOCKET_MODE: u32 = 0o660;

/// One listening socket and what is served there.
pub(crate) struct Door {
    pub(crate) listener: Listener,
    pub(crate) service: Service,
}

/// What is served at a door; its connections outlive the listener.
pub(crate) struct Service {
    pub(crate) ingest: Option<Arc<Ingest>>,
    pub(crate) admin: Option<Arc<Admin>>,
    /// The listener itself says who may send.
    pub(crate) is_trusted: bool,
}

pub(crate) enum Listener {
    Tcp(TcpListener),
    /// The file goes before the listener closes: after that it may be a successor's.
    Unix {
        _file: SocketFile,
        listener: UnixListener,
    },
}

/// What all doors share.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) connections: TaskTracker,
    /// No connection is taken any more, and open ones end after their answer.
    pub(crate) stop: CancellationToken,
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
    pub(crate) async fn serve(self, house: House) {
        let Self { listener, service } = self;
        let (slots, service) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(service));
        loop {
            let accepted = tokio::select! {
                () = house.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => match Arc::clone(&slots).try_acquire_owned() {
                    Ok(slot) => house.spawn(Arc::clone(&service), stream, slot),
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
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix { .. })
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        })
    }
}

impl Service {
    async fn answer(&self, metrics: &Metrics, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if let Some(answer) = self.admin.as_ref().and_then(|admin| admin.answer(request.method(), path)) {
            return answer;
        }
        match &self.ingest {
            Some(ingest) if ingest::PATHS.contains(&path) => ingest.answer(request, self.is_trusted).await,
            ingest => {
                if ingest.is_some() {
                    metrics.count_rejected(Rejected::Path);
                }
                admin::not_found()
            }
        }
    }
}

impl House {
    fn spawn(&self, service: Arc<Service>, stream: Box<dyn Stream>, slot: OwnedSemaphorePermit) {
        let house = self.clone();
        self.connections.spawn(async move {
            house.metrics.connections.inc();
            house.converse(&service, stream).await;
            house.metrics.connections.dec();
            drop(slot);
        });
    }

    async fn converse(&self, service: &Service, stream: Box<dyn Stream>) {
        let answer = service_fn(|request| async {
            Ok::<_, std::convert::Infallible>(service.answer(&self.metrics, request).await)
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
            debug!(%error, "a connection broke off");
        }
    }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            debug!(%error, "cannot remove the socket's file");
        }
    }
}
