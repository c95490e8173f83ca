//! The Tercel router: alerts come in, and each goes where its routes say, once, in a form that fits, or is counted.
//!
//! ```text
//!            ingest ──► route ──► dedup ──► limit ──► store ──► deliver ──► destination
//!  sender ──► parse,     which     one of    at most   what is   retry,      render,
//!       ◄──── 202        routes?   equals    so many   owed      pace        send
//!             after the commit       └──summary──┴─digest──┘
//! ```
//!
//! [`pipeline`] holds the list of stages, and only it knows them all. [`routing`] reads routing.toml, [`config`] the
//! settings of the process; [`admin`] answers `/metrics`, `/livez` and `/readyz`; [`metrics`] has every counter and the
//! law that ties them together; [`queue`] is what store and deliver share.

mod serve;

mod ingest;

mod pipeline;

mod fingerprint;
mod route;

mod dedup;
mod limit;

mod queue;
mod store;

mod deliver;

pub mod destination;
mod render;

mod admin;
pub mod config;
mod metrics;
pub mod routing;
pub mod secret;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::admin::Admin;
use crate::deliver::Worker;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::routing::Routing;
use crate::serve::{Door, House, Listener, SocketFile};

pub use config::{Settings, SettingsError};
pub use routing::{Problem, RoutingError};

/// How long requests that are being answered may still take when the router stops.
const REQUESTS_TIME_MAX: Duration = Duration::from_secs(5);

/// How long workers have to put down what they hold once draining is over.
const ABANDON_TIME_MAX: Duration = Duration::from_secs(5);

/// Exit code of a configuration that cannot be used.
pub const EXIT_CONFIGURATION: u8 = 64;

/// Exit code of what failed although the configuration is good.
pub const EXIT_FAILURE: u8 = 1;

/// A running router.
pub struct Router {
    ingest_addr: Option<SocketAddr>,
    admin_addr: SocketAddr,
    socket: Option<(PathBuf, SocketFile)>,
    ingest: Arc<Ingest>,
    drain: Duration,
    /// Readiness goes, new requests are refused.
    stopping: CancellationToken,
    house: House,
    workers: TaskTracker,
    abandon: CancellationToken,
    timers: tokio::task::JoinHandle<()>,
}

/// Why a router does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Routing(#[from] RoutingError),
    #[error("cannot listen on {place}: {cause}; stop the other process or choose another with {flag}")]
    Listen { place: String, cause: String, flag: &'static str },
    #[error("cannot use {path} to keep state: {source}; choose another folder with --state", path = path.display())]
    State {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What a routing file holds, for `check`.
#[derive(Debug)]
pub struct Checked {
    pub routes: usize,
    pub destinations: usize,
    pub warnings: Vec<Problem>,
}

/// Reads and compiles a routing file with all that it refers to, as a start would.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(routing: &Path, state: &Path) -> Result<Checked, RoutingError> {
    install_crypto();
    let routing = Routing::read(routing)?;
    let destinations = routing.build_destinations(state)?.len();
    Ok(Checked { routes: routing.routes_count, destinations, warnings: routing.warnings })
}

impl Router {
    /// Reads the routing file, binds the sockets and starts to work.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        install_crypto();
        settings.check()?;
        let mut routing = Routing::read(&settings.routing)?;
        let destinations = routing.build_destinations(&settings.state)?;
        for warning in &routing.warnings {
            warn!("{warning}");
        }
        create_state(&settings.state)?;
        let tcp = match settings.listen {
            Some(address) => Some(bind_tcp(address, "--listen").await?),
            None => None,
        };
        let (admin_listener, admin_addr) = bind_tcp(settings.admin, "--admin").await?;
        let unix = settings.unix.as_deref().map(bind_unix).transpose()?;

        let metrics = Arc::new(Metrics::new());
        let pipeline = Arc::new(Pipeline::new(&mut routing, &metrics));
        let stopping = CancellationToken::new();
        let ingest = Arc::new(Ingest {
            pipeline: Arc::clone(&pipeline),
            metrics: Arc::clone(&metrics),
            token: settings.token,
            stopping: stopping.clone(),
        });
        let admin = Arc::new(Admin {
            pipeline: Arc::clone(&pipeline),
            metrics: Arc::clone(&metrics),
            stopping: stopping.clone(),
        });
        let (workers, abandon) = (TaskTracker::new(), CancellationToken::new());
        for (destination, (queue, metrics)) in destinations.into_iter().zip(pipeline.queues()) {
            let (queue, metrics) = (Arc::clone(queue), metrics.clone());
            workers.spawn(Worker { destination, queue, metrics, abandon: abandon.clone() }.run());
        }
        let timers = tokio::spawn(async move { pipeline.keep_time().await });

        let house = House { metrics, connections: TaskTracker::new(), stop: CancellationToken::new() };
        let ingest_addr = tcp.as_ref().map(|(_, address)| *address);
        let open = |listener, ingest: Option<&Arc<Ingest>>, admin: Option<&Arc<Admin>>| {
            let door = Door { listener, ingest: ingest.cloned(), admin: admin.cloned() };
            house.connections.spawn(door.serve(house.clone()));
        };
        if let Some((listener, _)) = tcp {
            open(listener, Some(&ingest), None);
        }
        open(admin_listener, None, Some(&admin));
        let socket = unix.zip(settings.unix).map(|((listener, file), path)| {
            open(listener, Some(&ingest), Some(&admin));
            (path, file)
        });
        info!(ingest = ?ingest_addr, admin = %admin_addr, unix = ?socket.as_ref().map(|(path, _)| path), routes = routing.routes_count, "taking alerts");
        Ok(Self {
            ingest_addr,
            admin_addr,
            socket,
            ingest,
            drain: settings.drain,
            stopping,
            house,
            workers,
            abandon,
            timers,
        })
    }

    /// Where alerts are taken by TCP; `None`: nowhere.
    pub fn ingest_addr(&self) -> Option<SocketAddr> {
        self.ingest_addr
    }

    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Where alerts are taken by a Unix socket.
    pub fn unix_path(&self) -> Option<&Path> {
        self.socket.as_ref().map(|(path, _)| path.as_path())
    }

    /// Takes alerts from an input, one JSON object a line, until it ends.
    ///
    /// # Errors
    /// The input cannot be read.
    pub async fn take_lines(&self, input: impl tokio::io::AsyncBufRead + Unpin) -> io::Result<()> {
        self.ingest.take_lines(input).await
    }

    /// Stops: first no request is taken any more, then open windows tell what they counted, then what is owed is
    /// delivered for as long as the settings say. What is left then is counted as dropped.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        self.house.stop.cancel();
        self.house.connections.close();
        if timeout(REQUESTS_TIME_MAX, self.house.connections.wait()).await.is_err() {
            warn!("some requests did not end in time");
        }
        self.timers.abort();
        // What they are telling of right now still finds its queue open.
        drop((&mut self.timers).await);
        self.ingest.pipeline.close();
        self.workers.close();
        if timeout(self.drain, self.workers.wait()).await.is_ok() {
            info!("all that was taken is delivered");
            return;
        }
        self.abandon.cancel();
        let left: i64 = self.ingest.pipeline.queues().map(|(_, metrics)| metrics.queued.get()).sum();
        warn!(alerts = left, "the time to drain is over, undelivered alerts are dropped");
        if timeout(ABANDON_TIME_MAX, self.workers.wait()).await.is_err() {
            warn!("some deliveries did not end in time");
        }
    }
}

impl StartError {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Routing(_) => EXIT_CONFIGURATION,
            Self::Listen { .. } | Self::State { .. } => EXIT_FAILURE,
        }
    }
}

/// rustls asks for one provider for the whole process; another one that is already there is just as good.
fn install_crypto() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn create_state(path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path).map_err(|source| StartError::State { path: path.to_owned(), source })
}

async fn bind_tcp(address: SocketAddr, flag: &'static str) -> Result<(Listener, SocketAddr), StartError> {
    serve::bind_tcp(address).await.map_err(|error| listen_error(address.to_string(), &error, flag))
}

fn bind_unix(path: &Path) -> Result<(Listener, SocketFile), StartError> {
    serve::bind_unix(path).map_err(|error| listen_error(path.display().to_string(), &error, "--unix"))
}

fn listen_error(place: String, error: &io::Error, flag: &'static str) -> StartError {
    let cause = match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        _ => error.to_string(),
    };
    StartError::Listen { place, cause, flag }
}
