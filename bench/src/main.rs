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
mod open_cost;
mod processes;
mod rules;
mod statistics;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures Tercel; needs root and the release binaries (`cargo xtask bench` builds them)")]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Subcommand)]
enum Measurement {
    /// What the sensor adds to one openat and close.
    OpenCost {
        /// Opens with the sensor, and as many without.
        #[arg(long, default_value_t = 1_000_000)]
        opens: u64,
        /// Rounds that the opens are spread over, alternating with and without.
        #[arg(long, default_value_t = 10)]
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
        Measurement::OpenCost { opens, rounds } => open_cost::run(opens, rounds).await,
        Measurement::Rules { rules, records } => rules::run(&rules, records),
        Measurement::Latency { alerts } => latency::run(alerts).await,
    }
}
