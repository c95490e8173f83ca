//! A process that runs beside us: started, asked whether it is ready, stopped.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::step;

/// For one question to /readyz.
const ASK_WITHIN: Duration = Duration::from_millis(500);

pub(crate) struct Service {
    name: &'static str,
    /// Where it serves /readyz.
    address: SocketAddr,
    child: Child,
}

/// How a service ended that nobody stopped.
pub(crate) struct Gone {
    name: &'static str,
    status: ExitStatus,
}

impl Service {
    /// Starts it in a process group of its own: Ctrl-C reaches us alone, and we choose the order of stopping. Its output
    /// is ours.
    pub(crate) fn start(name: &'static str, address: SocketAddr, command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, address, child })
    }

    pub(crate) fn gone(&mut self) -> Result<Option<Gone>> {
        let status = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(status.map(|status| Gone { name: self.name, status }))
    }

    /// True once `GET /readyz` says 200.
    pub(crate) fn is_ready(&self) -> bool {
        readyz(self.address).unwrap_or(false)
    }

    /// SIGTERM, then SIGKILL after `within`.
    pub(crate) fn stop(&mut self, within: Duration) {
        if !matches!(self.gone(), Ok(None)) {
            return;
        }
        let pid = Pid::from_child(&self.child);
        if kill_process(pid, Signal::TERM).is_err() {
            return;
        }
        let start = Instant::now();
        while start.elapsed() < within {
            if !matches!(self.gone(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        step::note(format!("{} did not stop within {} s and is killed", self.name, within.as_secs()));
        if self.child.kill().is_ok() {
            _ = self.child.wait();
        }
    }
}

impl Gone {
    /// The service's own exit code, 1 where a signal ended it.
    pub(crate) fn code(&self) -> ExitCode {
        let code = self.status.code().and_then(|code| u8::try_from(code).ok());
        // A service that runs until it is told to stop did not do its work, even if it says 0.
        ExitCode::from(code.filter(|code| *code != 0).unwrap_or(1))
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ended by itself: {}", self.name, self.status)
    }
}

fn readyz(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ASK_WITHIN)?;
    stream.set_read_timeout(Some(ASK_WITHIN))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    // The status line's fixed beginning is all that matters: `HTTP/1.1 200`.
    let mut beginning = [0; 12];
    stream.read_exact(&mut beginning)?;
    Ok(beginning.ends_with(b" 200"))
}
