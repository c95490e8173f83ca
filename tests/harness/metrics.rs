//! Prometheus' text format, read back.

use std::collections::BTreeSet;

/// One scrape.
#[derive(Clone)]
pub(crate) struct Metrics(String);

impl Metrics {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The sum of all series with this name and these labels; 0 where there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let wanted: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = self.series().filter(|(series, labels, _)| {
            *series == name && wanted.iter().all(|wanted| labels.contains(wanted.as_str()))
        });
        series
            .map(|(_, _, value)| value.parse::<u64>().unwrap_or_else(|error| panic!("{name} is {value}: {error}")))
            .sum()
    }

    /// As [`Self::sum`], for the router's metrics of one destination.
    pub(crate) fn of(&self, destination: &str, name: &str) -> u64 {
        self.sum(&format!("tercel_router_{name}"), &[("destination", destination)])
    }

    /// What the sensor knows to have missed, for messages: whether something that did not come was lost on the way.
    pub(crate) fn losses(&self) -> String {
        const NAMES: [&str; 5] =
            ["dropped_total", "lost_total", "recursion_misses_total", "malformed_total", "entry_switches_total"];
        let lost = self.series().filter_map(|(name, labels, value)| {
            let name = name.strip_prefix("tercel_sensor_").filter(|name| NAMES.contains(name))?;
            (value != "0").then(|| format!("{name}{labels} {value}"))
        });
        let lost: Vec<_> = lost.collect();
        if lost.is_empty() { "no event was lost".to_owned() } else { format!("events were lost: {}", lost.join(", ")) }
    }

    /// Every name, histograms under theirs without `_bucket`, `_sum` and `_count`.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
    }

    /// The router's destinations.
    pub(crate) fn destinations(&self) -> BTreeSet<&str> {
        let received = self.series().filter(|(name, ..)| *name == "tercel_router_deliveries_received_total");
        received.filter_map(|(_, labels, _)| labels.split_once("destination=\"")?.1.split('"').next()).collect()
    }

    /// # Errors
    /// A destination at which what was received is not the sum of what became of it, with the numbers.
    pub(crate) fn conservation(&self) -> Result<(), String> {
        for destination in self.destinations() {
            let arrivals = ["recovered_total", "deliveries_received_total", "replayed_total"];
            let received: u64 = arrivals.iter().map(|name| self.of(destination, name)).sum();
            let outcomes = [
                "delivered_total",
                "suppressed_total",
                "dropped_total",
                "dead_total",
                "moved_to_fallback_total",
                "queued",
            ];
            let outcomes = outcomes.map(|name| (name, self.of(destination, name)));
            if received != outcomes.iter().map(|(_, count)| count).sum::<u64>() {
                return Err(format!("{destination}: received {received}, became {outcomes:?}"));
            }
        }
        Ok(())
    }

    /// (name, labels with their braces, value)
    fn series(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let end = series.find('{').unwrap_or(series.len());
            Some((&series[..end], &series[end..], value))
        })
    }
}

impl std::fmt::Display for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[test]
fn a_scrape_is_read_by_name_and_labels() {
    let metrics = Metrics::new(
        "# HELP tercel_router_dead_total x\n# TYPE tercel_router_dead_total counter\n\
         tercel_router_dead_total{destination=\"a\",reason=\"x y\"} 2\n\
         tercel_router_dead_total{destination=\"a\",reason=\"z\"} 3\n\
         tercel_router_dead_total{destination=\"b\",reason=\"z\"} 5\nplain 7\n"
            .to_owned(),
    );
    assert_eq!(metrics.of("a", "dead_total"), 5);
    assert_eq!(metrics.sum("tercel_router_dead_total", &[("reason", "z")]), 8);
    assert_eq!(metrics.sum("plain", &[]), 7);
    assert_eq!(metrics.names(), BTreeSet::from(["tercel_router_dead_total"]));
}

#[test]
fn losses_are_told_where_there_are_some() {
    let text = "tercel_sensor_lost_total 0\ntercel_sensor_dropped_total{kind=\"open\",reason=\"ring_full\"} 7\n";
    let metrics = Metrics::new(text.to_owned());
    assert_eq!(metrics.losses(), "events were lost: dropped_total{kind=\"open\",reason=\"ring_full\"} 7");
    assert_eq!(Metrics::new("tercel_sensor_lost_total 0\n".to_owned()).losses(), "no event was lost");
}

#[test]
fn a_lost_alert_breaks_the_conservation_law() {
    let text = "tercel_router_deliveries_received_total{destination=\"a\"} 3\ntercel_router_delivered_total{destination=\"a\"} 2\n";
    assert!(Metrics::new(text.to_owned()).conservation().unwrap_err().starts_with("a: received 3"));
    let text = format!("{text}tercel_router_queued{{destination=\"a\"}} 1\n");
    assert_eq!(Metrics::new(text).conservation(), Ok(()));
}
