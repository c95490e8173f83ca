//! Alerts in batches, from several senders, each numbered from 0 and without a gap.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

const SENDERS: u16 = 4;
const BATCH: u64 = 5;

/// Between two requests of one sender: what is owed at the end must be delivered on an emulated machine.
const PAUSE: Duration = Duration::from_millis(20);

/// Until the router listens.
const READY: Duration = Duration::from_mins(2);

/// Runs until the power goes.
///
/// # Errors
/// The router does not come, or answers with anything but a 202.
pub(crate) fn load(to: SocketAddr, life: u32) -> Result<()> {
    let senders: Vec<_> = (0..SENDERS).map(|sender| std::thread::spawn(move || send(to, life, sender))).collect();
    for sender in senders {
        match sender.join() {
            Ok(result) => result?,
            Err(_) => bail!("a sender panicked"),
        }
    }
    Ok(())
}

fn send(to: SocketAddr, life: u32, sender: u16) -> Result<()> {
    let stream = connect(to)?;
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    for first in (0_u64..).step_by(usize::try_from(BATCH)?) {
        let alerts: Vec<_> = (first..first + BATCH).map(|number| alert(life, sender, number)).collect();
        let body = serde_json::to_string(&alerts)?;
        write!(writer, "POST /v1/alerts HTTP/1.1\r\nhost: router\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        let (status, answer) = message(&mut reader)?;
        ensure!(status.contains(" 202 "), "{status}: {answer}");
        let answer: Value = serde_json::from_str(&answer)?;
        ensure!(answer["accepted"] == BATCH, "{answer}");
        super::print(&format!("@@ acked {life} {sender} {}", first + BATCH - 1));
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(to) {
            Ok(stream) => return Ok(stream),
            Err(error) if start.elapsed() > READY => return Err(error).context("the router does not listen"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// First line and body of a request or an answer.
pub(super) fn message(reader: &mut impl BufRead) -> Result<(String, String)> {
    let mut status = String::new();
    reader.read_line(&mut status)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the connection ended within a message");
        match line.trim_end().to_ascii_lowercase().split_once(':') {
            Some(("content-length", count)) => length = count.trim().parse()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status.trim_end().to_owned(), String::from_utf8(body)?))
}

/// Its id says whose it is: see [`super::receive`].
fn alert(life: u32, sender: u16, number: u64) -> Value {
    json!({
        "uuid": format!("{life:08x}-{sender:04x}-7000-8000-{number:012x}"),
        "time": "2026-01-01T00:00:00Z",
        "rule": "Load",
        "priority": "Critical",
        "hostname": "guest",
        "output": format!("alert {number} of sender {sender} in life {life}"),
        "output_fields": {"proc.name": format!("sender-{sender}")},
    })
}
