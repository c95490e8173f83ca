//! Rule "Redirect STDOUT/STDIN to Network Connection in Container": a connection becomes standard input and output.
//! Near misses: on the host; a copy of the connection elsewhere; a file as standard input.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

use rustix::io::dup;
use rustix::stdio::{dup2_stdin, dup2_stdout};

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Redirect STDOUT/STDIN to Network Connection in Container";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("stdin-from-connection", RULE, |_| Ok(dup2_stdin(connection()?.1)?)).within(Layout::DockerSystemd),
    Technique::fires("stdout-to-connection-by-ipv6", RULE, |_| {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?;
        Ok(dup2_stdout(TcpStream::connect(listener.local_addr()?)?)?)
    })
    .within(Layout::PodContainerd),
    Technique::near_miss("stdin-from-connection-on-host", RULE, |_| Ok(dup2_stdin(connection()?.1)?)),
    Technique::near_miss("connection-copied", RULE, |_| {
        let _: () = drop(dup(connection()?.1)?);
        Ok(())
    })
    .within(Layout::DockerSystemd),
    Technique::near_miss("stdin-from-file", RULE, |_| Ok(dup2_stdin(File::open("/proc/version")?)?))
        .within(Layout::DockerSystemd),
];

/// With the listener that took it.
fn connection() -> anyhow::Result<(TcpListener, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    Ok((listener, stream))
}
