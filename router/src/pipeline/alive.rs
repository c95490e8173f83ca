//! What is stored and owed: deliveries, the alerts that they share, and how much room both take.

use std::collections::HashMap;

use crate::fingerprint::Fingerprint;

/// What a delivery weighs in the store beside its alert.
const DELIVERY_BYTES: u64 = 256;

/// Deliveries and alerts by their numbers.
#[derive(Default)]
pub(super) struct Alive {
    deliveries: HashMap<u64, Live>,
    alerts: HashMap<u64, Owed>,
    bytes: u64,
}

/// One delivery that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) station: usize,
    /// Number of its alert.
    pub(super) alert: u64,
    pub(super) key: Option<Fingerprint>,
    /// Of the alert.
    pub(super) bytes: u32,
}

struct Owed {
    /// Deliveries and open windows that need it.
    holders: u32,
    bytes: u32,
}

impl Alive {
    pub(super) fn add(&mut self, delivery: u64, live: Live) {
        self.hold(live.alert, live.bytes);
        self.bytes += DELIVERY_BYTES;
        self.deliveries.insert(delivery, live);
    }

    /// The alert, of so many bytes, stays until it was given to [`Alive::release`] once more.
    pub(super) fn hold(&mut self, alert: u64, bytes: u32) {
        let owed = self.alerts.entry(alert).or_insert_with(|| {
            self.bytes += u64::from(bytes);
            Owed { holders: 0, bytes }
        });
        owed.holders += 1;
    }

    /// The delivery has ended. `None`: it had before.
    pub(super) fn end(&mut self, delivery: u64) -> Option<Live> {
        let live = self.deliveries.remove(&delivery)?;
        self.bytes -= DELIVERY_BYTES;
        Some(live)
    }

    /// After [`Alive::end`], and after whatever else took the alert over. True: nobody needs it any more.
    pub(super) fn release(&mut self, alert: u64) -> bool {
        let Some(owed) = self.alerts.get_mut(&alert) else { return false };
        owed.holders -= 1;
        if owed.holders > 0 {
            return false;
        }
        self.bytes -= u64::from(owed.bytes);
        self.alerts.remove(&alert);
        true
    }

    pub(super) fn has_delivery(&self, delivery: u64) -> bool {
        self.deliveries.contains_key(&delivery)
    }

    pub(super) fn has_alert(&self, alert: u64) -> bool {
        self.alerts.contains_key(&alert)
    }

    /// Of all alerts and deliveries.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_goes_with_its_last_delivery() {
        let mut alive = Alive::default();
        let live = Live { station: 0, alert: 7, key: None, bytes: 100 };
        alive.add(10, live);
        alive.add(11, live);
        assert_eq!(alive.bytes(), 100 + 2 * DELIVERY_BYTES);
        assert_eq!((alive.end(10), alive.release(7)), (Some(live), false));
        assert_eq!(alive.end(10), None, "it has ended");
        assert!(alive.has_alert(7) && alive.has_delivery(11));
        assert_eq!((alive.end(11), alive.release(7)), (Some(live), true));
        assert_eq!(alive.bytes(), 0);
    }
}
