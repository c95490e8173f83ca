//! `technique`: real actions of attackers, made harmless, and beside each a similar one that is none. It needs nothing but
//! the kernel, so that it also runs, statically linked, in a machine that has hardly any programs: whatever program an action
//! is about is a link to this one under that name.
//!
//! It works in its own temporary folder, in mount namespaces that end with their process, on children of its own and on the
//! loopback interface. What it makes beside that, cgroups and files in /dev/shm, it takes away.

mod act;
mod aws_credentials;
mod bulk_removal;
mod check;
mod contact_cluster;
mod container;
mod debugfs;
mod directory_traversal;
mod dropped_program;
mod hardlink;
mod kernel_module;
mod log_erased;
mod memfd;
mod netcat;
mod odd;
mod packet_socket;
mod private_keys;
mod ptrace;
mod redirect;
mod release_agent;
mod resolve;
mod sensitive_file;
mod shared_memory;
mod ssh_port;
mod stage;
mod symlink;
mod system_user;
mod table;
mod technique;
mod terminal_shell;
mod untrusted_shell;

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::table::Set;

/// The name under which it takes commands. Under any other it does nothing, or what its environment says.
const OWN_NAME: &str = "technique";

/// Does what attackers do, harmlessly, and judges what a sensor said to it.
#[derive(Parser)]
#[command(name = OWN_NAME)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The techniques: name, rule, and whether the rule must see it, must not, or cannot yet.
    List {
        #[arg(long)]
        set: Option<Set>,
    },
    /// Does one, and prints what was done as a line of JSON.
    Act { name: String },
    /// Does all, one after the other, each line as `act` prints it.
    Run {
        #[arg(long)]
        set: Option<Set>,
        /// The lines go into this file instead.
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// Judges alerts (one JSON object a line) by what was done; a line of JSON for each action; 1 unless all are well.
    Check {
        #[arg(long)]
        acts: PathBuf,
        #[arg(long)]
        alerts: PathBuf,
        /// A technique that need not be there.
        #[arg(long)]
        skip: Vec<String>,
    },
    /// Runs a program to which the cluster's name is an address of this machine.
    Resolve {
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(phase) = stage::Phase::of_environment()? {
        return phase.go_through();
    }
    if stage::own_name() != OWN_NAME {
        return Ok(ExitCode::SUCCESS);
    }
    match Arguments::parse().command {
        Command::List { set } => list(set),
        Command::Act { name } => print(&mut io::stdout(), &act::act(table::find(&name)?)),
        Command::Run { set, report } => run(set, report),
        Command::Check { acts, alerts, skip } => return check::check(&acts, &alerts, &skip),
        Command::Resolve { command } => resolve::run(&command),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn list(set: Option<Set>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for technique in table::of(set) {
        let expects = match (technique.is_near_miss, table::waits_for(technique.name)) {
            (true, _) => "must not fire".to_owned(),
            (false, None) => "fires".to_owned(),
            (false, Some(reason)) => format!("waits for {reason}"),
        };
        writeln!(out, "{}\t{}\t{expects}", technique.name, technique.rule)?;
    }
    Ok(())
}

fn run(set: Option<Set>, report: Option<PathBuf>) -> anyhow::Result<()> {
    let mut out: Box<dyn Write> = match report {
        Some(path) => Box::new(File::create(&path).with_context(|| path.display().to_string())?),
        None => Box::new(io::stdout()),
    };
    table::of(set).try_for_each(|technique| print(&mut out, &act::act(technique)))
}

fn print(out: &mut dyn Write, act: &act::Act) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string(act)?)?;
    Ok(out.flush()?)
}
