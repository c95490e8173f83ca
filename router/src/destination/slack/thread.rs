//! Which message a summary or a digest belongs to. Known since the start of the process: what comes after a restart, or about
//! a message that was forgotten, is a message of its own.

use std::time::Duration;

use moka::sync::Cache;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{Notification, NotificationKind};
use super::answer::{self, LOST_MESSAGE};

/// Messages that are remembered: some 2 MiB. One more, and the one that was asked for least goes.
const MESSAGES_MAX: u64 = 10_000;

/// The longest that a message is remembered: the longest window of deduplication, and an hour for its summary.
const MESSAGE_AGE_MAX: Duration = Duration::from_hours(7 * 24 + 1);

/// Digests of a route gather at one message until there were none for so long.
const STORM_END: Duration = Duration::from_hours(1);

/// `follow_ups`: what becomes of what is told about a message that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum FollowUps {
    /// It goes into the message's thread.
    #[default]
    Thread,
    /// It takes the message's place.
    Update,
    /// It is a message of its own.
    Message,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Channel,
    Thread(Posted),
    Update(Posted),
}

/// A message that is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Posted {
    channel: String,
    ts: String,
}

pub(super) struct Threads {
    follow_ups: FollowUps,
    alerts: Cache<String, Posted>,
    digests: Cache<String, Posted>,
}

impl Threads {
    pub(super) fn new(follow_ups: FollowUps) -> Self {
        Self {
            follow_ups,
            alerts: Cache::builder().max_capacity(MESSAGES_MAX).time_to_live(MESSAGE_AGE_MAX).build(),
            digests: Cache::builder().max_capacity(MESSAGES_MAX).time_to_idle(STORM_END).build(),
        }
    }

    pub(super) fn place(&self, notification: &Notification) -> Place {
        let known = match &notification.kind {
            NotificationKind::Alert => None,
            NotificationKind::Summary(_) | NotificationKind::Resolve(_) => {
                key(notification).and_then(|key| self.alerts.get(&key))
            }
            NotificationKind::Digest(_) => self.digests.get(&*notification.route),
        };
        match (known, self.follow_ups) {
            (Some(posted), FollowUps::Thread) => Place::Thread(posted),
            (Some(posted), FollowUps::Update) => Place::Update(posted),
            (None, _) | (_, FollowUps::Message) => Place::Channel,
        }
    }

    /// Remembers what was posted, and forgets what is gone.
    pub(super) fn note(&self, notification: &Notification, answer: &[u8]) {
        let (messages, key) = match &notification.kind {
            NotificationKind::Alert | NotificationKind::Summary(_) | NotificationKind::Resolve(_) => {
                (&self.alerts, key(notification))
            }
            NotificationKind::Digest(_) => (&self.digests, Some(notification.route.to_string())),
        };
        let Some(key) = key else { return };
        if answer::error(answer).is_some_and(|error| LOST_MESSAGE.contains(&error.as_str())) {
            return messages.invalidate(&key);
        }
        // An answer to a reply names the reply; the thread hangs at its first message.
        let is_first = matches!(notification.kind, NotificationKind::Alert) || !messages.contains_key(&key);
        if let Some(posted) = serde_json::from_slice::<Posted>(answer).ok().filter(|_| is_first) {
            messages.insert(key, posted);
        }
    }
}

/// Two routes may have the same key for the same alert.
fn key(notification: &Notification) -> Option<String> {
    Some(format!("{}/{}", notification.dedup_key.as_deref()?, notification.route))
}

impl Place {
    pub(super) fn address(&self, channel: &str, message: &mut Map<String, Value>) {
        let (channel, more) = match self {
            Self::Channel => (channel, None),
            Self::Thread(posted) => (posted.channel.as_str(), Some(("thread_ts", &posted.ts))),
            Self::Update(posted) => (posted.channel.as_str(), Some(("ts", &posted.ts))),
        };
        message.insert("channel".to_owned(), channel.into());
        if let Some((name, ts)) = more {
            message.insert(name.to_owned(), ts.as_str().into());
        }
    }
}
