//! State out of the store: at the start, and after a commit that failed.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tercel_alert::Alert;
use tracing::{info, warn};

use super::alive::{Alive, Live};
use super::decider::{Decider, Mute, RouteLimit};
use super::group::Group;
use super::outgoing::read_alert;
use super::record::{self, Record};
use super::station::Station;
use crate::dedup::{Dedup, Stored};
use crate::outbox::{Kind, Lane, Waiting};
use crate::record::{Record as Row, owner_names};
use crate::seen::Seen;
use crate::store::{Store, StoreError, Table};

/// What is owed according to the store.
pub(super) struct Owed {
    pub(super) alive: Alive,
    /// For the outboxes, in the order of acceptance.
    pub(super) waiting: Vec<(usize, Waiting)>,
    /// Deliveries to destinations that the configuration does not have.
    pub(super) strangers: Vec<(u64, Record)>,
    /// Of the next alert or delivery.
    pub(super) next_number: u64,
}

/// What windows are read with.
struct WithWindows<'a> {
    store: &'a Store,
    alive: &'a Alive,
}

impl Stored for WithWindows<'_> {
    fn waits(&self, delivery: u64) -> bool {
        self.alive.has_delivery(delivery)
    }

    fn alert(&self, number: u64) -> Option<Arc<Alert>> {
        read_alert(self.store, number)
    }
}

/// Reads the deliveries. What makes no sense is passed over.
pub(super) fn read(store: &Store, stations: &[Arc<Station>], now: Timestamp) -> Result<Owed, StoreError> {
    let by_name: HashMap<_, _> = stations.iter().enumerate().map(|(index, station)| (&*station.name, index)).collect();
    let mut owed = Owed { alive: Alive::default(), waiting: Vec::new(), strangers: Vec::new(), next_number: 0 };
    for row in store.scan(Table::Deliveries) {
        let (key, value) = row?;
        let record = crate::record::from_json::<Record>(&value);
        let Some((number, record)) = record::number(&key).zip(record) else {
            warn!(bytes = value.len(), "a delivery in the store makes no sense and is passed over");
            continue;
        };
        owed.next_number = owed.next_number.max(number + 1);
        let Some(&station) = by_name.get(&*record.destination) else {
            owed.strangers.push((number, record));
            continue;
        };
        owed.alive.add(number, Live { station, alert: record.alert, key: record.key, bytes: record.bytes });
        owed.waiting.push((station, waiting(number, &record)));
    }
    for table in [Table::Alerts, Table::Dead] {
        for row in store.scan(table) {
            let next = record::number(&row?.0).map_or(0, |last| last + 1);
            owed.next_number = owed.next_number.max(next);
        }
    }
    // Numbers are never given twice, not even where nothing is left of the first ones.
    owed.next_number = owed.next_number.max(u64::try_from(now.as_microsecond()).unwrap_or(0));
    Ok(owed)
}

fn waiting(number: u64, record: &Record) -> Waiting {
    Waiting {
        id: number,
        key: record.key,
        lane: if record.urgent { Lane::Urgent } else { Lane::Usual },
        accepted: record.accepted,
        bytes: record.bytes,
        kind: Kind::from(&record.kind),
        notification: None,
        repeats: None,
    }
}

impl Decider {
    /// At the start: what is owed goes into the outboxes, and what nobody is owed any more goes.
    pub(super) fn recover(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Owed { alive, waiting, strangers, next_number } = read(&self.store, &self.stations, now)?;
        (self.alive, self.next_number) = (alive, next_number);
        let rows = self.rows(Table::Windows)?;
        let stored = WithWindows { store: &self.store, alive: &self.alive };
        self.dedups =
            (self.stations.iter()).map(|station| Dedup::load(&station.name, rows.iter().cloned(), &stored)).collect();
        self.hold_alerts();
        self.load_others()?;
        let repeats: Vec<_> = self.dedups.iter().map(Dedup::repeats).collect();
        if !waiting.is_empty() {
            info!(deliveries = waiting.len(), "what was owed when the router ended goes out now");
        }
        for (station, mut waiting) in waiting {
            let place = &self.stations[station];
            if waiting.kind == Kind::Alert {
                place.metrics.recovered.inc();
            }
            waiting.repeats = repeats[station].get(&waiting.id).cloned();
            place.outbox.push([waiting]);
        }
        let mut group = Group::default();
        for (number, record) in strangers {
            self.bury_stranger(&mut group, number, &record, now);
        }
        self.remove_orphans(&mut group)?;
        self.remove_decisions_of_strangers(&mut group)?;
        self.count_senseless();
        self.commit(group, now);
        Ok(())
    }

    /// After a commit that failed: memory holds decisions that the store does not.
    pub(super) fn read_again(&mut self) -> Result<(), StoreError> {
        let Owed { alive, next_number, .. } = read(&self.store, &self.stations, Timestamp::now())?;
        self.alive = alive;
        self.next_number = self.next_number.max(next_number);
        let rows = self.rows(Table::Windows)?;
        let stored = WithWindows { store: &self.store, alive: &self.alive };
        for dedup in &mut self.dedups {
            dedup.reload(rows.iter().cloned(), &stored);
        }
        self.hold_alerts();
        self.load_others()
    }

    /// What open windows may have to tell of.
    fn hold_alerts(&mut self) {
        for (alert, bytes) in self.dedups.iter_mut().flat_map(Dedup::hold) {
            self.alive.hold(alert, bytes);
        }
    }

    fn rows(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.store.scan(table).collect()
    }

    fn load_others(&mut self) -> Result<(), StoreError> {
        let (digests, inhibitions, muted) =
            (self.rows(Table::Digests)?, self.rows(Table::Inhibitions)?, self.rows(Table::Muted)?);
        let (incidents, posts) = (self.rows(Table::Incidents)?, self.rows(Table::Posts)?);
        for open in self.incidents.iter_mut().flatten() {
            open.reload(incidents.iter().cloned());
        }
        for kept in &mut self.posts {
            kept.reload(posts.iter().cloned());
        }
        for RouteLimit { limit, .. } in &mut self.limits {
            limit.reload(digests.iter().cloned());
        }
        for inhibitor in &mut self.inhibitors {
            inhibitor.reload(inhibitions.iter().cloned());
        }
        for Mute { muted: mute, .. } in &mut self.muted {
            mute.reload(muted.iter().cloned());
        }
        self.seen = Seen::load(self.rows(Table::Seen)?);
        let silences = self.rows(Table::Silences)?;
        self.silences.reload(silences.into_iter());
        Ok(())
    }

    /// What was decided for destinations that the configuration does not have: nobody would ever ask for it.
    fn remove_decisions_of_strangers(&self, group: &mut Group) -> Result<(), StoreError> {
        let is_known = |name: &str| self.stations.iter().any(|station| *station.name == *name);
        for table in [Table::Windows, Table::Digests, Table::Inhibitions, Table::Muted, Table::Incidents, Table::Posts]
        {
            for row in self.store.scan(table) {
                let (key, _) = row?;
                if owner_names(&key, 1).is_none_or(|names| !is_known(names[0])) {
                    group.batch.remove(table, &key);
                }
            }
        }
        Ok(())
    }

    /// Records that this version does not understand.
    fn count_senseless(&self) {
        let limits = self.limits.iter().map(|limit| limit.limit.senseless());
        let muted = self.muted.iter().map(|mute| mute.muted.senseless());
        let all: u64 = limits.chain(muted).chain([self.silences.senseless()]).sum();
        self.metrics.records_skipped.inc_by(all);
    }

    fn remove_orphans(&self, group: &mut Group) -> Result<(), StoreError> {
        for row in self.store.scan(Table::Alerts) {
            let (key, _) = row?;
            if !record::number(&key).is_some_and(|number| self.alive.has_alert(number)) {
                group.batch.remove(Table::Alerts, &key);
            }
        }
        Ok(())
    }
}
