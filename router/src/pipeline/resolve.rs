//! Incidents that somebody ends by hand.

use std::sync::Arc;

use jiff::Timestamp;

use super::decider::Decider;
use super::group::Group;
use crate::incident::{Listed, Order, OrderError};

impl Decider {
    /// Those that are open, destination by destination.
    pub(super) fn list_incidents(&self) -> Vec<Listed> {
        let stations = self.stations.iter().zip(&self.incidents);
        stations.filter_map(|(station, open)| Some(open.as_ref()?.list(&station.name))).flatten().collect()
    }

    /// Ends the incidents of a key: their destinations are told.
    ///
    /// # Errors
    /// There are none, or it is not said who wants it.
    pub(super) fn resolve(
        &mut self,
        group: &mut Group,
        order: &Order,
        now: Timestamp,
    ) -> Result<Vec<Listed>, OrderError> {
        order.check()?;
        let mut ended = Vec::new();
        for station in self.with_incidents(order.destination.as_deref())? {
            let name = Arc::clone(&self.stations[station].name);
            let Some(open) = &mut self.incidents[station] else { continue };
            let Some(listed) = open.find(&name, &order.dedup_key) else { continue };
            let Some(end) = open.end(&order.dedup_key, Some(order.author.trim().to_owned())) else { continue };
            self.tell_end(group, station, end, now);
            ended.push(listed);
        }
        if ended.is_empty() { Err(OrderError::UnknownKey(order.dedup_key.clone())) } else { Ok(ended) }
    }

    /// The stations that keep incidents, or the one that was named.
    fn with_incidents(&self, destination: Option<&str>) -> Result<Vec<usize>, OrderError> {
        let keeps = |station: &usize| self.incidents.get(*station).is_some_and(Option::is_some);
        let Some(name) = destination else { return Ok((0..self.stations.len()).filter(keeps).collect()) };
        let station = self.plan.find(&self.stations, name);
        let station = station.ok_or_else(|| OrderError::UnknownDestination(name.to_owned()))?;
        if keeps(&station) { Ok(vec![station]) } else { Err(OrderError::KeepsNone(name.to_owned())) }
    }
}
