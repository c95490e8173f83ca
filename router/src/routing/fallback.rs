//! `fallback = "NAME"` of destinations: names become indices, and no delivery goes round in circles.

use super::{DestinationConfig, NamedDestination, Place, Written};

impl NamedDestination {
    pub(super) fn new(name: String, config: DestinationConfig, written: Written, place: Place) -> Self {
        let (receive, delivery) = (config.receive(), config.delivery());
        Self { name, config, written, receive, delivery, fallback: None, place }
    }
}

/// Finds the fallback of each destination; gives what is wrong with them, each with the place of its destination.
pub(super) fn resolve(destinations: &mut [NamedDestination]) -> Vec<(Place, String)> {
    let mut problems = Vec::new();
    for index in 0..destinations.len() {
        let Some(wanted) = destinations[index].delivery.fallback.clone() else { continue };
        let found = destinations.iter().position(|destination| destination.name == wanted);
        if found.is_none() {
            problems.push((destinations[index].place, unknown(destinations, index, &wanted)));
        }
        destinations[index].fallback = found;
    }
    // Each circle is told once, at the destination in it that stands first.
    for start in 0..destinations.len() {
        let circle = circle(destinations, start);
        if circle.iter().min() == Some(&start) {
            problems.push((destinations[start].place, circular(destinations, &circle)));
        }
    }
    problems
}

/// The way from `start` back to it; empty where it does not come back.
fn circle(destinations: &[NamedDestination], start: usize) -> Vec<usize> {
    let mut way = Vec::new();
    let mut next = Some(start);
    while let Some(index) = next {
        if way.contains(&index) {
            return if index == start { way } else { Vec::new() };
        }
        way.push(index);
        next = destinations[index].fallback;
    }
    Vec::new()
}

fn unknown(destinations: &[NamedDestination], index: usize, wanted: &str) -> String {
    let name = &destinations[index].name;
    let known: Vec<_> = destinations.iter().map(|destination| destination.name.as_str()).collect();
    format!("destination `{name}` falls back to `{wanted}`; known destinations: {}", known.join(", "))
}

fn circular(destinations: &[NamedDestination], circle: &[usize]) -> String {
    let names: Vec<_> =
        circle.iter().chain(circle.first()).map(|index| format!("`{}`", destinations[*index].name)).collect();
    format!("fallbacks go round in a circle: {}; one of them must have none", names.join(" to "))
}
