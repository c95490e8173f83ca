//! `cargo xtask test --soak`: what takes long, on programs built in release. Needs root, and some three quarters of an hour.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::fuzz::{self, Options, Target};
use crate::lanes::{Lanes, Outcome};
use crate::{power, step};

/// Variables of the end-to-end tests, and what makes them long. What is set already stays.
const STORM: (&str, &str) = ("TERCEL_TEST_STORM_PERCENT", "100");
const OUTAGE: (&str, &str) = ("TERCEL_TEST_DOWN_S", "60");
const KILLS: (&str, &str) = ("TERCEL_TEST_KILLS", "200");
const DEAD: (&str, &str) = ("TERCEL_TEST_OUTAGE_ALERTS", "100000");
const CONSERVATION: (&str, &str) = ("TERCEL_TEST_CONSERVATION_RUNS", "10");
const MESSAGES: (&str, &str) = ("TERCEL_TEST_STORM_S", "60");
const LOAD: (&str, &str) = ("TERCEL_TEST_SOAK_S", "1800");

const POWER_LOSSES: u64 = 20;

/// Minutes for each fuzz target, and the variable that changes them.
const FUZZ_MINUTES: u64 = 2;
const FUZZ_VARIABLE: &str = "TERCEL_TEST_FUZZ_MIN";

pub(crate) fn soak() -> ExitCode {
    let mut lanes = Lanes::default();
    lanes.run("build", build);
    lanes.run("storm", || tests("storm::", &[STORM]));
    lanes.run("bounds", || tests("bounds::", &[]));
    lanes.run("outage", || tests("outage::", &[OUTAGE]));
    lanes.run("kills", || tests("chaos::", &[KILLS]));
    lanes.run("power", || power::lane(POWER_LOSSES));
    lanes.run("dead destination", || tests("dead_destination::", &[DEAD]));
    lanes.run("conservation", || tests("conservation::", &[CONSERVATION]));
    lanes.run("messages", || tests("notify::a_storm", &[MESSAGES]));
    lanes.run("load", || tests("soak::", &[LOAD]));
    for target in Target::ALL {
        lanes.run(target.name(), || fuzz(target));
    }
    lanes.finish()
}

fn build() -> Result<Outcome> {
    let packages = ["--package", "tercel-sensor", "--package", "tercel-router", "--package", "e2e"];
    step::run(step::cargo(&["build", "--release", "--bins"]).args(packages))?;
    Ok(Outcome::Passed)
}

/// One after the other, with what they measured.
fn tests(filter: &str, variables: &[(&str, &str)]) -> Result<Outcome> {
    let command = ["test", "--release", "--package", "e2e", filter];
    let listed = step::read(step::cargo(&command).args(["--", "--list"]))?;
    ensure!(listed.lines().any(|line| line.ends_with(": test")), "package e2e has no tests called {filter}…");
    let mut cargo = step::cargo(&command);
    for (name, value) in variables.iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
        cargo.env(name, value);
    }
    step::run(cargo.args(["--", "--nocapture", "--test-threads", "1"]))?;
    Ok(Outcome::Passed)
}

fn fuzz(target: Target) -> Result<Outcome> {
    if step::find("c++").is_none() {
        return Ok(Outcome::Skipped("no c++ on the PATH; Debian: apt install g++".to_owned()));
    }
    let minutes = match std::env::var(FUZZ_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{FUZZ_VARIABLE}={text}: a number of minutes"))?,
        Err(_) => FUZZ_MINUTES,
    };
    fuzz::run(&Options::of(target, minutes))?;
    Ok(Outcome::Remarked(format!("{minutes} minutes without a finding")))
}
