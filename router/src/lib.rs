//! The Tercel router: alerts come in, and each goes where its routes say, once, in a form that fits, or is counted.
//!
//! ```text
//!            ingest ──► route ──► dedup ──► limit ──► store ──► deliver ──► destination
//!  sender ──► parse,     which     one of    at most   what is   retry,      render,
//!       ◄──── 202        routes?   equals    so many   owed      pace        send
//!             after the commit       └──summary──┴─digest──┘
//! ```
//!
//! Before them stand [`serve`], with what a connection may do, [`access`], with who may do what, and [`normalise`], which
//! gives every alert its bounds, its added fields and its id.
//!
//! [`pipeline`] holds the list of stages, and only it knows them all. [`routing`] reads routing.toml, [`config`] the
//! settings of the process; [`admin`] answers `/metrics`, `/livez` and `/readyz`; [`metrics`] has every counter and the
//! law that ties them together; [`queue`] is what store and deliver share.

mod access;
mod serve;

mod ingest;
mod normalise;

mod pipeline;

mod condition;
pub mod explain;
mod fingerprint;
mod route;

mod dedup;
mod held_back;
mod inhibit;
mod limit;
mod record;
mod schedule;
mod seen;
#[allow(dead_code, reason = "the API that asks for them is not there yet")]
mod silence;

#[cfg(test)]
#[path = "stages/tests.rs"]
mod stages;

mod store;

#[allow(dead_code, reason = "the API that asks for them is not there yet")]
mod dead_letter;
mod deliver;
mod outbox;

pub mod destination;
mod render;

mod tools;

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

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::access::Access;
use crate::admin::Admin;
use crate::deliver::{Current, Terms, Worker};
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::normalise::Enrich;
use crate::pipeline::{Pipeline, Running};
use crate::routing::Routing;
use crate::serve::{Door, House, Listener, Service, Tls};
use crate::store::{Options, Store};

pub use config::{Settings, SettingsError};
#[doc(hidden)]
pub use ingest::{Refusals, read_body};
pub use routing::{Problem, RoutingError};
pub use serve::TlsError;
pub use store::StoreError;
pub use tools::*;

/// How long requests that are being answered may still take when the router stops.
const REQUESTS_TIME_MAX: Duration = Duration::from_secs(5);

/// How long workers have to put down what they hold once draining is over.
const ABANDON_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the last outcomes may take to be written.
const DECIDER_TIME_MAX: Duration = Duration::from_secs(10);

/// The store's folder in that of the state.
const STORE_FOLDER: &str = "store";

/// Exit code of a configuration that cannot be used.
pub const EXIT_CONFIGURATION: u8 = 64;

/// Exit code of what was given on the command line and cannot be used.
pub const EXIT_USAGE: u8 = 2;

/// Exit code of what failed although the configuration is good.
pub const EXIT_FAILURE: u8 = 1;

/// A running router.
pub struct Router {
    ingest_addr: Option<SocketAddr>,
    admin_addr: SocketAddr,
    unix_path: Option<PathBuf>,
    ingest: Arc<Ingest>,
    drain: Duration,
    /// Readiness goes, new requests are refused.
    stopping: CancellationToken,
    house: House,
    workers: TaskTracker,
    abandon: CancellationToken,
    /// Ends after the last request and the last worker.
    decider: std::thread::JoinHandle<()>,
    /// What workers follow; it ends with them.
    _current: Vec<watch::Sender<Current>>,
}

/// Why a router does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Routing(#[from] RoutingError),
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot listen on {place}: {cause}; stop the other process or choose another with {flag}")]
    Listen { place: String, cause: String, flag: &'static str },
    #[error("cannot use {path} to keep state: {source}; choose another folder with --state", path = path.display())]
    State {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
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
        let tls = settings.tls.map(Tls::new).transpose()?.map(Arc::new);
        create_state(&settings.state)?;
        let tcp = match settings.listen {
            Some(address) => Some(bind_tcp(address, "--listen").await?),
            None => None,
        };
        let (admin_listener, admin_addr) = bind_tcp(settings.admin, "--admin").await?;
        let unix = settings.unix.as_deref().map(bind_unix).transpose()?;

        let metrics = Arc::new(Metrics::new());
        let options = Options { fsync: settings.fsync, bytes_max: settings.store_bytes };
        let store = Arc::new(Store::open(&settings.state.join(STORE_FOLDER), options)?);
        let running = Pipeline::start(&mut routing, &metrics, &store, settings.store_bytes)?;
        let Running { pipeline, finished, load, thread: decider } = running;
        let stopping = CancellationToken::new();
        let access = Arc::new(Access::new(settings.token, settings.admin_group));
        let enrich = std::mem::replace(&mut routing.enrich, Enrich::new());
        let parts = (pipeline.clone(), Arc::clone(&metrics), Arc::clone(&access));
        let ingest = Arc::new(Ingest::new(parts.0, parts.1, parts.2, stopping.clone()));
        ingest.set_enrich(enrich);
        let admin =
            Arc::new(Admin { pipeline: pipeline.clone(), metrics: Arc::clone(&metrics), stopping: stopping.clone() });
        let (workers, abandon) = (TaskTracker::new(), CancellationToken::new());
        let mut current_of = Vec::new();
        for (number, (destination, station)) in destinations.into_iter().zip(pipeline.stations()).enumerate() {
            let settings = &routing.destinations[number];
            let terms = Terms::from(&settings.delivery);
            let (sender, current) = watch::channel(Current { destination, terms });
            current_of.push(sender);
            let worker = Worker {
                number,
                current,
                outbox: Arc::clone(&station.outbox),
                metrics: station.metrics.clone(),
                load: Arc::clone(&load),
                finished: finished.clone(),
                abandon: abandon.clone(),
            };
            workers.spawn(worker.run());
        }

        let house = House { metrics, connections: TaskTracker::new(), stop: CancellationToken::new() };
        let ingest_addr = tcp.as_ref().map(|(_, address)| *address);
        if let Some(tls) = tls.clone() {
            let (metrics, stop) = (Arc::clone(&house.metrics), house.stop.clone());
            house.connections.spawn(async move { stop.run_until_cancelled(tls.keep_current(&metrics)).await });
        }
        let open = |listener: Listener, tls, ingest: Option<&Arc<Ingest>>, admin: Option<&Arc<Admin>>| {
            let service = Service { ingest: ingest.cloned(), admin: admin.cloned(), access: Arc::clone(&access) };
            let door = Door { listener, tls, service };
            house.connections.spawn(door.serve(house.clone()));
        };
        if let Some((listener, _)) = tcp {
            open(listener, tls, Some(&ingest), None);
        }
        open(admin_listener, None, None, Some(&admin));
        if let Some(listener) = unix {
            open(listener, None, Some(&ingest), Some(&admin));
        }
        info!(ingest = ?ingest_addr, admin = %admin_addr, unix = ?settings.unix, routes = routing.routes_count, "taking alerts");
        Ok(Self {
            ingest_addr,
            admin_addr,
            unix_path: settings.unix,
            ingest,
            drain: settings.drain,
            stopping,
            house,
            workers,
            abandon,
            decider,
            _current: current_of,
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
        self.unix_path.as_deref()
    }

    /// Takes alerts from an input, one JSON object a line, until it ends.
    ///
    /// # Errors
    /// The input cannot be read.
    pub async fn take_lines(&self, input: impl tokio::io::AsyncBufRead + Unpin) -> io::Result<()> {
        self.ingest.take_lines(input).await
    }

    /// Stops: first no request is taken any more, then what is owed is delivered for as long as the settings say. What is
    /// left then stays in the store, and goes out at the next start, as do the summaries of open windows.
    pub async fn shutdown(self) {
        self.stopping.cancel();
        self.house.stop.cancel();
        self.house.connections.close();
        if timeout(REQUESTS_TIME_MAX, self.house.connections.wait()).await.is_err() {
            warn!("some requests did not end in time");
        }
        let pipeline = self.ingest.pipeline.clone();
        pipeline.close().await;
        pipeline.stations().iter().for_each(|station| station.outbox.close());
        self.workers.close();
        if timeout(self.drain, self.workers.wait()).await.is_ok() {
            info!("all that was taken is delivered");
        } else {
            self.abandon.cancel();
            let left: usize = pipeline.stations().iter().map(|station| station.outbox.len()).sum();
            warn!(
                deliveries = left,
                "the time to drain is over; what is left stays in the store and goes out at the next start"
            );
            if timeout(ABANDON_TIME_MAX, self.workers.wait()).await.is_err() {
                warn!("some deliveries did not end in time");
            }
        }
        let decider = self.decider;
        let end = tokio::task::spawn_blocking(move || decider.join());
        if timeout(DECIDER_TIME_MAX, end).await.is_err() {
            warn!("the last outcomes were not written in time; what they were of may be delivered twice");
        }
    }
}

impl StartError {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Routing(_) | Self::Tls(_) => EXIT_CONFIGURATION,
            Self::Listen { .. } | Self::State { .. } | Self::Store(_) | Self::Thread(_) => EXIT_FAILURE,
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

fn bind_unix(path: &Path) -> Result<Listener, StartError> {
    serve::bind_unix(path).map_err(|error| listen_error(path.display().to_string(), &error, "--unix"))
}

fn listen_error(place: String, error: &io::Error, flag: &'static str) -> StartError {
    let cause = match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        _ => error.to_string(),
    };
    StartError::Listen { place, cause, flag }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Nobody listens there, so a router that owes it something drains until its time is over.
    const ROUTING: &str = "[[route]]\nto = [\"hook\"]\n\
                           [destination.hook]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n";

    fn settings(folder: &Path) -> Settings {
        let routing = folder.join("routing.toml");
        std::fs::write(&routing, ROUTING).unwrap();
        Settings {
            routing,
            listen: None,
            unix: Some(folder.join("router.sock")),
            state: folder.join("state"),
            admin: (Ipv4Addr::LOCALHOST, 0).into(),
            drain: Duration::from_secs(1),
            ..Settings::default()
        }
    }

    /// With a state of its own: a store has one owner.
    fn successor(settings: &Settings) -> Settings {
        Settings { state: settings.state.with_extension("new"), ..settings.clone() }
    }

    #[tokio::test]
    async fn a_router_that_still_drains_leaves_the_socket_of_its_successor_alone() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let socket = settings.unix.clone().unwrap();
        let old = Router::start(settings.clone()).await.unwrap();
        old.take_lines(&br#"{"time":"2026-01-01T00:00:00Z","rule":"r","priority":"error"}"#[..]).await.unwrap();

        let stopping = tokio::spawn(old.shutdown());
        tokio::time::sleep(Duration::from_millis(300)).await;
        let new = Router::start(successor(&settings)).await.unwrap();
        assert!(!stopping.is_finished());
        stopping.await.unwrap();
        assert!(tokio::net::UnixStream::connect(&socket).await.is_ok());
        new.shutdown().await;
        assert!(!socket.exists(), "the last one tidies up");
    }

    #[tokio::test]
    async fn a_connection_that_is_left_open_keeps_no_successor_from_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let old = Router::start(settings.clone()).await.unwrap();
        let mut slow = tokio::net::UnixStream::connect(settings.unix.as_ref().unwrap()).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut slow, head).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;

        let stopping = tokio::spawn(old.shutdown());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let new = Router::start(successor(&settings)).await.unwrap();
        assert!(!stopping.is_finished(), "it waits for the body");
        drop(slow);
        stopping.await.unwrap();
        new.shutdown().await;
    }
}
