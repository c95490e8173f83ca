//! The command line of `tercel-sensor`.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use tercel_sensor::config::{self, Overrides, Settings};
use tercel_sensor::emit::Output;
use tercel_sensor::rules::{Problem, Severity};
use tercel_sensor::{doctor, fields, rules, run};
use tracing_subscriber::EnvFilter;

/// Exit codes: 0 fine, 1 failed at work, 2 bad usage (clap's own), 64 bad configuration.
const FAILED: u8 = 1;
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
    Run(RunArguments),
    /// Read the rules and say what is wrong with them.
    Check {
        #[command(flatten)]
        settings: RuleArguments,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List the rules, in the order in which they are tried.
    Rules {
        #[command(flatten)]
        settings: RuleArguments,
    },
    /// Describe the fields that rules may use, as Markdown.
    Fields,
    /// Say what this machine has of what the sensor needs.
    Doctor,
}

#[derive(Args)]
struct RuleArguments {
    /// Settings in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A rule file, or a directory of them; may be given several times [default: rules]
    #[arg(long, value_name = "FILE|DIR")]
    rules: Vec<PathBuf>,
}

#[derive(Args)]
struct RunArguments {
    #[command(flatten)]
    rules: RuleArguments,
    /// `stdout`, `http://host:port/path` or `unix:/path/of/socket` [default: stdout]
    #[arg(long, value_name = "OUTPUT", value_parser = known_output)]
    output: Option<String>,
    /// Where /metrics, /livez and /readyz are served [default: 127.0.0.1:2803]
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The name in alerts [default: the machine's]
    #[arg(long)]
    hostname: Option<String>,
    /// A file that holds the token for the output; else it is taken from `TERCEL_SENSOR_TOKEN`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What the command line asked for could not be done.
enum Failure {
    Run(run::Error),
    Output(io::Error),
}

impl<E: Into<run::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(arguments) => watch(arguments),
        Command::Check { settings, json } => check(&settings, json),
        Command::Rules { settings } => list_rules(&settings),
        Command::Fields => print(&fields::markdown(), ExitCode::SUCCESS),
        Command::Doctor => diagnose(),
    };
    result.unwrap_or_else(|failure| failure.report())
}

fn watch(arguments: RunArguments) -> Result<ExitCode, Failure> {
    let overrides = Overrides {
        rules: arguments.rules.rules,
        output: arguments.output,
        metrics: arguments.metrics,
        hostname: arguments.hostname,
        token_file: arguments.token_file,
    };
    let settings = Settings::load(arguments.rules.config.as_deref(), &overrides)?;
    start_log(&settings.log)?;
    run::run(&settings)?;
    Ok(ExitCode::SUCCESS)
}

fn check(arguments: &RuleArguments, as_json: bool) -> Result<ExitCode, Failure> {
    let (count, problems) = match run::load_rules(&arguments.settings()?) {
        Ok((detector, warnings)) => (detector.len(), warnings),
        Err(run::Error::Rules(problems)) => (0, problems),
        Err(error) => return Err(error.into()),
    };
    let is_good = problems.iter().all(|problem| problem.severity == Severity::Warning);
    let text = if as_json {
        let problems: Vec<_> = problems.iter().map(problem_json).collect();
        format!("{}\n", json!({ "ok": is_good, "rules": count, "problems": problems }))
    } else {
        let mut lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
        if is_good {
            lines.push(format!("{count} rules in force, {} warnings", problems.len()));
        }
        lines.join("\n") + "\n"
    };
    print(&text, if is_good { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIGURATION) })
}

fn problem_json(problem: &Problem) -> serde_json::Value {
    json!({
        "file": problem.place.file.display().to_string(),
        "line": problem.place.line,
        "column": problem.place.column,
        "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
        "item": problem.item,
        "message": problem.message,
    })
}

fn list_rules(arguments: &RuleArguments) -> Result<ExitCode, Failure> {
    let set = rules::load(&arguments.settings()?.rules, &fields::SensorCatalog).map_err(run::Error::Rules)?;
    let line = |rule: &rules::Rule| {
        let disabled = if rule.enabled { "" } else { " (disabled)" };
        let tags: Vec<_> = rule.tags.iter().map(String::as_str).collect();
        format!("{:<13} {}{disabled} [{}]\n", rule.priority, rule.name, tags.join(", "))
    };
    let lines: Vec<_> = set.rules.iter().map(line).collect();
    print(&lines.concat(), ExitCode::SUCCESS)
}

fn diagnose() -> Result<ExitCode, Failure> {
    let report = doctor::report();
    let code = if report.ready() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
    print(&format!("{report}\n"), code)
}

impl RuleArguments {
    fn settings(&self) -> Result<Settings, run::Error> {
        let overrides = Overrides { rules: self.rules.clone(), ..Overrides::default() };
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
            Self::Output(error) => (format!("error: cannot write the output: {error}\n"), FAILED),
        };
        // Nobody is left to be told if this fails.
        drop(io::stderr().write_all(text.as_bytes()));
        ExitCode::from(code)
    }
}

fn describe(error: &run::Error) -> String {
    let mut lines = Vec::new();
    if let run::Error::Rules(problems) = error {
        lines.extend(problems.iter().map(Problem::to_string));
    }
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let sentence: Vec<_> = causes.map(ToString::to_string).collect();
    lines.push(format!("error: {}\n", sentence.join(": ")));
    lines.join("\n")
}

/// Messages for people, on standard error.
fn start_log(directives: &str) -> Result<(), config::Error> {
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

/// A reader that went away (`| head`) is no failure.
fn print(text: &str, code: ExitCode) -> Result<ExitCode, Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(code),
    }
}

fn known_output(text: &str) -> Result<String, String> {
    text.parse::<Output>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}
