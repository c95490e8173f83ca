//! `power`: what runs beside the router in a guest that loses its power: it sends alerts and says which were acknowledged;
//! and after the last loss it is the destination, and says which have arrived.
//!
//! Lines that begin with `@@ ` are for the one who holds the switch; the rest is for people.

mod load;
mod receive;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "power")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send alerts without end
    Load {
        #[arg(long)]
        to: SocketAddr,
        /// Tells the alerts of this life from those of others
        #[arg(long)]
        life: u32,
    },
    /// Take notifications until the router owes none, then say which alerts came, and which are in the archive
    Receive {
        #[arg(long)]
        listen: SocketAddr,
        /// Where the router tells its numbers
        #[arg(long)]
        admin: SocketAddr,
        /// Folder of the router's archive
        #[arg(long)]
        archive: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Load { to, life } => load::load(to, life),
        Command::Receive { listen, admin, archive } => receive::receive(listen, admin, &archive),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("power: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One line, at once: the power may go at any moment.
#[expect(clippy::print_stdout, reason = "the console is what the one with the switch reads")]
fn print(line: &str) {
    println!("{line}");
}
