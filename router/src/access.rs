//! Who may do what: send alerts, administer the router.
//!
//! On the Unix socket the kernel says who is there, so no token is asked for: its mode decides who may send, and root, the
//! router's own user and one group may administer. Everywhere else the token decides.

use std::fmt;
use std::net::SocketAddr;

use http::header::{AUTHORIZATION, HeaderMap};
use tokio::net::unix::UCred;

use crate::config::Token;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Network(SocketAddr),
    /// The process that connected, as the kernel tells it.
    Process {
        uid: u32,
        gid: u32,
        pid: Option<i32>,
    },
}

/// The rules.
pub(crate) struct Access {
    token: Option<Token>,
    /// The router's own user.
    user: u32,
    admin_group: Option<u32>,
}

impl Access {
    pub(crate) fn new(token: Option<Token>, admin_group: Option<u32>) -> Self {
        Self { token, user: rustix::process::geteuid().as_raw(), admin_group }
    }

    /// Whether the caller may hand in alerts. Without a token everybody may who reaches us.
    pub(crate) fn may_send(&self, caller: &Caller, headers: &HeaderMap) -> bool {
        match caller {
            Caller::Process { .. } => true,
            Caller::Network(_) => self.token.is_none() || self.shows_token(headers),
        }
    }

    /// Whether the caller may see and change what the router does. By network never without a token.
    pub(crate) fn may_administer(&self, caller: &Caller, headers: &HeaderMap) -> bool {
        match *caller {
            Caller::Process { uid, gid, .. } if uid == 0 || uid == self.user || Some(gid) == self.admin_group => true,
            Caller::Process { .. } | Caller::Network(_) => self.shows_token(headers),
        }
    }

    fn shows_token(&self, headers: &HeaderMap) -> bool {
        let offered = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let offered = offered.and_then(|text| text.strip_prefix("Bearer "));
        self.token.as_ref().zip(offered).is_some_and(|(token, offered)| token.is(offered.trim()))
    }
}

impl From<UCred> for Caller {
    fn from(credentials: UCred) -> Self {
        Self::Process { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Process { uid, gid, pid: Some(pid) } => write!(f, "pid {pid}, uid {uid}, gid {gid}"),
            Self::Process { uid, gid, pid: None } => write!(f, "uid {uid}, gid {gid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const OWN: u32 = 1_000;
    const GROUP: u32 = 50;
    const NETWORK: Caller = Caller::Network(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1));

    fn process(uid: u32, gid: u32) -> Caller {
        Caller::Process { uid, gid, pid: Some(7) }
    }

    fn access(token: Option<&str>) -> Access {
        Access { token: token.map(Token::new), user: OWN, admin_group: Some(GROUP) }
    }

    fn headers(authorization: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(authorization))])
    }

    #[test]
    fn the_token_is_asked_for_by_network_alone() {
        let access = access(Some("opensesame"));
        for (authorization, expected) in [
            ("Bearer opensesame", true),
            ("Bearer opensesam", false),
            ("opensesame", false),
            ("Basic opensesame", false),
        ] {
            assert_eq!(access.may_send(&NETWORK, &headers(authorization)), expected, "{authorization}");
            assert_eq!(access.may_administer(&NETWORK, &headers(authorization)), expected, "{authorization}");
        }
        assert!(!access.may_send(&NETWORK, &HeaderMap::new()));
        assert!(access.may_send(&process(12_345, 12_345), &HeaderMap::new()));
    }

    #[test]
    fn root_the_own_user_and_one_group_administer_over_the_socket() {
        let access = access(Some("opensesame"));
        for (uid, gid, expected) in [(0, 9, true), (OWN, 9, true), (9, GROUP, true), (9, 9, false), (9, 0, false)] {
            assert_eq!(access.may_administer(&process(uid, gid), &HeaderMap::new()), expected, "{uid}:{gid}");
        }
        assert!(access.may_administer(&process(9, 9), &headers("Bearer opensesame")));
    }

    #[test]
    fn without_a_token_anybody_may_send_and_nobody_administer_by_network() {
        let access = access(None);
        assert!(access.may_send(&NETWORK, &HeaderMap::new()));
        assert!(!access.may_administer(&NETWORK, &headers("Bearer ")));
    }
}
