//! Messages that a destination has posted and that others may follow: the repeats of an alert go into its thread, and so do the
//! digests of a route. What the destination says of such a message, as Slack its channel and `ts`, is kept until nothing can
//! follow it any more.
//!
//! The worker reads and writes a [`Board`], so that what it posted is known at once. The decider knows the same and keeps it:
//! what a delivery left behind is part of the commit that says that it was made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::destination::{Notification, NotificationKind};
use crate::record::{Dated, Ordered, Owner, Record, Records, after, derived_key};

/// Posts of one destination: some 4 MiB. One more, and the one goes that would go first anyway.
const POSTS_MAX: usize = 10_000;

/// What a destination may say of one of them; more is not kept.
const POST_BYTES_MAX: usize = 256;

/// How long an alert's is kept: the longest window of deduplication, and an hour for its summary.
const ALERT_AGE_MAX: Duration = Duration::from_hours(7 * 24 + 1);

/// Digests of a route gather at one post until there were none for so long.
const STORM_END: Duration = Duration::from_hours(1);

/// A message that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Post {
    /// In the destination's own words.
    text: Arc<str>,
    /// Nothing follows it from then on.
    until: Timestamp,
}

/// A post, and what it is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pinned {
    key: Arc<str>,
    post: Post,
}

/// The posts of one destination, as its worker finds them.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<HashMap<Arc<str>, Post>>);

/// The posts of one destination, as they are kept.
pub(crate) struct Posts {
    board: Arc<Board>,
    /// By how long each of them is kept.
    kept: Ordered<Arc<str>, Post>,
    count_max: usize,
    tally: Tally,
}

/// What happened since the last look, for the metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Posts that had to make room, or said too much of themselves: what follows them is a message of its own.
    pub(crate) evicted: u64,
    /// Records that made no sense at the start.
    pub(crate) senseless: u64,
}

/// What a notification's post is found by; `None`: nothing can follow it. Two routes may have the same key for one alert.
fn key(notification: &Notification) -> Option<Arc<str>> {
    let route = notification.route.as_bytes();
    let key = match &notification.kind {
        NotificationKind::Digest(_) => derived_key(&[b"digest", route]),
        NotificationKind::Alert | NotificationKind::Summary(_) | NotificationKind::Resolve(_) => {
            derived_key(&[b"alert", route, notification.dedup_key.as_deref()?.as_bytes()])
        }
    };
    Some(key.into())
}

impl Board {
    /// What was said of the message that this one follows.
    pub(crate) fn find(&self, notification: &Notification, now: Timestamp) -> Option<Arc<str>> {
        if matches!(notification.kind, NotificationKind::Alert) {
            return None;
        }
        let key = key(notification)?;
        let posts = self.posts();
        posts.get(&key).filter(|post| post.until > now).map(|post| Arc::clone(&post.text))
    }

    /// The destination took a notification and said this; to be told to the one who keeps it. `None`: nothing can follow.
    pub(crate) fn pin(&self, notification: &Notification, text: Arc<str>, now: Timestamp) -> Option<Pinned> {
        let age_max = match notification.kind {
            NotificationKind::Digest(_) => STORM_END,
            NotificationKind::Alert | NotificationKind::Summary(_) | NotificationKind::Resolve(_) => ALERT_AGE_MAX,
        };
        let pinned = Pinned { key: key(notification)?, post: Post { text, until: after(now, age_max) } };
        if !pinned.post.is_long() {
            self.posts().insert(Arc::clone(&pinned.key), pinned.post.clone());
        }
        Some(pinned)
    }

    /// What this one should follow is not there any more.
    pub(crate) fn take_down(&self, notification: &Notification) {
        if let Some(key) = key(notification) {
            self.posts().remove(&key);
        }
    }

    fn posts(&self) -> MutexGuard<'_, HashMap<Arc<str>, Post>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dated for Post {
    fn time(&self) -> Timestamp {
        self.until
    }
}

impl Post {
    fn is_long(&self) -> bool {
        self.text.len() > POST_BYTES_MAX
    }
}

impl Posts {
    /// A delivery was made and left this behind. It is on the board already, perhaps with what came after it.
    pub(crate) fn keep(&mut self, Pinned { key, post }: Pinned) {
        if post.is_long() {
            self.tally.evicted += 1;
            return;
        }
        self.kept.put(key, post);
        while self.kept.len() > self.count_max {
            self.forget_first();
            self.tally.evicted += 1;
        }
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.kept.first().map(|(until, _)| *until)
    }

    /// Forgets those that nothing follows any more.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while self.next_due().is_some_and(|until| until <= now) {
            self.forget_first();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// What happened since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn forget_first(&mut self) {
        let Some((key, post)) = self.kept.pop_first() else { return };
        let mut board = self.board.posts();
        // What was pinned there since is on its way here.
        if board.get(&key) == Some(&post) {
            board.remove(&key);
        }
    }
}

/// Records.
impl Posts {
    /// `records`: those of the posts' table; others' are passed over.
    pub(crate) fn load(destination: &str, board: &Arc<Board>, records: impl Iterator<Item = Record>) -> Self {
        let kept = Ordered::new(Owner::new(&[destination]));
        let mut posts = Self { board: Arc::clone(board), kept, count_max: POSTS_MAX, tally: Tally::default() };
        posts.reload(records);
        posts
    }

    /// As the records say, at the start and after a commit that failed. What is on the board stays: it was posted.
    pub(crate) fn reload(&mut self, records: impl Iterator<Item = Record>) {
        self.tally.senseless += self.kept.load(records);
        let mut board = self.board.posts();
        for (key, post) in self.kept.iter() {
            board.entry(Arc::clone(key)).or_insert_with(|| post.clone());
        }
    }

    /// Puts all that changed since the last call.
    pub(crate) fn record(&mut self, records: &mut dyn Records) {
        self.kept.record(records);
    }
}

#[cfg(test)]
mod tests;
