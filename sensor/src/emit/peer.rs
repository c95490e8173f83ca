//! Who takes the alerts, as far as the connection to him tells: what is needed to know his process and to mute it.
//!
//! Only somebody on this machine is told of. A router elsewhere raises no events here.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::{Response, Url};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Between two questions to a Unix socket that answers: each is a connection of its own.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// For a connection to a Unix socket.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// Somebody on this machine who takes alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The process that listens at the Unix socket, by the kernel's word (`SO_PEERCRED`).
    Process(u32),
    /// Our end of the TCP connection and his.
    Connection { local: SocketAddr, remote: SocketAddr },
}

/// Tells of the peer whenever he may be another one.
#[derive(Debug)]
pub(super) struct Teller {
    told: watch::Sender<Option<Peer>>,
    target: Target,
    /// When the Unix socket was asked.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum Target {
    Unix(PathBuf),
    /// The address is `None` where the URL has a name.
    Tcp {
        ip: Option<IpAddr>,
        port: Option<u16>,
    },
}

impl Teller {
    pub(super) fn unix(path: &Path) -> Self {
        Self::new(Target::Unix(path.to_owned()))
    }

    pub(super) fn tcp(url: &Url) -> Self {
        let ip = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        Self::new(Target::Tcp { ip, port: url.port_or_known_default() })
    }

    fn new(target: Target) -> Self {
        Self { told: watch::Sender::new(None), target, asked: Mutex::default() }
    }

    pub(super) fn peers(&self) -> watch::Receiver<Option<Peer>> {
        self.told.subscribe()
    }

    /// Asks a Unix socket who listens; there may be nobody yet. TCP tells nothing before the first answer.
    pub(super) async fn ask(&self) {
        let Target::Unix(path) = &self.target else { return };
        if self.told.is_closed() || !self.is_due() {
            return;
        }
        if let Some(pid) = listener(path).await {
            self.told.send_replace(Some(Peer::Process(pid)));
        }
    }

    /// An answer came.
    pub(super) async fn answered(&self, response: &Response) {
        let Target::Tcp { ip, port } = self.target else { return self.ask().await };
        let Some(info) = response.extensions().get::<HttpInfo>() else { return };
        let peer = Peer::Connection { local: info.local_addr(), remote: info.remote_addr() };
        if is_here(&info.local_addr(), &info.remote_addr()) && is_target(&info.remote_addr(), ip, port) {
            self.told.send_if_modified(|told| told.replace(peer) != Some(peer));
        }
    }

    /// No answer came: whoever gives the next one may be another process.
    pub(super) fn broke(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_due(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = asked.is_none_or(|asked| asked.elapsed() >= ASK_INTERVAL);
        if is_due {
            *asked = Some(Instant::now());
        }
        is_due
    }
}

/// The process that listens at the socket; `None` where nobody does, or in a namespace that cannot be seen from here.
async fn listener(path: &Path) -> Option<u32> {
    let stream = tokio::time::timeout(ASK_TIMEOUT, UnixStream::connect(path)).await.ok()?.ok()?;
    let pid = stream.peer_cred().ok()?.pid()?;
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

fn is_here(local: &SocketAddr, remote: &SocketAddr) -> bool {
    remote.ip().to_canonical().is_loopback() || remote.ip() == local.ip()
}

/// Not so where a proxy stands in between.
fn is_target(remote: &SocketAddr, ip: Option<IpAddr>, port: Option<u16>) -> bool {
    Some(remote.port()) == port && ip.is_none_or(|ip| ip.to_canonical() == remote.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_else_s_machine_and_a_proxy_are_no_peer() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (local, remote, expected) in [
            ("127.0.0.1:9", "127.0.0.1:2801", true),
            ("[::1]:9", "[::1]:2801", true),
            ("10.0.0.1:9", "10.0.0.1:2801", true),
            ("10.0.0.1:9", "10.0.0.2:2801", false),
        ] {
            assert_eq!(is_here(&at(local), &at(remote)), expected, "{remote}");
        }
        for (url, remote, expected) in [
            ("http://127.0.0.1:2801/v1/alerts", "127.0.0.1:2801", true),
            ("http://[::1]:2801/", "[::1]:2801", true),
            ("http://localhost:2801/", "127.0.0.1:2801", true),
            ("http://localhost/", "127.0.0.1:80", true),
            ("http://localhost/", "127.0.0.1:3128", false),
            ("http://192.0.2.1:2801/", "127.0.0.1:2801", false),
        ] {
            let Target::Tcp { ip, port } = Teller::tcp(&url.parse().unwrap()).target else { panic!("{url}") };
            assert_eq!(is_target(&at(remote), ip, port), expected, "{url} at {remote}");
        }
    }

    #[tokio::test]
    async fn a_unix_socket_tells_who_listens_and_is_asked_again_after_trouble_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("router.sock");
        let teller = Teller::unix(&path);
        let mut peers = teller.peers();
        teller.ask().await;
        assert!(!peers.has_changed().unwrap(), "nobody listens");
        teller.broke();
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        teller.ask().await;
        assert_eq!(*peers.borrow_and_update(), Some(Peer::Process(std::process::id())));
        listener.accept().await.unwrap();
        teller.ask().await;
        assert!(!peers.has_changed().unwrap(), "it was asked a moment ago");
    }
}
