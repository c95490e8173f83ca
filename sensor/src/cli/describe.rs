//! `tercel-sensor rules`.

use std::process::ExitCode;

use clap::Args;
use tercel_sensor::{rules, run};

use super::{Failure, RuleArguments, print};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    rules: RuleArguments,
    /// As one JSON object, macros and lists too, in the shape that `falco -L` prints.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let settings = arguments.rules.settings()?;
    let set = run::load_rules(&settings)?;
    let appends = settings.append_output.unwrap_or_default();
    let text = if arguments.json {
        format!("{}\n", rules::describe(&set, &appends))
    } else {
        rules::describe_text(&set, &appends)
    };
    print(&text, ExitCode::SUCCESS)
}
