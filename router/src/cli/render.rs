//! `tercel-router render`.

use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use tercel_router::{EXIT_FAILURE, KINDS, Rendered, ToolError};

use super::{AlertArguments, RoutingArguments, complain, say, start_log};

#[derive(Args)]
pub(super) struct Arguments {
    /// Its name in the routing file
    destination: String,
    #[command(flatten)]
    alert: AlertArguments,
    /// What to make of the alert; summaries and digests are examples about it
    #[arg(long, default_value = "alert", value_parser = PossibleValuesParser::new(KINDS))]
    kind: String,
    #[command(flatten)]
    routing: RoutingArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, ToolError> {
    // The log says why a template failed.
    start_log();
    let settings = arguments.routing.settings()?;
    let (name, json) = arguments.alert.read()?;
    let (destination, kind) = (&arguments.destination, &arguments.kind);
    let Rendered { body, fell_back } = tercel_router::render(&settings.routing, destination, kind, &name, &json)?;
    say(&body.trim_end());
    if fell_back {
        complain(&"the template failed; what is printed is the built-in body, which would be sent in its place");
        return Ok(ExitCode::from(EXIT_FAILURE));
    }
    Ok(ExitCode::SUCCESS)
}
