//! Tercel's only task runner. A person runs `cargo xtask run` and `cargo xtask test`; CI runs `cargo xtask ci`.

#![expect(clippy::print_stdout, reason = "a task runner talks to the person at the terminal")]

mod ebpf;
mod install;
mod step;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the kernel object into sensor/bpf (installs the BPF toolchain where it is missing)
    Ebpf {
        /// Build it aside and compare it with the committed one
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match perform(&Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            step::fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn perform(task: &Task) -> Result<ExitCode> {
    match task {
        Task::Ebpf { check: false } => ebpf::build()?,
        Task::Ebpf { check: true } => match ebpf::check()? {
            ebpf::Checked::Same => step::note("the committed object is what the sources build to"),
            ebpf::Checked::NotCompared(why) => step::note(why),
        },
    }
    Ok(ExitCode::SUCCESS)
}
