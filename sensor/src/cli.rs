//! The command line of `tercel-sensor`: a module for each command that is more than a call.

mod check;
mod describe;
mod eval;
mod fields;
mod record;
mod replay;
mod run;
mod test;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tercel_sensor::config::{Overrides, Settings};
use tercel_sensor::rules::Problem;
use tercel_sensor::{doctor, kernel, rule_test};

/// Exit codes: 0 fine, 1 failed at work, 2 bad usage (clap's own) or unreadable input, 64 bad configuration.
const FAILED: u8 = 1;
const UNREADABLE: u8 = 2;
const BAD_CONFIGURATION: u8 = 64;

/// Watches this machine's system calls and raises alerts by rules of the Falco language.
#[derive(Parser)]
#[command(name = "tercel-sensor", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch, and emit alerts until SIGTERM. Needs root, or the capabilities that `doctor` names.
    Run(run::Arguments),
    /// Read the rules and say what is wrong with them.
    Check(check::Arguments),
    /// Describe the rules, in the order in which they are tried: what each is made of once macros and lists are in their places.
    Rules(describe::Arguments),
    /// Run the rules' unit tests.
    Test(test::Arguments),
    /// Ask conditions, or rules, which of recorded events they match.
    Eval(eval::Arguments),
    /// Write what happens on this machine, or in one command, into a file for `replay`. Needs what `run` needs.
    Record(record::Arguments),
    /// Evaluate a recording: prints a line of JSON for each alert. Needs no rights, and asks nothing of this machine.
    Replay(replay::Arguments),
    /// Describe the fields that rules may use.
    Fields(fields::Arguments),
    /// Describe every metric, in rows of a Markdown table.
    Metrics,
    /// Say what this machine has of what the sensor needs.
    Doctor,
    /// Holds the kernel programs for `run`, which starts it.
    #[command(name = kernel::LOADER_COMMAND, hide = true)]
    Loader,
}

/// Which rules a command is about.
#[derive(Args)]
struct RuleArguments {
    /// A rule file, or a directory of them [default: those of the settings]
    #[arg(value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// The same, as `run` takes it.
    #[arg(long, value_name = "FILE|DIR")]
    rules: Vec<PathBuf>,
    /// Settings in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What the command line asked for could not be done.
enum Failure {
    Run(tercel_sensor::run::Error),
    Tests(Vec<rule_test::Problem>),
    Input(anyhow::Error),
    Loader(kernel::LoaderError),
    Record(tercel_sensor::record::Error),
    Output(io::Error),
}

impl<E: Into<tercel_sensor::run::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

/// Reads the arguments and does what they ask.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Rules(arguments) => describe::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Record(arguments) => record::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
        Command::Fields(arguments) => fields::run(&arguments),
        Command::Metrics => print(&tercel_sensor::metrics::reference(), ExitCode::SUCCESS),
        Command::Doctor => diagnose(),
        Command::Loader => hold(),
    };
    result.unwrap_or_else(|failure| failure.report())
}

fn diagnose() -> Result<ExitCode, Failure> {
    let report = doctor::report();
    let code = if report.ready() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
    print(&format!("{report}\n"), code)
}

fn hold() -> Result<ExitCode, Failure> {
    match kernel::run_loader() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The worker says it.
        Err(kernel::LoaderError::NotLoaded) => Ok(ExitCode::from(FAILED)),
        Err(error @ kernel::LoaderError::NoWorker(_)) => Err(Failure::Input(error.into())),
        Err(error) => Err(Failure::Loader(error)),
    }
}

impl RuleArguments {
    fn settings(&self) -> Result<Settings, tercel_sensor::run::Error> {
        let rules_files = [&self.files[..], &self.rules].concat();
        let overrides = Overrides { rules_files, ..Overrides::default() };
        Ok(Settings::load(self.config.as_deref(), &overrides)?)
    }
}

impl Failure {
    /// To standard error, each cause once; and the exit code.
    fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Self::Run(error) => {
                let code = if error.is_configuration() { BAD_CONFIGURATION } else { FAILED };
                (describe(error), code)
            }
            Self::Tests(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                (format!("{}\nerror: the tests cannot be used\n", lines.join("\n")), BAD_CONFIGURATION)
            }
            Self::Input(error) => (format!("error: {error:#}\n"), UNREADABLE),
            Self::Loader(error) => (format!("error: {}\n", chain(error)), FAILED),
            Self::Record(error) => (format!("error: {}\n", chain(error)), FAILED),
            Self::Output(error) => (format!("error: cannot write the output: {error}\n"), FAILED),
        };
        tell(&text);
        ExitCode::from(code)
    }
}

fn describe(error: &tercel_sensor::run::Error) -> String {
    let mut lines = Vec::new();
    if let tercel_sensor::run::Error::Rules(problems) = error {
        lines.extend(problems.iter().map(Problem::to_string));
    }
    lines.push(format!("error: {}\n", chain(error)));
    lines.join("\n")
}

/// The error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// To standard error. Nobody is left to be told if this fails.
fn tell(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

/// A reader that went away (`| head`) is no failure.
fn print(text: &str, code: ExitCode) -> Result<ExitCode, Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(code),
    }
}
