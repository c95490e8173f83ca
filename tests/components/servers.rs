//! Servers that are cheap to have, each started on loopback by its test and gone with it.

mod alertmanager;
mod kafka;
mod mail;
mod nats;
mod syslog;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::harness::{Process, eventually};

/// The folder with their packages.
const FOLDER_VARIABLE: &str = "TERCEL_TEST_SERVERS";

const START_WITHIN: Duration = Duration::from_secs(30);

/// For what was delivered to be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

fn folder() -> PathBuf {
    let folder = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    folder.unwrap_or_else(|| panic!("{FOLDER_VARIABLE} is not set; use cargo xtask test --components"))
}

async fn listening(process: &Process, address: SocketAddr) {
    eventually("the server listens", START_WITHIN, async || match TcpStream::connect(address).await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error}; it says:\n{}{}", process.stdout(), process.stderr())),
    })
    .await;
}

/// Everything goes to one destination of this table, and what is equal is held back for a second.
fn routing(table: &str) -> String {
    format!(
        "[[route]]\nname = \"all\"\nto = [\"there\"]\ndedup = {{ window = \"1s\" }}\n[destination.there]\n{table}\n"
    )
}
