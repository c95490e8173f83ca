//! The command line of the router.

use std::fmt::Display;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tercel_router::config::Flags;
use tercel_router::{EXIT_CONFIGURATION, EXIT_FAILURE, Router, Settings, SettingsError};
use tokio::io::BufReader;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Routes, deduplicates, limits and delivers security alerts.
#[derive(Parser)]
#[command(name = "tercel-router", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take alerts and deliver them
    Run(RunArgs),
    /// Say whether a routing file is good, and what is wrong with it
    Check(CheckArgs),
}

#[derive(Args)]
struct RunArgs {
    /// Settings of the process; variables that begin with `TERCEL_ROUTER_` go above it, flags above those
    #[arg(long, value_name = "FILE", env = "TERCEL_ROUTER_CONFIG")]
    config: Option<PathBuf>,
    /// The routing file [default: routing.toml]
    #[arg(long, value_name = "FILE")]
    routing: Option<PathBuf>,
    /// Where to take alerts by TCP, or none [default: 127.0.0.1:2801]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where to take alerts by a Unix socket
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// The folder for the archive and other state [default: tercel-state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to serve /metrics, /livez and /readyz [default: 127.0.0.1:2802]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// The certificate to show to senders by TCP; it is read again when the file changes
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Authorities, one of which must have signed the certificate that a sender shows
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Also take alerts from standard input, one JSON object a line, and stop at its end
    #[arg(long)]
    stdin: bool,
}

#[derive(Args)]
struct CheckArgs {
    /// The routing file [default: routing.toml]
    #[arg(long, value_name = "FILE")]
    routing: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Check(args) => check(args),
    }
}

fn run(args: RunArgs) -> ExitCode {
    start_log();
    let RunArgs { config, routing, listen, unix, state, admin, tls_certificate, tls_key, tls_client_ca, stdin } = args;
    let flags = Flags { routing, listen, unix, state, admin, tls_certificate, tls_key, tls_client_ca, stdin };
    let settings = match load(config.as_deref(), &flags) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, EXIT_CONFIGURATION),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}"), EXIT_FAILURE),
    };
    let code = runtime.block_on(serve(settings));
    // A read of standard input cannot be interrupted; waiting for it would keep the process.
    runtime.shutdown_background();
    code
}

async fn serve(settings: Settings) -> ExitCode {
    let reads_stdin = settings.stdin;
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot wait for signals: {error}"), EXIT_FAILURE),
    };
    let router = match Router::start(settings).await {
        Ok(router) => router,
        Err(error) => return fail(&error, error.exit_code()),
    };
    let result = wait_for_end(&router, signals, reads_stdin).await;
    router.shutdown().await;
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), EXIT_FAILURE),
    }
}

/// What asks the process to end; waited for before anything is taken.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

/// Until a signal asks for it, or standard input ends.
async fn wait_for_end(router: &Router, mut signals: Signals, reads_stdin: bool) -> anyhow::Result<()> {
    tokio::select! {
        _ = signals.terminate.recv() => Ok(()),
        _ = signals.interrupt.recv() => Ok(()),
        read = router.take_lines(BufReader::new(tokio::io::stdin())), if reads_stdin => {
            read.context("cannot read standard input")
        }
    }
}

fn check(args: CheckArgs) -> ExitCode {
    let flags = Flags { routing: args.routing, ..Flags::default() };
    let settings = match load(None, &flags) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, EXIT_CONFIGURATION),
    };
    let result = tercel_router::check(&settings.routing, &settings.state);
    let code = if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIGURATION) };
    let (warnings, problems) = match &result {
        Ok(checked) => (checked.warnings.clone(), Vec::new()),
        Err(error) => (Vec::new(), error.problems()),
    };
    if args.json {
        say(&serde_json::json!({"ok": problems.is_empty(), "problems": problems, "warnings": warnings}));
        return code;
    }
    match &result {
        Ok(checked) => {
            for warning in &warnings {
                complain(&format!("{warning} (warning)"));
            }
            let (file, routes, destinations) = (settings.routing.display(), checked.routes, checked.destinations);
            say(&format!("{file}: good; routes: {routes}, destinations: {destinations}"));
        }
        Err(error) => complain(error),
    }
    code
}

fn load(file: Option<&std::path::Path>, flags: &Flags) -> Result<Settings, SettingsError> {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Settings::load(file, environment, flags)
}

fn start_log() {
    let filter =
        EnvFilter::try_from_env("TERCEL_LOG").unwrap_or_else(|_unset| EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
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

#[expect(clippy::print_stderr, reason = "the command line speaks here")]
fn complain(message: &dyn Display) {
    eprintln!("{message}");
}

#[expect(clippy::print_stdout, reason = "the command line speaks here")]
fn say(message: &dyn Display) {
    println!("{message}");
}
