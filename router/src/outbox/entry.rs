//! One entry of an outbox.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Kind, Lane, Waiting};
use crate::destination::Notification;
use crate::fingerprint::Fingerprint;

/// A [`Waiting`] with what delivery knows of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) key: Option<Fingerprint>,
    pub(crate) lane: Lane,
    pub(crate) kind: Kind,
    pub(crate) bytes: u32,
    /// On the clock that does not jump.
    pub(crate) accepted: Instant,
    pub(crate) notification: Option<Arc<Notification>>,
    pub(crate) repeats: Option<Arc<AtomicU64>>,
    /// `None`: there was none yet.
    pub(crate) attempts: Option<Box<Attempts>>,
}

/// What was tried since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempts {
    pub(crate) count: u32,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl Entry {
    /// Puts the acceptance on the clock that does not jump. An acceptance in the future, which a clock that was set back
    /// leaves behind, counts as now: such an entry neither dies early nor lives for ever.
    pub(super) fn new(waiting: Waiting, now: Timestamp, instant: Instant) -> Self {
        let age = Duration::try_from(now.duration_since(waiting.accepted)).unwrap_or_default();
        Self {
            id: waiting.id,
            key: waiting.key,
            lane: waiting.lane,
            accepted: instant.checked_sub(age).unwrap_or(instant),
            bytes: waiting.bytes,
            kind: waiting.kind,
            notification: waiting.notification,
            repeats: waiting.repeats,
            attempts: None,
        }
    }
}
