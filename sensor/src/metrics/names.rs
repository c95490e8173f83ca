//! What is known of hosts, of containers and of their users.

use prometheus::{IntCounter, IntGaugeVec};

use super::{Description, Register, options, raise};
use crate::enrich::State;

pub(super) const HOSTS: Description = (
    "tercel_sensor_hosts",
    &["state"],
    "Hosts that rules name: resolved, unresolved, or refused because there are too many or the name is too long.",
);
pub(super) const CONTAINER_EVICTIONS: Description = (
    "tercel_sensor_cgroup_evictions_total",
    &[],
    "Cgroups whose containers were forgotten because there were too many; they are looked up again.",
);
pub(super) const EVICTIONS: Description = (
    "tercel_sensor_container_users_evictions_total",
    &[],
    "Containers whose users were forgotten because there were too many.",
);
pub(super) const FAILURES: Description = (
    "tercel_sensor_container_users_failures_total",
    &[],
    "Times that the users of a container could not be read: its process was gone, or its files did not come in time.",
);

/// All of them.
#[derive(Debug)]
pub(super) struct Names {
    hosts: IntGaugeVec,
    container_evictions: IntCounter,
    evictions: IntCounter,
    failures: IntCounter,
}

impl Names {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            hosts: register.add(IntGaugeVec::new(options(HOSTS), HOSTS.1)?)?,
            container_evictions: register.counter(CONTAINER_EVICTIONS)?,
            evictions: register.counter(EVICTIONS)?,
            failures: register.counter(FAILURES)?,
        })
    }

    pub(super) fn set(&self, state: &State) {
        let hosts = state.hosts.counts();
        let states = [("resolved", hosts.resolved), ("unresolved", hosts.unresolved), ("refused", hosts.refused)];
        for (name, count) in states {
            self.hosts.with_label_values(&[name]).set(count.try_into().unwrap_or(i64::MAX));
        }
        raise(&self.container_evictions, state.containers_evicted());
        let users = state.users.container_counts();
        raise(&self.evictions, users.evicted);
        raise(&self.failures, users.failed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Metrics;
    use super::*;

    #[test]
    fn hosts_are_told_by_what_became_of_them() {
        let metrics = Metrics::new().unwrap();
        let nowhere = Path::new("/nonexistent");
        let names = ["192.0.2.1".to_owned(), "x".repeat(300)].into();
        let hosts = crate::enrich::dns::HostNames::start(&names).unwrap().settled();
        metrics.set_names(&State::new(nowhere, nowhere).with_hosts(hosts));
        let text = String::from_utf8(metrics.render()).unwrap();
        for line in ["{state=\"resolved\"} 1", "{state=\"unresolved\"} 0", "{state=\"refused\"} 1"] {
            assert!(text.contains(&format!("tercel_sensor_hosts{line}\n")), "{text}");
        }
    }
}
