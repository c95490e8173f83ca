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
mod incident;
mod inhibit;
mod limit;
mod post;
mod record;
mod schedule;
mod seen;
mod silence;

#[cfg(test)]
#[path = "stages/tests.rs"]
mod stages;

mod folder;
mod store;

mod dead_letter;
mod deliver;
mod outbox;

pub mod destination;
mod render;

mod tools;

mod admin;
mod audit;
pub mod config;
pub mod duration;
mod metrics;
mod names;
mod reload;
mod rotate;
pub mod routing;
mod search;
pub mod secret;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::access::Access;
use crate::admin::Admin;
use crate::audit::Audit;
use crate::deliver::{Crew, Running as Workers};
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::pipeline::{Pipeline, Running};
use crate::reload::{Draft, Reloader};
use crate::routing::{Routing, cases, read_text};
use crate::serve::{Door, House, Listener, Service, Tls};
use crate::store::{Options, Store};

pub use config::{Settings, SettingsError};
#[doc(hidden)]
pub use ingest::{Refusals, read_body};
pub use reload::{ReloadError, Reloaded};
pub use routing::{Problem, RoutingError};
pub use serve::TlsError;
pub use store::StoreError;
pub use tools::*;

/// How long who is connected by the Unix socket may go on when the router stops: the sensor beside it is stopped at the
/// same time, and hands over what it still has.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(10);

/// How long requests that are being answered may still take when the router stops.
const REQUESTS_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the last answer about the router may take.
const ADMIN_TIME_MAX: Duration = Duration::from_secs(1);

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
    /// Readiness goes, new requests by network are refused.
    stopping: CancellationToken,
    /// Senders by TCP. It closes first.
    front: House,
    /// The Unix socket.
    socket: House,
    /// Whoever asks about the router. It closes last.
    admin: House,
    reloader: Arc<Reloader>,
    workers: Workers,
    /// Ends after the last request and the last worker.
    decider: std::thread::JoinHandle<()>,
    /// Writes the audit trail; ends after all who have something to say.
    auditor: Option<std::thread::JoinHandle<()>>,
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

/// Rows of a Markdown table with every metric: name, type, unit, labels, meaning.
pub fn metrics_reference() -> String {
    Metrics::reference()
}

/// What a routing file holds, for `check`.
#[derive(Debug)]
pub struct Checked {
    pub routes: usize,
    pub destinations: usize,
    pub tests: usize,
    pub warnings: Vec<Problem>,
}

/// Reads and compiles a routing file with all that it refers to, as a start would, and its tests.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(path: &Path, state: &Path) -> Result<Checked, RoutingError> {
    install_crypto();
    let text = read_text(path)?;
    let routing = Routing::parse(path, &text).map_err(RoutingError::Problems)?;
    let destinations = routing.build_destinations(state)?;
    let tests = cases::of_routing(path, &text, &routing).map_err(RoutingError::Problems)?.len();
    let mut warnings = routing.unknown_fields(&destinations);
    let (routes, destinations) = (routing.routes_count, destinations.len());
    warnings.splice(0..0, routing.warnings);
    Ok(Checked { routes, destinations, tests, warnings })
}

/// The JSON Schema of routing.toml, for editors.
pub fn schema() -> serde_json::Value {
    routing::schema()
}

impl Router {
    /// Reads the routing file, binds the sockets and starts to work.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        install_crypto();
        settings.check()?;
        let (mut draft, seen) = Draft::first(&settings.routing, &settings.state)?;
        let routing = &mut draft.routing_file;
        for warning in &routing.warnings {
            warn!("{warning}");
        }
        let routes = routing.routes_count;
        let tls = settings.tls.map(Tls::new).transpose()?.map(Arc::new);
        create_state(&settings.state)?;
        let tcp = match settings.listen {
            Some(address) => Some(bind_tcp(address, "--listen").await?),
            None => None,
        };
        let (admin_listener, admin_addr) = bind_tcp(settings.admin, "--admin").await?;
        let unix = settings.unix.as_deref().map(bind_unix).transpose()?;

        let metrics = Metrics::new();
        let metrics = Arc::new(if settings.namespace_label { metrics.with_namespaces() } else { metrics });
        let options = Options { fsync: settings.fsync, bytes_max: settings.store_bytes };
        let store = Arc::new(Store::open(&settings.state.join(STORE_FOLDER), options)?);
        let (audit, auditor) =
            Audit::start(settings.audit, &settings.state, &metrics.audit_missed).map_err(StartError::Thread)?;
        let running = Pipeline::start(routing, &metrics, &store, settings.store_bytes, audit.clone())?;
        let Running { pipeline, finished, load, thread: decider } = running;
        let stopping = CancellationToken::new();
        let access = Arc::new(Access::new(settings.token, settings.admin_group));
        let parts = (pipeline.clone(), Arc::clone(&metrics), Arc::clone(&access));
        let ingest = Arc::new(Ingest::new(parts.0, parts.1, parts.2, stopping.clone()));
        let crew = Crew::new(load, finished, audit);
        let workers = crew.running();
        let paths = (settings.routing, settings.state);
        let parts = (Arc::clone(&ingest), Arc::clone(&metrics));
        let reloader = Arc::new(Reloader::start(paths, parts.0, parts.1, (draft, seen), crew));
        let admin = Arc::new(Admin {
            pipeline,
            metrics: Arc::clone(&metrics),
            store,
            stopping: stopping.clone(),
            reloader: Arc::clone(&reloader),
            searching: tokio::sync::Mutex::default(),
        });
        let [front, socket, office] = [(); 3].map(|()| House::new(&metrics));
        let ingest_addr = tcp.as_ref().map(|(_, address)| *address);
        if let Some(tls) = tls.clone() {
            front.keep(async move { tls.keep_current(&metrics).await });
        }
        front.keep(Arc::clone(&reloader).watch());
        let door = |listener, tls, ingest: Option<&Arc<Ingest>>, admin: Option<&Arc<Admin>>| {
            let service = Service { ingest: ingest.cloned(), admin: admin.cloned(), access: Arc::clone(&access) };
            Door { listener, tls, service }
        };
        if let Some((listener, _)) = tcp {
            front.open(door(listener, tls, Some(&ingest), None));
        }
        if let Some(listener) = unix {
            socket.open(door(listener, None, Some(&ingest), Some(&admin)));
        }
        office.open(door(admin_listener, None, None, Some(&admin)));
        info!(ingest = ?ingest_addr, admin = %admin_addr, unix = ?settings.unix, routes, "taking alerts");
        Ok(Self {
            ingest_addr,
            admin_addr,
            unix_path: settings.unix,
            ingest,
            drain: settings.drain,
            stopping,
            front,
            socket,
            admin: office,
            reloader,
            workers,
            decider,
            auditor,
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

    /// Reads the configuration again and puts it into force: all of it, or nothing. The metrics and the log tell how it
    /// ended. `trigger`: who asked for it, for the log.
    ///
    /// # Errors
    /// The new one cannot be used; see [`ReloadError`].
    pub async fn reload(&self, trigger: &'static str) -> Result<Reloaded, ReloadError> {
        self.reloader.reload(trigger).await
    }

    /// Takes alerts from an input, one JSON object a line, until it ends.
    ///
    /// # Errors
    /// The input cannot be read.
    pub async fn take_lines(&self, input: impl tokio::io::AsyncBufRead + Unpin) -> io::Result<()> {
        self.ingest.take_lines(input).await
    }

    /// Stops: first nothing is taken by network any more, then, when the senders at the Unix socket have gone, not by that
    /// either. What is owed is then delivered for as long as the settings say. What is left stays in the store, and goes out
    /// at the next start, as do the summaries of open windows.
    pub async fn shutdown(self) {
        self.stopping.cancel();
        self.front.close();
        if timeout(LAST_WORDS_TIME_MAX, self.socket.emptied()).await.is_err() {
            info!("a sender at the Unix socket goes on; what it has is to be sent to the next router");
        }
        self.socket.close();
        for house in [&self.front, &self.socket] {
            if !house.ended(REQUESTS_TIME_MAX).await {
                warn!("some requests did not end in time");
            }
        }
        self.reloader.close().await;
        let pipeline = self.ingest.pipeline.clone();
        pipeline.close().await;
        pipeline.stations().iter().for_each(|station| station.outbox.close());
        if self.workers.ended(self.drain).await {
            info!("all that was taken is delivered");
        } else {
            self.workers.abandon();
            let left: usize = pipeline.stations().iter().map(|station| station.outbox.len()).sum();
            warn!(
                deliveries = left,
                "the time to drain is over; what is left stays in the store and goes out at the next start"
            );
            if !self.workers.ended(ABANDON_TIME_MAX).await {
                warn!("some deliveries did not end in time");
            }
        }
        let decider = self.decider;
        let end = tokio::task::spawn_blocking(move || decider.join());
        if timeout(DECIDER_TIME_MAX, end).await.is_err() {
            warn!("the last outcomes were not written in time; what they were of may be delivered twice");
        }
        if let Some(auditor) = self.auditor {
            let end = tokio::task::spawn_blocking(move || auditor.join());
            if timeout(DECIDER_TIME_MAX, end).await.is_err() {
                warn!("the audit trail was not written to its end in time");
            }
        }
        self.admin.close();
        if !self.admin.ended(ADMIN_TIME_MAX).await {
            info!("somebody still asks about the router and hears no answer");
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
    folder::create(path, folder::UMASK_DECIDES).map_err(|source| StartError::State { path: path.to_owned(), source })
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
    async fn who_is_connected_to_the_socket_keeps_it_until_he_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let old = Router::start(settings.clone()).await.unwrap();
        let mut slow = tokio::net::UnixStream::connect(settings.unix.as_ref().unwrap()).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut slow, head).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;

        let stopping = tokio::spawn(old.shutdown());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let refused = Router::start(successor(&settings)).await.err().map(|error| error.to_string());
        assert!(refused.as_ref().is_some_and(|error| error.contains("address in use")), "{refused:?}");
        assert!(!stopping.is_finished(), "it waits for the body");
        drop(slow);
        stopping.await.unwrap();
        Router::start(successor(&settings)).await.unwrap().shutdown().await;
    }
}
