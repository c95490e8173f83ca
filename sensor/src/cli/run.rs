//! `tercel-sensor run`.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use tercel_alert::Priority;
use tercel_sensor::config::{self, Overrides, Settings};
use tercel_sensor::detect::Matching;
use tercel_sensor::emit::Output;
use tercel_sensor::kernel::Entry;
use tercel_sensor::run;
use tracing_subscriber::EnvFilter;

use super::Failure;

#[derive(Args)]
pub(super) struct Arguments {
    /// Settings in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A rule file, or a directory of them; may be given several times [default: rules]
    #[arg(long, value_name = "FILE|DIR")]
    rules: Vec<PathBuf>,
    /// How many rules one event may match [default: first]
    #[arg(long, value_name = "first|all", value_parser = known::<Matching>)]
    rule_matching: Option<String>,
    /// Less urgent rules are not in force [default: debug]
    #[arg(long)]
    priority: Option<Priority>,
    /// `stdout`, `http://host:port/path` or `unix:/path/of/socket` [default: stdout]
    #[arg(long, value_name = "OUTPUT", value_parser = known::<Output>)]
    output: Option<String>,
    /// Where /metrics, /livez and /readyz are served [default: 127.0.0.1:2803]
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Through which hook system calls are seen [default: auto]
    #[arg(long, value_name = "auto|btf|classic", hide = true, value_parser = known::<Entry>)]
    entry: Option<String>,
    /// The name in alerts [default: the machine's]
    #[arg(long)]
    hostname: Option<String>,
    /// A file that holds the token for the output; else it is taken from `TERCEL_SENSOR_TOKEN`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Watches until it is told to stop.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let overrides = Overrides {
        rules_files: arguments.rules,
        rule_matching: arguments.rule_matching,
        priority: arguments.priority,
        output: arguments.output,
        metrics: arguments.metrics,
        entry: arguments.entry,
        hostname: arguments.hostname,
        token_file: arguments.token_file,
    };
    let settings = Settings::load(arguments.config.as_deref(), &overrides)?;
    start_log(&settings.log)?;
    run::run(&settings)?;
    Ok(ExitCode::SUCCESS)
}

/// Messages for people, on standard error.
pub(super) fn start_log(directives: &str) -> Result<(), config::Error> {
    let filter = EnvFilter::try_new(directives)
        .map_err(|source| config::Error::Log { directives: directives.to_owned(), source })?;
    let is_terminal = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(is_terminal)
        .with_target(false)
        .init();
    Ok(())
}

/// The text, if it can be read as this.
pub(super) fn known<T: FromStr<Err: Display>>(text: &str) -> Result<String, String> {
    text.parse::<T>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}
