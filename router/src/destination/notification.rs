//! What destinations are asked to deliver.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tercel_alert::Alert;
use uuid::Uuid;

/// What one destination is asked to deliver.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The alert's uuid for [`NotificationKind::Alert`], else an id of the notification's own. The same at every
    /// attempt, so that a destination can tell a repetition.
    pub id: Uuid,
    /// The alert itself; for a summary the first one, for a digest the most urgent one.
    pub alert: Arc<Alert>,
    /// Name of the route that led here.
    pub route: Arc<str>,
    /// Hex SHA-256 over what makes alerts equal; absent where deduplication is off or has no key.
    pub dedup_key: Option<Arc<str>>,
    pub kind: NotificationKind,
    /// How often the same alert came again while this one waited; known at the attempt, zero for other kinds.
    pub repeats: u64,
    /// What the destination said of the message that this one follows ([`Receipt::post`]); known at the attempt, absent
    /// where there is none.
    pub post: Option<Arc<str>>,
}

/// What a destination says of a notification that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Where to find the message, in the destination's own words: what follows it is given it again. At most 256 bytes.
    pub(crate) post: Option<Arc<str>>,
}

impl Notification {
    /// As it is before an attempt, which knows the rest.
    pub(crate) fn new(
        id: Uuid,
        alert: Arc<Alert>,
        route: Arc<str>,
        dedup_key: Option<Arc<str>>,
        kind: NotificationKind,
    ) -> Self {
        Self { id, alert, route, dedup_key, kind, repeats: 0, post: None }
    }
}

#[cfg(test)]
impl Notification {
    /// An alert with nothing but what it must have.
    pub(crate) fn minimal() -> Self {
        let alert = serde_json::json!({"time": "2026-01-01T00:00:00Z", "rule": "R", "priority": "error"});
        Self::of(alert)
    }

    /// An alert, as it was sent.
    pub(crate) fn of(alert: serde_json::Value) -> Self {
        let alert = serde_json::from_value(alert).unwrap();
        Self::new(Uuid::max(), alert, "r".into(), None, NotificationKind::Alert)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum NotificationKind {
    Alert,
    /// What deduplication held back.
    Summary(Summary),
    /// What a rate limit or a time window held back.
    Digest(Digest),
    /// An incident is over.
    Resolve(Resolve),
}

/// The repeats of one alert within a window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Repeats beyond the first alert.
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Up to three differing outputs.
    pub samples: Vec<String>,
    /// How long the window was open: its length, or less where it was closed early.
    pub window: Duration,
}

/// The alerts that a rate limit or a time window held back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Digest {
    pub count: u64,
    pub since: Timestamp,
    pub until: Timestamp,
    /// The ten most frequent rules; the rest is summed as `other`.
    pub rules: Vec<(String, u64)>,
    /// The time window that muted them; `None`: a rate limit held them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_window: Option<Arc<str>>,
}

/// The end of an incident at a destination that keeps incidents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolve {
    /// The destination's name for the incident.
    pub dedup_key: String,
    /// Alerts that belonged to it.
    pub count: u64,
    pub since: Timestamp,
    /// When the last of them came.
    pub last: Timestamp,
    /// Who said that it is over; `None`: it was quiet for long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl NotificationKind {
    /// As templates, metrics and the `notification` key of bodies print it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Summary(_) => "summary",
            Self::Digest(_) => "digest",
            Self::Resolve(_) => "resolve",
        }
    }

    /// How many alerts it stands for.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Alert => 1,
            Self::Summary(summary) => summary.count,
            Self::Digest(digest) => digest.count,
            Self::Resolve(resolve) => resolve.count,
        }
    }
}
