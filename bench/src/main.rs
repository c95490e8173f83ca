//! Tercel's measurements. Each compares with a floor measured in the same run, since the machines that run it are noisy;
//! none of them passes or fails. `bench/README.md` holds the figures and what they mean.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a report on standard output is what this program is for"
)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people, far below 2^52"
)]

mod latency;
mod processes;
mod router;
mod rules;
mod sensor_cost;
mod statistics;
mod workloads;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

#[derive(Parser)]
#[command(about = "Measures Tercel; needs root and the release binaries (`cargo xtask bench` builds them)")]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Subcommand)]
enum Measurement {
    /// What the sensor adds to calls of others, and what CPU time and memory it takes for itself.
    SensorCost {
        /// A rule file or directory; may be given several times [default: Falco's stable rules where they lie beside the
        /// workspace, else the shipped ones]
        #[arg(long, value_name = "FILE|DIR")]
        rules: Vec<std::path::PathBuf>,
        /// Rounds, each without and with the sensor.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(5..))]
        rounds: u64,
    },
    /// What it takes to judge an event by all rules, and to write the alert of one that matches.
    Rules {
        /// A rule file or directory; may be given several times [default: the shipped rules]
        #[arg(long, value_name = "FILE|DIR")]
        rules: Vec<std::path::PathBuf>,
        /// Records of the kernel to be judged.
        #[arg(long, default_value_t = 20_000)]
        records: usize,
    },
    /// From the kernel's time of an event to its alert at a webhook, and how long sensor and router take to start.
    Latency {
        #[arg(long, default_value_t = 1_000)]
        alerts: usize,
    },
    /// Alerts a second through the router, and how long one takes, beside what only reads, parses or sends. Needs no root.
    Router {
        /// Alerts of one measurement; a quarter of them for the webhook.
        #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        alerts: u64,
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
        rounds: u64,
        /// Measure only what has this in its name, and the floors.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// The floor of `router`: a server that reads and parses.
    #[command(hide = true)]
    ParseOnly { address: SocketAddr },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().measurement {
        Measurement::SensorCost { rules, rounds } => on_one_thread(sensor_cost::run(&rules, rounds)),
        Measurement::Rules { rules, records } => rules::run(&rules, records),
        Measurement::Latency { alerts } => on_one_thread(latency::run(alerts)),
        Measurement::Router { alerts, rounds, only } => {
            on_all_cpus(router::run(alerts as usize, rounds as usize, &only))
        }
        Measurement::ParseOnly { address } => on_all_cpus(router::parse_only(address)),
    }
}

fn on_one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// As the router runs.
fn on_all_cpus(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
