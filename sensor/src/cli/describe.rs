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
    let set = run::load_rules(&arguments.rules.settings()?)?;
    let text = if arguments.json { format!("{}\n", rules::describe(&set)) } else { rules::describe_text(&set) };
    print(&text, ExitCode::SUCCESS)
}
