//! `tercel-router check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tercel_router::EXIT_CONFIGURATION;
use tercel_router::config::Flags;

use super::{complain, fail, load, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// The routing file [default: routing.toml]
    #[arg(long, value_name = "FILE")]
    routing: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Arguments) -> ExitCode {
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
            let (file, tests) = (settings.routing.display(), checked.tests);
            let (routes, destinations) = (checked.routes, checked.destinations);
            say(&format!("{file}: good; routes: {routes}, destinations: {destinations}, tests: {tests}"));
        }
        Err(error) => complain(error),
    }
    code
}
