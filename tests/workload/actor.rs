//! What this program does under the names of others.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

const NOBODY: u32 = 65_534;

/// Nobody listens on it, on most machines.
const DISCARD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9);

/// A program of a workload, by the beginning of its name.
pub(crate) enum Actor {
    /// `parentN` runs `childN` beside it and waits for it.
    Parent(PathBuf),
    /// `child…` does nothing.
    Child,
    /// `sleeper`: at a line on standard input it becomes `awake`.
    Sleeper(PathBuf),
    /// `awake`: at a line on standard input it runs `childless`, at another one it ends.
    Awake(PathBuf),
    /// `mixer` does a little of everything, part of it as nobody.
    Mixer,
}

/// `None`: it is called as itself.
pub(crate) fn of_own_name() -> Option<Actor> {
    let path = PathBuf::from(env::args_os().next()?);
    let name = path.file_name()?.to_str()?;
    match name {
        "sleeper" => Some(Actor::Sleeper(path.with_file_name("awake"))),
        "awake" => Some(Actor::Awake(path.with_file_name("childless"))),
        "mixer" => Some(Actor::Mixer),
        _ if name.starts_with("child") => Some(Actor::Child),
        _ => Some(Actor::Parent(path.with_file_name(format!("child{}", name.strip_prefix("parent")?)))),
    }
}

impl Actor {
    pub(crate) fn act(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Child => {}
            Self::Parent(child) => run(&mut Command::new(child))?,
            Self::Sleeper(awake) => {
                wait_for_line()?;
                return Err(Command::new(awake).exec().into());
            }
            Self::Awake(child) => {
                wait_for_line()?;
                run(&mut Command::new(child))?;
                wait_for_line()?;
            }
            Self::Mixer => mix()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Takes nothing beyond the line's end from standard input: the next program reads the next line.
fn wait_for_line() -> anyhow::Result<()> {
    let mut byte = [0];
    while rustix::io::read(rustix::stdio::stdin(), &mut byte)? == 1 && byte != *b"\n" {}
    Ok(())
}

/// The folder is the first argument; nobody may write there.
fn mix() -> anyhow::Result<()> {
    let folder = env::args_os().nth(1).context("a folder to work in")?;
    set_thread_res_gid(gid(), gid(), gid())?;
    set_thread_res_uid(uid(), uid(), uid())?;
    let [before, after] =
        ["before", "after"].map(|name| Path::new(&folder).join(format!("{name}{}", std::process::id())));
    fs::write(&before, "nothing\n")?;
    fs::rename(&before, &after)?;
    fs::read(&after)?;
    fs::remove_file(&after)?;
    ensure!(fs::read("/etc/shadow").is_err(), "nobody may read secrets");
    drop(TcpStream::connect(DISCARD));
    connect_without_a_packet()
}

fn uid() -> Uid {
    Uid::from_raw(NOBODY)
}

fn gid() -> Gid {
    Gid::from_raw(NOBODY)
}

pub(crate) fn connect_without_a_packet() -> anyhow::Result<()> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.connect(DISCARD)?)
}
