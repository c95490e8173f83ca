//! `tercel-router run`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tercel_router::config::Flags;
use tercel_router::{EXIT_CONFIGURATION, EXIT_FAILURE, Router, Settings};
use tokio::io::BufReader;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{fail, load, start_log};

#[derive(Args)]
pub(super) struct Arguments {
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

pub(super) fn run(args: Arguments) -> ExitCode {
    start_log();
    let Arguments { config, routing, listen, unix, state, admin, tls_certificate, tls_key, tls_client_ca, stdin } =
        args;
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

/// What is asked of the process; waited for before anything is taken.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Reads the configuration again.
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Until a signal asks for it, or standard input ends.
async fn wait_for_end(router: &Router, mut signals: Signals, reads_stdin: bool) -> anyhow::Result<()> {
    let mut lines = std::pin::pin!(router.take_lines(BufReader::new(tokio::io::stdin())));
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            // The log tells how it ended.
            _ = signals.hangup.recv() => drop(router.reload("signal").await),
            read = lines.as_mut(), if reads_stdin => return read.context("cannot read standard input"),
        }
    }
}
