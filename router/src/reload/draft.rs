//! A configuration that was read and built, and is not in force yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::files::{Hash, Seen};
use crate::destination::Destination;
use crate::pipeline::Explainer;
use crate::routing::{Routing, RoutingError};

pub(crate) struct Draft {
    pub(crate) routing_file: Routing,
    pub(super) in_force: InForce,
    /// The same once more: the router takes the other one apart.
    pub(super) explainer: Explainer,
}

/// The destinations of a configuration, by position.
#[derive(Clone, Default)]
pub(super) struct InForce {
    pub(super) destinations: Vec<Built>,
}

#[derive(Clone)]
pub(super) struct Built {
    pub(super) name: String,
    /// Over its table and the content of its files.
    pub(super) mark: Hash,
    pub(super) destination: Arc<Destination>,
}

impl Draft {
    /// What the router starts with.
    ///
    /// # Errors
    /// As [`Routing::read`] and [`Routing::build_destinations`].
    pub(crate) fn first(routing: &Path, state: &Path) -> Result<(Self, Seen), RoutingError> {
        let mut seen = Seen::default();
        let draft = Self::read(routing, state, &InForce::default(), &mut seen)?;
        Ok((draft, seen))
    }

    /// A destination that has not changed stays the one that it was, with its connections. `seen`: what was read of which
    /// files, also where it cannot be used.
    pub(super) fn read(path: &Path, state: &Path, before: &InForce, seen: &mut Seen) -> Result<Self, RoutingError> {
        // Files are noted before they are read: what changes in between is noticed as a change.
        seen.note(path);
        let mut routing = Routing::read(path)?;
        seen.keep_only(path, files(&routing).into_iter());
        let built = build(&routing, state, before, seen)?;
        let destinations: Vec<_> = built.iter().map(|built| Arc::clone(&built.destination)).collect();
        routing.warnings.extend(routing.unknown_fields(&destinations));
        let explainer = Explainer::new(Routing::read(path)?);
        Ok(Self { routing_file: routing, in_force: InForce { destinations: built }, explainer })
    }
}

impl InForce {
    pub(super) fn find(&self, name: &str) -> Option<&Built> {
        self.destinations.iter().find(|built| built.name == name)
    }
}

fn files(routing: &Routing) -> Vec<PathBuf> {
    let base = routing.base();
    routing.destinations.iter().flat_map(|destination| destination.written.files(base)).collect()
}

fn build(routing: &Routing, state: &Path, before: &InForce, seen: &Seen) -> Result<Vec<Built>, RoutingError> {
    let mut problems = Vec::new();
    let mut built = Vec::new();
    for (index, settings) in routing.destinations.iter().enumerate() {
        let (name, mark) = (settings.name.clone(), mark(routing, index, seen));
        if let Some(known) = before.find(&name).filter(|known| known.mark == mark) {
            built.push(known.clone());
            continue;
        }
        match routing.build(index, state) {
            Ok(destination) => built.push(Built { name, mark, destination: Arc::new(destination) }),
            Err(error) => problems.extend(error.problems()),
        }
    }
    if problems.is_empty() { Ok(built) } else { Err(RoutingError::Problems(problems)) }
}

fn mark(routing: &Routing, index: usize, seen: &Seen) -> Hash {
    let written = &routing.destinations[index].written;
    let mut hash = Sha256::new();
    hash.update((written.text.len() as u64).to_be_bytes());
    hash.update(&written.text);
    for file in written.files(routing.base()) {
        hash.update(seen.hash_of(&file).unwrap_or(&[0; 32]));
    }
    hash.finalize().into()
}
