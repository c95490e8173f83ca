//! What the store holds of a delivery: everything but the alert, which several deliveries share.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tercel_alert::Alert;
use uuid::Uuid;

use crate::destination::{Notification, NotificationKind};
use crate::fingerprint::Fingerprint;

/// One row of the store's deliveries. The key is the delivery's number, big-endian: the order of acceptance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// By name: positions change with the configuration.
    pub(crate) destination: Arc<str>,
    pub(crate) route: Arc<str>,
    /// Number of the alert in its own table.
    pub(crate) alert: u64,
    /// The notification's id.
    pub(crate) id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Fingerprint>,
    pub(crate) accepted: Timestamp,
    /// What it weighs in the store.
    pub(crate) bytes: u32,
    pub(crate) urgent: bool,
    #[serde(flatten)]
    pub(crate) kind: NotificationKind,
}

impl Record {
    pub(crate) fn notification(self, alert: Arc<Alert>) -> Notification {
        let Self { id, route, key, kind, .. } = self;
        Notification::new(id, alert, route, key.map(|key| key.hex()), kind)
    }
}

/// Numbers of alerts and deliveries as keys: in the store they stand in the order of acceptance.
pub(crate) fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// `None`: no key of ours.
pub(crate) fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}
