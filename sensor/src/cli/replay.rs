//! `tercel-sensor replay`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jiff::tz::TimeZone;
use tercel_alert::Alert;
use tercel_sensor::config::{Overrides, Settings};
use tercel_sensor::detect::Matching;
use tercel_sensor::replay::{Summary, replay};
use tercel_sensor::run;

use super::record::losses;
use super::run::{known, start_log};
use super::{Failure, tell};

#[derive(Args)]
pub(super) struct Arguments {
    /// What `record` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A rule file, or a directory of them; may be given several times [default: those of the settings]
    #[arg(long, value_name = "FILE|DIR")]
    rules: Vec<PathBuf>,
    /// How many rules one event may match [default: first]
    #[arg(long, value_name = "first|all", value_parser = known::<Matching>)]
    rule_matching: Option<String>,
    /// Settings in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Alerts go to standard output, what there was to standard error. Two replays print the same.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, rules: rules_files, rule_matching, config } = arguments;
    let overrides = Overrides { rules_files, rule_matching, ..Overrides::default() };
    let settings = Settings::load(config.as_deref(), &overrides)?;
    start_log(&settings.log)?;
    let detector = run::detector(&settings)?;
    let name = file.display().to_string();
    let input = File::open(&file).with_context(|| format!("cannot read {name}")).map_err(Failure::Input)?;
    let mut output = Lines::new();
    let summary = replay(BufReader::new(input), &name, detector, TimeZone::system(), |alert| output.write(&alert));
    output.finish()?;
    let summary = summary.map_err(|error| Failure::Input(error.into()))?;
    tell(&text_of(&summary));
    Ok(ExitCode::SUCCESS)
}

/// Alerts on standard output, one to a line. Keeps the first error for the end.
struct Lines {
    output: BufWriter<io::StdoutLock<'static>>,
    result: io::Result<()>,
}

impl Lines {
    fn new() -> Self {
        Self { output: BufWriter::new(io::stdout().lock()), result: Ok(()) }
    }

    fn write(&mut self, alert: &Alert) {
        if self.result.is_ok() {
            let written = serde_json::to_writer(&mut self.output, alert).map_err(io::Error::from);
            self.result = written.and_then(|()| self.output.write_all(b"\n"));
        }
    }

    /// A reader that went away (`| head`) is no failure.
    fn finish(mut self) -> Result<(), Failure> {
        match self.result.and_then(|()| self.output.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
            _ => Ok(()),
        }
    }
}

fn text_of(summary: &Summary) -> String {
    let Summary { machine, records, events, alerts, unknown_processes, end } = summary;
    format!(
        "{}, Linux {}, {}: records {records}, events {events}, alerts {alerts}, unknown processes {unknown_processes}\n{}",
        machine.hostname.escape_debug(),
        machine.kernel_release.escape_debug(),
        machine.architecture,
        losses(end)
    )
}
