//! The loader: the small process that alone may load and attach programs.
//!
//! It loads the object, hands the maps to the worker, gives up every capability that attaching does not need, and then
//! answers requests until the worker's end of the channel closes. Its end detaches the programs.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::confine::{self, Role};
use super::load::Loaded;
use super::privilege;
use super::protocol::{Channel, ChannelError, Reply, Request};

/// Why the loader ended other than by the worker's wish.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    #[error("`loader` is started by `tercel-sensor run`, not by hand")]
    NoWorker(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot set signals aside")]
    Signals(#[source] std::io::Error),
    #[error("the worker cannot be talked to")]
    Channel(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The worker was told why.
    #[error("the kernel programs were not loaded")]
    NotLoaded,
}

/// Serves the worker whose socket is descriptor 0.
pub fn run_loader() -> Result<(), LoaderError> {
    let channel = Channel::inherited(std::io::stdin().as_fd()).map_err(|error| LoaderError::NoWorker(error.into()))?;
    outlive_signals().map_err(LoaderError::Signals)?;
    match serve(&channel) {
        Ok(()) | Err(Ended::Channel(ChannelError::Closed)) => Ok(()),
        Err(Ended::Channel(error)) => Err(LoaderError::Channel(error.into())),
        Err(Ended::NotLoaded) => Err(LoaderError::NotLoaded),
    }
}

enum Ended {
    Channel(ChannelError),
    NotLoaded,
}

impl From<ChannelError> for Ended {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

/// Whoever stops the service may signal all of its processes at once. The worker says when it is over: it takes what is
/// left in the ring before.
fn outlive_signals() -> std::io::Result<()> {
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ignored))?;
    }
    Ok(())
}

fn serve(channel: &Channel) -> Result<(), Ended> {
    let mut loaded = load(channel)?;
    loop {
        let reply = match channel.receive() {
            Ok((Request::Status, _)) => Reply::Status(loaded.status()),
            Ok((Request::Switch(to), _)) => match loaded.switch(to) {
                Ok(switch) => Reply::Switched(switch),
                Err(error) => Reply::failed(&error),
            },
            Ok((Request::Detach, _)) => {
                drop(loaded);
                return Ok(channel.send(&Reply::Detached)?);
            }
            Ok((Request::Load(_), _)) => Reply::Failed("the programs are loaded already".to_owned()),
            Err(error @ (ChannelError::Unknown(_) | ChannelError::TooLong | ChannelError::Descriptors)) => {
                Reply::failed(&error)
            }
            Err(error) => return Err(error.into()),
        };
        channel.send(&reply)?;
    }
}

fn load(channel: &Channel) -> Result<Loaded, Ended> {
    let (Request::Load(parameters), _) = channel.receive()? else { return Err(ChannelError::Descriptors.into()) };
    let loaded = Loaded::load(parameters).and_then(|loaded| {
        let maps = loaded.maps()?;
        privilege::keep_for_attaching()?;
        confine::apply(Role::Loader)?;
        Ok((loaded, maps))
    });
    match loaded {
        Ok((loaded, maps)) => {
            for (name, descriptor) in maps {
                channel.send_with(&Reply::Map(name.to_owned()), Some(descriptor.as_fd()))?;
            }
            channel.send(&Reply::Status(loaded.status()))?;
            Ok(loaded)
        }
        Err(error) => {
            channel.send(&Reply::failed(&error))?;
            Err(Ended::NotLoaded)
        }
    }
}
