//! The lane `components`: the router against real servers. Each is fetched once into `target/components`, started by the
//! tests themselves on loopback, and gone with them. What is sent is also judged by schemas of others.

mod opensearch;
mod schemas;
mod servers;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::lanes::{Lanes, Outcome};
use crate::{e2e, step};

/// What is hard to have has a lane of its own, so that it hides no other.
pub(crate) fn run_all(lanes: &mut Lanes) {
    lanes.run("schemas", || lane(schemas::prepare, "TERCEL_TEST_SCHEMAS", "components::schemas"));
    lanes.run("servers", || lane(servers::prepare, "TERCEL_TEST_SERVERS", "components::servers"));
    lanes.run("opensearch", || lane(opensearch::prepare, "TERCEL_TEST_OPENSEARCH", "components::opensearch"));
}

/// `prepare` gives the program that starts the server, or the folder of servers or schemas; the tests find it by `variable`.
fn lane(prepare: fn(&Path) -> Result<PathBuf>, variable: &str, tests: &str) -> Result<Outcome> {
    match prepare(&step::target().join("components")) {
        Ok(program) => e2e::run_ignored(tests, &[(variable, &program)]),
        Err(error) => Ok(Outcome::Skipped(format!("{error:#}"))),
    }
}
