//! `workload`: calls in great number, as fast as the machine makes them or at a steady pace, for a sensor to keep up with.
//! Under another name (a link to it) it is one of the programs that are run: see `actor.rs`.

mod actor;
mod mix;
mod storm;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// The name under which it takes commands.
const OWN_NAME: &str = "workload";

#[derive(Parser)]
#[command(name = OWN_NAME)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// As fast as can be: opens by two threads, and pairs of programs by two more, a parent that runs a child
    Storm {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        opens: u64,
        #[arg(long)]
        pairs: u64,
    },
    /// One open and one pair on each CPU
    Touch {
        #[arg(long)]
        folder: PathBuf,
    },
    /// Programs, opens, connections, renames and changes of rights, for some time at a steady pace
    Mix {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        seconds: u64,
    },
    /// Sockets that are connected, without a packet, and closed
    Sockets {
        #[arg(long)]
        count: u64,
    },
    /// Opens `/etc/passwd` of another root as its user 4321, and stays until standard input ends
    Inhabit {
        #[arg(long)]
        root: PathBuf,
        /// The file that holds the processes of a cgroup, into which it goes first; then it runs itself anew, as what a
        /// runtime starts does
        #[arg(long)]
        cgroup: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(actor) = actor::of_own_name() {
        return actor.act();
    }
    match Arguments::parse().command {
        Command::Storm { folder, opens, pairs } => storm::storm(&folder, opens, pairs),
        Command::Touch { folder } => storm::touch(&folder),
        Command::Mix { folder, seconds } => mix::mix(&folder, Duration::from_secs(seconds)),
        Command::Sockets { count } => mix::sockets(count),
        Command::Inhabit { root, cgroup } => mix::inhabit(&root, cgroup.as_deref()),
    }?;
    Ok(ExitCode::SUCCESS)
}
