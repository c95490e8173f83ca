//! What runtimes told of containers, by the containers' ids.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lru::LruCache;

use super::metadata::Metadata;
use super::runtimes::{Runtimes, Socket};

/// Containers that are remembered, and bytes of what was told of them.
const CONTAINERS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
const METADATA_BYTES_MAX: usize = 8 << 20;

/// A container that no runtime knew is asked for again after this time.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// How long an answer may still come: a bit longer than one that takes its time, and than a container's start, during which
/// Docker answers nothing about it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);

/// How long an event waits for an answer where nothing else is set.
pub const METADATA_WAIT: Duration = Duration::from_millis(500);

/// Told and untold containers.
#[derive(Debug)]
pub struct Inventory {
    by_id: LruCache<Box<str>, Entry>,
    bytes: usize,
    wait_ns: u64,
    source: Source,
    evicted: u64,
    /// Ids of which something changed, where somebody writes that down.
    changed: Option<Vec<Box<str>>>,
}

#[derive(Debug)]
struct Entry {
    /// When it was asked for, or something was told of it, `CLOCK_BOOTTIME`.
    at_ns: u64,
    metadata: Option<Box<Metadata>>,
}

/// What is known of a container is not all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// The rest is worth waiting for, until this time of `CLOCK_BOOTTIME`.
    Until(u64),
    /// It was asked for in vain.
    Unanswered,
}

/// Who is asked.
#[derive(Debug)]
enum Source {
    Nobody,
    Runtimes(Runtimes),
    /// What was recorded comes by itself.
    Recording,
}

/// What became of asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections to runtimes that stand.
    pub connected: usize,
    /// Containers that are known.
    pub known: usize,
    pub told: u64,
    pub cut: u64,
    pub failed: u64,
    pub refused: u64,
    pub evicted: u64,
}

impl Inventory {
    /// Asks nobody.
    pub(crate) fn new() -> Self {
        Self {
            by_id: LruCache::new(CONTAINERS_MAX),
            bytes: 0,
            wait_ns: nanoseconds(METADATA_WAIT),
            source: Source::Nobody,
            evicted: 0,
            changed: None,
        }
    }

    /// Asks the runtimes at these sockets. `wait`: how long an answer is waited for.
    ///
    /// # Errors
    ///
    /// The thread that asks cannot be started.
    pub fn start(sockets: Vec<Socket>, wait: Duration) -> std::io::Result<Self> {
        let source = if sockets.is_empty() { Source::Nobody } else { Source::Runtimes(Runtimes::start(sockets)?) };
        Ok(Self { source, wait_ns: nanoseconds(wait), ..Self::new() })
    }

    /// Is told what was recorded.
    pub(crate) fn recorded() -> Self {
        Self { source: Source::Recording, ..Self::new() }
    }

    /// Keeps the ids of which something changed, for [`Self::take_changed`].
    pub(crate) fn keep_changed(&mut self) {
        self.changed = Some(Vec::new());
    }

    pub(crate) fn take_changed(&mut self) -> Vec<Box<str>> {
        self.changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn of(&self, full_id: &str) -> Option<&Metadata> {
        self.by_id.peek(full_id)?.metadata.as_deref()
    }

    /// Whether all is known of a container that will be told.
    pub(crate) fn is_told(&self, full_id: &str) -> bool {
        self.by_id.peek(full_id).is_some_and(Entry::is_told)
    }

    /// Whether a container was asked for, or more is known of it.
    pub(crate) fn has_heard_of(&self, full_id: &str) -> bool {
        self.by_id.contains(full_id)
    }

    /// Asks about a container that was not heard of, or not for long. `now_ns`: `CLOCK_BOOTTIME`.
    pub(crate) fn want(&mut self, full_id: &str, now_ns: u64) {
        let Source::Runtimes(runtimes) = &self.source else { return };
        let is_settled = self
            .by_id
            .get(full_id)
            .is_some_and(|entry| entry.is_told() || now_ns.saturating_sub(entry.at_ns) < nanoseconds(ASK_AGAIN));
        if !is_settled && runtimes.tally().connected.load(Ordering::Acquire) > 0 {
            runtimes.ask(full_id);
            self.learn(full_id, None, now_ns);
        }
    }

    /// What an event of this moment has to do without, or wait for; `None`: nothing, as all is known, or nobody was asked.
    pub(crate) fn pending(&self, full_id: &str, now_ns: u64) -> Option<Pending> {
        let entry = self.by_id.peek(full_id).filter(|entry| !entry.is_told())?;
        let may_come = now_ns.saturating_sub(entry.at_ns) < nanoseconds(ANSWERED_WITHIN);
        Some(if may_come { Pending::Until(now_ns.saturating_add(self.wait_ns)) } else { Pending::Unanswered })
    }

    /// Takes in what was told since; whether there was anything.
    pub(crate) fn refresh(&mut self, now_ns: u64) -> bool {
        let mut has_news = false;
        while let Source::Runtimes(runtimes) = &mut self.source
            && let Some(answer) = runtimes.next_answer()
        {
            self.learn(&answer.full_id, Some(answer.metadata), now_ns);
            has_news = true;
        }
        has_news
    }

    /// A container was asked for (`None`), or this was told of it.
    pub(crate) fn learn(&mut self, full_id: &str, metadata: Option<Box<Metadata>>, now_ns: u64) {
        let is_less = metadata.as_ref().is_none_or(|metadata| metadata.is_partial);
        let before = if is_less { self.by_id.pop(full_id) } else { None };
        let metadata = match before {
            Some(entry) => {
                self.bytes -= entry.bytes();
                if entry.is_told() { entry.metadata } else { metadata.or(entry.metadata) }
            }
            None => metadata,
        };
        self.put(full_id, Entry { at_ns: now_ns, metadata });
    }

    pub fn counts(&self) -> Counts {
        let known = self.by_id.iter().filter(|(_, entry)| entry.metadata.is_some()).count();
        let counts = Counts { known, evicted: self.evicted, ..Counts::default() };
        let Source::Runtimes(runtimes) = &self.source else { return counts };
        let tally = runtimes.tally();
        Counts {
            connected: tally.connected.load(Ordering::Acquire),
            told: tally.told.load(Ordering::Relaxed),
            cut: tally.cut.load(Ordering::Relaxed),
            failed: tally.failed.load(Ordering::Relaxed),
            refused: tally.refused.load(Ordering::Relaxed),
            ..counts
        }
    }

    fn put(&mut self, full_id: &str, entry: Entry) {
        if let Some(changed) = &mut self.changed {
            changed.push(full_id.into());
        }
        self.bytes += entry.bytes();
        if let Some((replaced, before)) = self.by_id.push(full_id.into(), entry) {
            self.bytes -= before.bytes();
            self.evicted += u64::from(*replaced != *full_id);
        }
        while self.bytes > METADATA_BYTES_MAX
            && let Some((_, entry)) = self.by_id.pop_lru()
        {
            self.bytes -= entry.bytes();
            self.evicted += 1;
        }
    }
}

impl Entry {
    fn is_told(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| !metadata.is_partial)
    }

    fn bytes(&self) -> usize {
        self.metadata.as_ref().map_or(0, |metadata| metadata.bytes())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn named(name: &str) -> Box<Metadata> {
        Box::new(Metadata { name: Some(name.to_owned()), ..Metadata::default() })
    }

    #[test]
    fn each_event_waits_for_its_own_time_as_long_as_an_answer_may_come() {
        let mut inventory = Inventory::recorded();
        assert_eq!(inventory.pending("a", 0), None, "nobody was asked");
        inventory.learn("a", None, 1_000);
        assert_eq!(inventory.pending("a", 1_001), Some(Pending::Until(500_001_001)));
        assert_eq!(inventory.pending("a", 3_000_000_000), Some(Pending::Until(3_500_000_000)));
        assert_eq!(inventory.pending("a", 4_000_001_000), Some(Pending::Unanswered));
        inventory.learn("a", Some(named("web")), 2_000);
        assert_eq!(inventory.pending("a", 2_000), None);
        assert_eq!(inventory.of("a").unwrap().name.as_deref(), Some("web"));
    }

    #[test]
    fn what_a_runtime_announced_is_known_until_it_tells_all_and_never_replaces_that() {
        let announced = || Some(Box::new(Metadata { is_partial: true, ..*named("announced") }));
        let mut inventory = Inventory::recorded();
        inventory.learn("a", announced(), 1_000);
        inventory.learn("a", None, 2_000);
        let name = |inventory: &Inventory| inventory.of("a").unwrap().name.clone().unwrap();
        assert_eq!((name(&inventory).as_str(), inventory.is_told("a")), ("announced", false));
        assert_eq!(inventory.pending("a", 2_000), Some(Pending::Until(500_002_000)));
        inventory.learn("a", Some(named("web")), 3_000);
        inventory.learn("a", announced(), 4_000);
        assert_eq!((name(&inventory).as_str(), inventory.is_told("a")), ("web", true));
        assert_eq!((inventory.counts().known, inventory.bytes), (1, named("web").bytes()));
    }

    #[test]
    fn what_was_not_used_for_longest_is_given_up_and_counted() {
        let mut inventory = Inventory::recorded();
        let labels: BTreeMap<_, _> = (0..8).map(|number| (number.to_string(), "x".repeat(1_000))).collect();
        for number in 0..2_000 {
            let metadata = Metadata { labels: labels.clone().into(), ..Metadata::default() };
            inventory.learn(&number.to_string(), Some(Box::new(metadata)), 0);
        }
        let counts = inventory.counts();
        assert!(inventory.bytes <= METADATA_BYTES_MAX && counts.evicted > 0);
        assert_eq!(counts.known as u64 + counts.evicted, 2_000);
        assert!(inventory.of("0").is_none() && inventory.of("1999").is_some());
    }
}
