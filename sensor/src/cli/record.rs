//! `tercel-sensor record`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tercel_sensor::config::{Overrides, Settings};
use tercel_sensor::record::{Calls, Ending, Order, RECORDING_BYTES, Report, record};
use tercel_sensor::recording::End;
use tercel_sensor::run;
use tercel_sensor_abi::RecordKind;

use super::run::start_log;
use super::{Failure, tell};

/// Arguments, paths and names are recorded as they are; of environments the names alone, unless the values are asked for.
#[derive(Args)]
pub(super) struct Arguments {
    /// Record the calls that these rules ask for; other rules can be tried on them, too [default: those of the settings]
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "all")]
    rules: Vec<PathBuf>,
    /// Record every call that Tercel describes
    #[arg(long)]
    all: bool,
    /// With --all: the beginning of what is sent and received, too
    #[arg(long, requires = "all")]
    with_data: bool,
    /// Write the values of environment variables, too: they hold secrets
    #[arg(long)]
    with_environment: bool,
    /// A file that is not there yet; only its owner may read it
    #[arg(long, value_name = "FILE", default_value = "tercel.records")]
    output: PathBuf,
    /// End after so many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// End when the file has so many bytes
    #[arg(long, value_name = "N", default_value_t = RECORDING_BYTES, value_parser = clap::value_parser!(u64).range(1..))]
    max_bytes: u64,
    /// Settings in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Record nothing but this command and its descendants, until it ends. It runs with the rights of the recorder
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Records, and says on standard error what is in the file and what is not.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let overrides = Overrides { rules_files: arguments.rules, ..Overrides::default() };
    let settings = Settings::load(arguments.config.as_deref(), &overrides)?;
    start_log(&settings.log)?;
    let calls = if arguments.all {
        Calls::All { with_data: arguments.with_data }
    } else {
        Calls::Of(Box::new(run::detector(&settings)?))
    };
    let order = Order {
        calls,
        output: arguments.output,
        command: arguments.command,
        time_max: arguments.seconds.map(Duration::from_secs),
        bytes_max: arguments.max_bytes,
        with_environment: arguments.with_environment,
    };
    let report = record(&settings, &order).map_err(Failure::Record)?;
    let mut text = ending(&report, &order);
    let Report { end, bytes, .. } = &report;
    writeln!(text, "{}: {} records, {bytes} bytes", order.output.display(), end.records).ok();
    text.push_str(&losses(end));
    tell(&text);
    Ok(ExitCode::SUCCESS)
}

fn ending(report: &Report, order: &Order) -> String {
    let goes_on = if order.command.is_empty() { "" } else { "; the command goes on" };
    match report.ending {
        Ending::Command(status) => format!("the command ended: {status}\n"),
        Ending::Signal => format!("stopped{goes_on}\n"),
        Ending::TimeMax => format!("the time is over{goes_on}\n"),
        Ending::BytesMax => format!("the file has the bytes that --max-bytes allows{goes_on}\n"),
    }
}

/// What a recording lacks, a line for each reason; nothing where it lacks nothing.
pub(super) fn losses(end: &End) -> String {
    let mut text = String::new();
    for kind in RecordKind::ALL {
        let (full, long) = end.dropped[kind as usize];
        for (count, why) in [(full, "found no room in the ring (setting `ring_bytes`)"), (long, "were too long")] {
            if count > 0 {
                writeln!(text, "warning: {count} records of kind {} {why}", kind.name()).ok();
            }
        }
    }
    if end.skipped > 0 {
        writeln!(text, "warning: the kernel skipped a program {} times, each may be a lost event", end.skipped).ok();
    }
    if end.unfollowed > 0 {
        writeln!(text, "warning: {} records of descendants that were too many to be followed", end.unfollowed).ok();
    }
    text
}
