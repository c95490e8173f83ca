//! Tercel's measurements. Each compares with a floor measured in the same run, since the machines that run it are noisy;
//! none of them passes or fails. `bench/README.md` holds the figures and what they mean.

#![allow(clippy::print_stdout, reason = "a report on standard output is what this program is for")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people, far below 2^52"
)]

mod latency;
mod processes;
mod rules;
mod sensor_cost;
mod statistics;
mod workloads;

use clap::{Parser, Subcommand};

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
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().measurement {
        Measurement::SensorCost { rules, rounds } => sensor_cost::run(&rules, rounds).await,
        Measurement::Rules { rules, records } => rules::run(&rules, records),
        Measurement::Latency { alerts } => latency::run(alerts).await,
    }
}
