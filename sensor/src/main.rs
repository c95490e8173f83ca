//! The program `tercel-sensor`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
