//! The destination, and the account of what has arrived.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::load::message;

/// For everything that is owed to be delivered.
const SETTLED: Duration = Duration::from_mins(10);
const POLL: Duration = Duration::from_millis(500);

/// What stands before an alert's id, on the way and in the archive.
const ID_KEY: &str = "\"uuid\":\"";

/// Numbers of the alerts that came, by life and sender.
#[derive(Default)]
struct Arrived(BTreeMap<(u32, u16), BTreeSet<u64>>);

/// # Errors
/// The router still owes something when the time is over.
pub(crate) fn receive(listen: SocketAddr, admin: SocketAddr, archive: &Path) -> Result<()> {
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let shared = Arc::clone(&arrived);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let arrived = Arc::clone(&shared);
            std::thread::spawn(move || answer(&stream, &arrived));
        }
    });
    settle(admin)?;
    arrived.lock().unwrap_or_else(PoisonError::into_inner).tell("arrived");
    let mut archived = Arrived::default();
    for file in std::fs::read_dir(archive).with_context(|| format!("cannot read {}", archive.display()))? {
        archived.add(&std::fs::read_to_string(file?.path())?);
    }
    archived.tell("archived");
    super::print("@@ end");
    Ok(())
}

/// Answers until the other end is gone.
fn answer(stream: &TcpStream, arrived: &Mutex<Arrived>) -> Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let (_, body) = message(&mut reader)?;
        arrived.lock().unwrap_or_else(PoisonError::into_inner).add(&body);
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// Waits until nothing is owed at two looks, and tells on the way what the store has to say of itself.
fn settle(admin: SocketAddr) -> Result<()> {
    let (start, mut idle) = (Instant::now(), 0);
    while idle < 2 {
        ensure!(start.elapsed() < SETTLED, "the router still owes something after {SETTLED:?}");
        std::thread::sleep(POLL);
        let Ok(metrics) = scrape(admin) else { continue };
        let owed = sum(&metrics, "tercel_router_queued{") + sum(&metrics, "tercel_router_in_flight{");
        idle = if owed == 0 { idle + 1 } else { 0 };
        if idle == 2 {
            let told = metrics.lines().filter(|line| line.starts_with("tercel_router_store_"));
            told.for_each(super::print);
        }
    }
    Ok(())
}

fn scrape(admin: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: router\r\n\r\n")?;
    Ok(message(&mut BufReader::new(stream))?.1)
}

fn sum(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter(|line| line.starts_with(name));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

impl Arrived {
    fn add(&mut self, text: &str) {
        for id in text.split(ID_KEY).skip(1).filter_map(|rest| rest.get(..36)) {
            if let Some((life, sender, number)) = parts(id) {
                self.0.entry((life, sender)).or_default().insert(number);
            }
        }
    }

    /// `@@ WHAT LIFE SENDER FIRST-LAST …`
    fn tell(&self, what: &str) {
        for ((life, sender), numbers) in &self.0 {
            let ranges: Vec<_> =
                ranges(numbers).iter().map(|range| format!("{}-{}", range.start(), range.end())).collect();
            super::print(&format!("@@ {what} {life} {sender} {}", ranges.join(" ")));
        }
    }
}

/// Life, sender and number.
fn parts(id: &str) -> Option<(u32, u16, u64)> {
    let (life, rest) = id.split_once('-')?;
    let (sender, rest) = rest.split_once('-')?;
    let number = rest.rsplit('-').next()?;
    Some((
        u32::from_str_radix(life, 16).ok()?,
        u16::from_str_radix(sender, 16).ok()?,
        u64::from_str_radix(number, 16).ok()?,
    ))
}

fn ranges(numbers: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end() + 1 == *number => *last = *last.start()..=*number,
            _ => ranges.push(*number..=*number),
        }
    }
    ranges
}
