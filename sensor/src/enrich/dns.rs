//! The addresses of the hosts that rules name: `fd.sip.name = api.example.com`.
//!
//! The names are known when the rules are loaded. A thread of its own asks the system's resolver (`/etc/hosts`, DNS) for their
//! addresses, again and again; whoever looks an address up gets what it found last and never waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::warn;

/// Names that are resolved; what rules name beyond them never matches.
pub const NAMES_MAX: usize = 1_024;

/// Bytes of one name: DNS knows no longer ones.
const NAME_BYTES_MAX: usize = 253;

/// Addresses that are kept of one name.
const ADDRESSES_MAX: usize = 64;

/// How long it takes until every name is asked for again: a minute, less or more, so that a fleet does not ask as one.
const REFRESH_SECONDS: std::ops::Range<u64> = 54..66;

/// How long a start waits for the first answers: those of `/etc/hosts` come at once, those of a name server need not.
const FIRST_WAIT: Duration = Duration::from_millis(200);

type Resolve = fn(&str) -> io::Result<Vec<IpAddr>>;

/// The names by address, as they were resolved last.
#[derive(Debug, Default)]
pub struct HostNames {
    by_address: HashMap<IpAddr, Vec<Arc<str>>>,
    counts: Counts,
    /// Of what was resolved when it was looked at last.
    version: u64,
    resolved: Option<Arc<Mutex<Resolved>>>,
    /// Whoever resolves stops when this is gone.
    _alive: Option<SyncSender<()>>,
}

/// The addresses of each name, none of those that cannot be resolved. What changes changes the version.
#[derive(Debug, Default)]
struct Resolved {
    version: u64,
    addresses: BTreeMap<Arc<str>, Vec<IpAddr>>,
}

/// How many of the names that rules mention are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub resolved: usize,
    pub unresolved: usize,
    /// Too long, or too many.
    pub refused: usize,
}

impl HostNames {
    /// Begins to resolve these names; waits a moment for the first answers. Without names there is no thread.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(names: &BTreeSet<String>) -> io::Result<Self> {
        Self::start_with(names, resolve)
    }

    fn start_with(names: &BTreeSet<String>, resolve: Resolve) -> io::Result<Self> {
        let taken: Vec<Arc<str>> = names
            .iter()
            .filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))
            .take(NAMES_MAX)
            .map(|name| name.as_str().into())
            .collect();
        let refused = names.len() - taken.len();
        if refused > 0 {
            warn!(names = refused, "rules name more hosts than are resolved, or too long ones: these never match");
        }
        let counts = Counts { unresolved: taken.len(), refused, ..Counts::default() };
        if taken.is_empty() {
            return Ok(Self { counts, ..Self::default() });
        }
        let resolved = Arc::<Mutex<Resolved>>::default();
        let (alive, ended) = mpsc::sync_channel::<()>(0);
        let (first, answered) = mpsc::sync_channel::<()>(0);
        let work = Resolver { names: taken, resolve, resolved: Arc::clone(&resolved) };
        thread::Builder::new().name("resolve".to_owned()).spawn(move || work.run(&ended, first))?;
        // Late is no error: then they are known a moment later.
        _ = answered.recv_timeout(FIRST_WAIT);
        let mut hosts = Self { counts, resolved: Some(resolved), _alive: Some(alive), ..Self::default() };
        hosts.refresh();
        Ok(hosts)
    }

    /// Takes in what was resolved since. To be called about once a second.
    pub fn refresh(&mut self) {
        let Some(resolved) = self.resolved.as_ref().map(lock).filter(|resolved| resolved.version != self.version)
        else {
            return;
        };
        self.version = resolved.version;
        self.by_address.clear();
        for (name, addresses) in &resolved.addresses {
            for address in addresses {
                self.by_address.entry(*address).or_default().push(Arc::clone(name));
            }
        }
        let names = self.counts.resolved + self.counts.unresolved;
        self.counts.resolved = resolved.addresses.values().filter(|addresses| !addresses.is_empty()).count();
        self.counts.unresolved = names - self.counts.resolved;
    }

    /// Those of the names that have this address, in order.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.by_address.get(&address).into_iter().flatten().map(|name| &**name)
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Waits until every name was asked for once.
    #[cfg(test)]
    pub(crate) fn settled(mut self) -> Self {
        let names = self.counts.resolved + self.counts.unresolved;
        while self.resolved.as_ref().is_some_and(|resolved| lock(resolved).addresses.len() < names) {
            thread::sleep(Duration::from_millis(1));
        }
        self.refresh();
        self
    }
}

fn lock(resolved: &Arc<Mutex<Resolved>>) -> MutexGuard<'_, Resolved> {
    resolved.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread works with.
struct Resolver {
    names: Vec<Arc<str>>,
    resolve: Resolve,
    resolved: Arc<Mutex<Resolved>>,
}

impl Resolver {
    /// Until the other end of `ended` is gone. `first` is dropped when every name was asked for once.
    fn run(self, ended: &mpsc::Receiver<()>, first: SyncSender<()>) {
        let mut first = Some(first);
        loop {
            self.resolve_all();
            drop(first.take());
            let pause = Duration::from_secs(fastrand::u64(REFRESH_SECONDS));
            if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// A name that cannot be resolved keeps the addresses that it had.
    fn resolve_all(&self) {
        for name in &self.names {
            let found = (self.resolve)(name).map(|found| bounded(&found));
            let mut resolved = lock(&self.resolved);
            let known = resolved.addresses.get(name);
            let news = match found {
                Ok(found) if known == Some(&found) => continue,
                Ok(found) => found,
                Err(_) if known.is_some() => continue,
                Err(error) => {
                    warn!(host = &**name, %error, "cannot resolve a host that a rule names: it does not match until it is");
                    Vec::new()
                }
            };
            resolved.addresses.insert(Arc::clone(name), news);
            resolved.version += 1;
        }
    }
}

/// Sorted, each once, not too many. An IPv4 address that is written as IPv6 is what sockets are said to have: IPv4.
fn bounded(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let addresses: BTreeSet<_> = addresses.iter().map(IpAddr::to_canonical).collect();
    addresses.into_iter().take(ADDRESSES_MAX).collect()
}

fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn of(hosts: &HostNames, address: &str) -> Vec<String> {
        hosts.of(address.parse().unwrap()).map(str::to_owned).collect()
    }

    fn table(name: &str) -> io::Result<Vec<IpAddr>> {
        match name {
            "a.test" => Ok(vec!["10.0.0.1".parse().unwrap(), "fe80::1".parse().unwrap()]),
            "b.test" => Ok(vec!["::ffff:10.0.0.1".parse().unwrap()]),
            "many.test" => Ok((0..=u8::MAX).map(|last| IpAddr::from([10, 1, 0, last])).collect()),
            _ => Err(io::Error::other("no such host")),
        }
    }

    #[test]
    fn an_address_has_every_name_that_resolves_to_it() {
        let hosts = HostNames::start_with(&names(&["a.test", "b.test", "gone.test"]), table).unwrap().settled();
        assert_eq!(of(&hosts, "10.0.0.1"), ["a.test", "b.test"]);
        assert_eq!(of(&hosts, "fe80::1"), ["a.test"]);
        assert!(of(&hosts, "10.0.0.2").is_empty());
        assert_eq!(hosts.counts(), Counts { resolved: 2, unresolved: 1, refused: 0 });
    }

    #[test]
    fn names_and_addresses_are_bounded() {
        let many: BTreeSet<_> = (0..NAMES_MAX + 2).map(|number| format!("{number:04}.test")).collect();
        let hosts = HostNames::start_with(&many, |_| Ok(vec![IpAddr::from([10, 0, 0, 1])])).unwrap().settled();
        assert_eq!(hosts.counts(), Counts { resolved: NAMES_MAX, unresolved: 0, refused: 2 });
        let long = HostNames::start_with(&names(&["", &"x".repeat(NAME_BYTES_MAX + 1)]), table).unwrap();
        assert_eq!(long.counts(), Counts { refused: 2, ..Counts::default() });
        assert!(long.resolved.is_none());
        let hosts = HostNames::start_with(&names(&["many.test"]), table).unwrap().settled();
        assert_eq!(hosts.by_address.len(), ADDRESSES_MAX);
    }

    #[test]
    fn the_machine_s_own_hosts_and_written_addresses_are_resolved() {
        let hosts = HostNames::start(&names(&["localhost", "192.0.2.7"])).unwrap().settled();
        assert_eq!(of(&hosts, "127.0.0.1"), ["localhost"]);
        assert_eq!(of(&hosts, "192.0.2.7"), ["192.0.2.7"]);
    }

    #[test]
    fn a_name_that_cannot_be_resolved_any_more_keeps_its_addresses() {
        let mut resolver = Resolver { names: vec!["a.test".into()], resolve: table, resolved: Arc::default() };
        let mut hosts = HostNames { resolved: Some(Arc::clone(&resolver.resolved)), ..HostNames::default() };
        hosts.counts.unresolved = 1;
        resolver.resolve_all();
        resolver.resolve = |_| Err(io::Error::other("timed out"));
        resolver.resolve_all();
        hosts.refresh();
        assert_eq!((of(&hosts, "10.0.0.1"), hosts.counts().resolved), (vec!["a.test".to_owned()], 1));
        resolver.resolve = |_| Ok(vec![IpAddr::from([10, 0, 0, 9])]);
        resolver.resolve_all();
        hosts.refresh();
        assert_eq!(hosts.by_address.keys().collect::<Vec<_>>(), [&IpAddr::from([10, 0, 0, 9])]);
    }

    #[test]
    fn the_thread_ends_with_whoever_asked_for_it() {
        let hosts = HostNames::start_with(&names(&["a.test"]), table).unwrap();
        let resolved = Arc::downgrade(hosts.resolved.as_ref().unwrap());
        drop(hosts);
        for _ in 0..500 {
            if resolved.strong_count() == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it still runs");
    }
}
