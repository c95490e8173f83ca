//! The worker's side of the loader: starting it, taking the maps, asking.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::Error;
use super::attach::{Status, Switch};
use super::entry::EntryPoint;
use super::load::{MAPS, Parameters};
use super::protocol::{Channel, ChannelError, Reply, Request};

/// The hidden subcommand that runs [`super::run_loader`].
pub const LOADER_COMMAND: &str = "loader";

/// For the verifier on a slow machine; it needs 0.02 to 0.4 s.
const LOAD_TIMEOUT: Duration = Duration::from_mins(2);

/// Has glibc give back what it read the kernel's types into, some 20 MiB: left to itself it learns from the first large
/// block that it gave back to keep the next ones. Others do not know these names.
const RETURNS_MEMORY: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// For an answer. A switch has the verifier look at one program.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The process that holds the programs. Dropping it ends that process, which detaches them.
#[derive(Debug)]
pub(super) struct Loader {
    /// `None`: closed.
    channel: Option<Channel>,
    child: Child,
}

/// Descriptors by the names of their maps.
pub(super) type MapDescriptors = HashMap<&'static str, OwnedFd>;

impl Loader {
    /// `program`: a `tercel-sensor` of this build.
    pub(super) fn start(program: &Path, parameters: Parameters) -> Result<(Self, MapDescriptors, Status), Error> {
        let (channel, theirs) = Channel::pair().map_err(Error::LoaderStart)?;
        let mut command = Command::new(program);
        // Nothing of the environment, which may hold the output's token. A group of its own: Ctrl-C is for the worker.
        command.arg(LOADER_COMMAND).stdin(theirs).stdout(Stdio::null()).env_clear().process_group(0);
        command.envs(RETURNS_MEMORY);
        let child = command.spawn().map_err(Error::LoaderStart)?;
        // It holds our copy of the loader's end, by which we would not see it close.
        drop(command);
        let mut loader = Self { channel: Some(channel), child };
        let (maps, status) = loader.load(parameters)?;
        Ok((loader, maps, status))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn status(&mut self) -> Result<Status, Error> {
        match self.ask(&Request::Status)? {
            Reply::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn switch(&mut self, to: EntryPoint) -> Result<Switch, Error> {
        match self.ask(&Request::Switch(to))? {
            Reply::Switched(switch) => Ok(switch),
            Reply::Failed(text) => Err(Error::Switch { to, text }),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns when nothing is attached any more.
    pub(super) fn detach(mut self) -> Result<(), Error> {
        match self.ask(&Request::Detach)? {
            Reply::Detached => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn load(&mut self, parameters: Parameters) -> Result<(MapDescriptors, Status), Error> {
        self.set_timeout(LOAD_TIMEOUT)?;
        self.send(&Request::Load(parameters))?;
        let mut maps = MapDescriptors::new();
        loop {
            match self.receive()? {
                (Reply::Map(name), Some(descriptor)) => {
                    let known = MAPS.into_iter().find(|known| *known == name);
                    maps.insert(known.ok_or_else(|| unexpected(&Reply::Map(name)))?, descriptor);
                }
                (Reply::Status(status), _) => {
                    self.set_timeout(REPLY_TIMEOUT)?;
                    return Ok((maps, status));
                }
                (Reply::Failed(text), _) => return Err(Error::Loader(text)),
                (other, _) => return Err(unexpected(&other)),
            }
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, Error> {
        self.send(request)?;
        Ok(self.receive()?.0)
    }

    fn send(&mut self, request: &Request) -> Result<(), Error> {
        let sent = self.channel.as_ref().ok_or(ChannelError::Closed).and_then(|channel| channel.send(request));
        sent.map_err(|error| self.broken(error))
    }

    fn receive(&mut self) -> Result<(Reply, Option<OwnedFd>), Error> {
        let received = self.channel.as_ref().ok_or(ChannelError::Closed).and_then(Channel::receive);
        received.map_err(|error| self.broken(error))
    }

    fn set_timeout(&self, timeout: Duration) -> Result<(), Error> {
        self.channel.as_ref().map_or(Ok(()), |channel| channel.set_timeout(timeout)).map_err(Error::LoaderStart)
    }

    /// Nothing more can be asked: whatever comes next could be the answer to something else.
    fn broken(&mut self, error: ChannelError) -> Error {
        self.channel = None;
        match error {
            // Its socket is closed: it is as good as gone.
            ChannelError::Closed => Error::LoaderEnded { how: how_ended(self.child.wait().ok()) },
            error => Error::LoaderAnswer(error.to_string()),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Closing the channel ends it; what remains is to take its exit status, so that no zombie is left.
        self.channel = None;
        self.child.wait().ok();
    }
}

fn unexpected(reply: &Reply) -> Error {
    const SHOWN_CHARACTERS: usize = 200;
    let shown: String = format!("{reply:?}").chars().take(SHOWN_CHARACTERS).collect();
    Error::LoaderAnswer(format!("unexpected answer {shown}"))
}

fn how_ended(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("exit code {code}"),
        Some((None, Some(signal))) => format!("killed by signal {signal}"),
        _ => "nobody knows how".to_owned(),
    }
}
