//! The command line of the router: a module for each command.

mod check;
mod client;
mod dead_letter;
mod elasticsearch;
mod prepare_state;
mod render;
mod resolve;
mod route;
mod run;
mod search;
mod send_test;
mod silence;
mod table;
mod tail;
mod test;

use std::fmt::Display;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tercel_router::config::Flags;
use tercel_router::{EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_USAGE, Settings, SettingsError, ToolError};
use tracing_subscriber::EnvFilter;

/// The largest file of alerts that is read.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Routes, deduplicates, limits and delivers security alerts.
#[derive(Parser)]
#[command(name = "tercel-router", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take alerts and deliver them
    Run(run::Arguments),
    /// Say whether a routing file is good, and what is wrong with it
    Check(check::Arguments),
    /// Say where an alert would go, step by step, and why
    Route(route::Arguments),
    /// Run the tests in a routing file, or in files of their own
    Test(test::Arguments),
    /// Print what a destination would be sent for an alert, without its secrets
    Render(render::Arguments),
    /// Print the JSON Schema of routing files, for editors
    Schema,
    /// Send one alert that says that it is a test to a destination
    SendTest(send_test::Arguments),
    /// See, send again or purge what a running router gave up
    DeadLetter(dead_letter::Arguments),
    /// Hold alerts back for a while, at a running router
    Silence(silence::Arguments),
    /// End incidents (PagerDuty, Opsgenie, Alertmanager) by their dedup key, or say which are open, at a running router
    Resolve(resolve::Arguments),
    /// Look through the archive of a running router
    Search(search::Arguments),
    /// Print alerts as a running router decides about them
    Tail(tail::Arguments),
    /// Prepare an Elasticsearch or OpenSearch server for a destination
    Elasticsearch(elasticsearch::Arguments),
    /// Give the state folder to the user that the router runs as; for root, before the first start
    PrepareState(prepare_state::Arguments),
    /// Describe every metric, in rows of a Markdown table
    Metrics,
}

/// Which routing file a command is about.
#[derive(Args)]
struct RoutingArguments {
    /// The routing file [default: routing.toml]
    #[arg(long, value_name = "FILE")]
    routing: Option<PathBuf>,
}

/// Alerts that a command is given.
#[derive(Args)]
struct AlertArguments {
    /// A file of alerts as they are sent to the router: an object, an array or lines; - for standard input
    #[arg(long, value_name = "FILE")]
    alert: PathBuf,
}

/// Reads the arguments and does what they ask.
pub(crate) fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Route(arguments) => report(route::run(&arguments)),
        Command::Test(arguments) => report(test::run(&arguments)),
        Command::Render(arguments) => report(render::run(&arguments)),
        Command::Schema => {
            say(&format!("{:#}", tercel_router::schema()));
            ExitCode::SUCCESS
        }
        Command::SendTest(arguments) => report(send_test::run(&arguments)),
        Command::DeadLetter(arguments) => report(dead_letter::run(&arguments)),
        Command::Silence(arguments) => report(silence::run(&arguments)),
        Command::Resolve(arguments) => report(resolve::run(&arguments)),
        Command::Search(arguments) => report(search::run(&arguments)),
        Command::Tail(arguments) => report(tail::run(&arguments)),
        Command::Elasticsearch(arguments) => report(elasticsearch::run(&arguments)),
        Command::PrepareState(arguments) => report(prepare_state::run(&arguments)),
        Command::Metrics => {
            say(&tercel_router::metrics_reference().trim_end());
            ExitCode::SUCCESS
        }
    }
}

impl RoutingArguments {
    fn settings(&self) -> Result<Settings, ToolError> {
        self.settings_in(None)
    }

    /// With the state in this folder.
    fn settings_in(&self, state: Option<PathBuf>) -> Result<Settings, ToolError> {
        let flags = Flags { routing: self.routing.clone(), state, ..Flags::default() };
        load(None, &flags).map_err(ToolError::Settings)
    }
}

impl AlertArguments {
    /// Its name, for messages, and its bytes.
    fn read(&self) -> Result<(String, Vec<u8>), ToolError> {
        let is_stdin = self.alert == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { self.alert.display().to_string() };
        let bytes =
            if is_stdin { read_bounded(io::stdin()) } else { std::fs::File::open(&self.alert).and_then(read_bounded) };
        let bytes = bytes.map_err(|error| ToolError::Input(format!("{name}: cannot read the alert: {error}")))?;
        Ok((name, bytes))
    }
}

fn read_bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {INPUT_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// An error goes to standard error, and decides the exit code.
fn report(result: Result<ExitCode, ToolError>) -> ExitCode {
    result.unwrap_or_else(|error| {
        let code = match &error {
            ToolError::Settings(_) | ToolError::Routing(_) => EXIT_CONFIGURATION,
            ToolError::Input(_) => EXIT_USAGE,
            ToolError::Failed(_) => EXIT_FAILURE,
        };
        fail(&error, code)
    })
}

fn load(file: Option<&Path>, flags: &Flags) -> Result<Settings, SettingsError> {
    Settings::load(file, environment(), flags)
}

fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn start_log() {
    let filter = EnvFilter::try_from_env("TERCEL_LOG")
        .unwrap_or_else(|_unset| EnvFilter::new("info,fjall=warn,lsm_tree=warn,rskafka=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn fail(error: &dyn Display, code: u8) -> ExitCode {
    complain(error);
    ExitCode::from(code)
}

/// To standard error. Nobody is left to be told if this fails.
fn complain(message: &dyn Display) {
    drop(writeln!(io::stderr(), "{message}"));
}

/// To standard output, whose end is the program's. A reader that went away (`| head`) is no failure; what could not be
/// written otherwise is one: somebody may purge what he believes that he has saved.
#[expect(clippy::exit, reason = "no command has anything left to do once nobody can be told")]
fn say(message: &dyn Display) {
    match writeln!(io::stdout(), "{message}") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            complain(&format!("cannot write to standard output: {error}"));
            std::process::exit(EXIT_FAILURE.into());
        }
    }
}
