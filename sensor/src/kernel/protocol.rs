//! What worker and loader say to each other: one JSON object a message, over a socket pair that keeps messages apart.
//!
//! Either side takes what the other says for hostile: a message that is too long, carries descriptors that were not asked
//! for or is none of the known ones is refused.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::attach::{Status, Switch};
use super::entry::EntryPoint;
use super::load::Parameters;

/// Longest message. A status has some 500 bytes; the text of an error is cut at [`TEXT_BYTES_MAX`].
const MESSAGE_BYTES_MAX: usize = 32 << 10;

/// Longest text of an error: the verifier can write megabytes. Escaped in JSON it is at most six times as long.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// What the worker asks of the loader. The first is [`Request::Load`]; each is answered by one [`Reply`], the first by as
/// many [`Reply::Map`] as there are maps before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    Load(Parameters),
    Status,
    Switch(EntryPoint),
    Detach,
}

/// What the loader answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Reply {
    /// A map by its name in the object; its descriptor comes with it.
    Map(String),
    /// After the load and whenever it is asked for.
    Status(Status),
    Switched(Switch),
    Detached,
    /// It could not be done, and why.
    Failed(String),
}

impl Reply {
    /// The error and its causes in one line, cut to what a message has room for.
    pub(super) fn failed(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let mut text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        if text.len() > TEXT_BYTES_MAX {
            let end = text.floor_char_boundary(TEXT_BYTES_MAX);
            text.truncate(end);
            text.push_str(" … (cut)");
        }
        Self::Failed(text)
    }
}

/// A message could not be sent or taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error("the other side has closed the channel")]
    Closed,
    #[error("a message is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    #[error("a message is none of the known ones")]
    Unknown(#[source] serde_json::Error),
    #[error("a descriptor came that was not expected, or one was expected and none came")]
    Descriptors,
    #[error("descriptor 0 is not the socket of a worker")]
    NoSocket,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One end of the pair.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    /// The end that this process was given at its start.
    pub(super) fn inherited(descriptor: BorrowedFd<'_>) -> Result<Self, ChannelError> {
        if !matches!(socket_type(descriptor), Ok(SocketType::SEQPACKET)) {
            return Err(ChannelError::NoSocket);
        }
        Ok(Self(descriptor.try_clone_to_owned()?))
    }

    /// How long [`Self::receive`] waits; after that the two no longer agree on what answers what.
    pub(super) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        Ok(set_socket_timeout(&self.0, Timeout::Recv, Some(timeout))?)
    }

    pub(super) fn send(&self, message: &impl Serialize) -> Result<(), ChannelError> {
        self.send_with(message, None)
    }

    /// With a descriptor, of which the other side gets a copy.
    pub(super) fn send_with(
        &self,
        message: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelError> {
        let bytes = serde_json::to_vec(message).map_err(ChannelError::Unknown)?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ChannelError::TooLong);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: &[BorrowedFd<'_>] = descriptor.as_slice();
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(ChannelError::Descriptors);
        }
        let flags = SendFlags::NOSIGNAL;
        let sent =
            rustix::io::retry_on_intr(|| rustix::net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags));
        match sent {
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Err(ChannelError::Closed),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// Waits for a message, and the descriptor that came with it.
    pub(super) fn receive<M: DeserializeOwned>(&self) -> Result<(M, Option<OwnedFd>), ChannelError> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
        });
        let received = match received {
            Err(rustix::io::Errno::CONNRESET) => return Err(ChannelError::Closed),
            received => received.map_err(io::Error::from)?,
        };
        let descriptor = only_descriptor(&mut control)?;
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(ChannelError::TooLong);
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(ChannelError::Descriptors);
        }
        if received.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        let message = serde_json::from_slice(&bytes[..received.bytes]).map_err(ChannelError::Unknown)?;
        Ok((message, descriptor))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn only_descriptor(control: &mut RecvAncillaryBuffer<'_>) -> Result<Option<OwnedFd>, ChannelError> {
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let descriptor = descriptors.pop();
    if descriptors.is_empty() { Ok(descriptor) } else { Err(ChannelError::Descriptors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::attach::ProgramMisses;
    use crate::kernel::entry::Entry;

    fn pair() -> (Channel, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        (ours, Channel(theirs))
    }

    fn send_raw(channel: &Channel, bytes: &[u8]) {
        rustix::net::send(&channel.0, bytes, SendFlags::NOSIGNAL).unwrap();
    }

    #[test]
    fn every_message_comes_back_as_it_was_sent() {
        let (worker, loader) = pair();
        let requests = [
            Request::Load(Parameters { entry: Entry::Classic, ring_bytes: 1 << 20 }),
            Request::Status,
            Request::Switch(EntryPoint::TpBtf),
            Request::Detach,
        ];
        for request in requests {
            worker.send(&request).unwrap();
            assert_eq!(loader.receive::<Request>().unwrap().0, request);
        }
        let misses = vec![ProgramMisses { program: "sys_exit".to_owned(), count: u64::MAX }];
        let replies = [
            Reply::Status(Status { entry: EntryPoint::Classic, hooks: vec!["a:b".to_owned()], misses }),
            Reply::Switched(Switch { to: EntryPoint::Classic, overlap_us: 17 }),
            Reply::Detached,
            Reply::Failed("why\n\u{1b}".to_owned()),
        ];
        for reply in replies {
            loader.send(&reply).unwrap();
            assert_eq!(worker.receive::<Reply>().unwrap().0, reply);
        }
    }

    #[test]
    fn a_descriptor_comes_with_the_name_that_it_was_sent_with() {
        use std::io::Read as _;
        let (worker, loader) = pair();
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"the map", 0).unwrap();
        loader.send_with(&Reply::Map("RECORDS".to_owned()), Some(file.as_fd())).unwrap();
        let (reply, descriptor) = worker.receive::<Reply>().unwrap();
        let mut text = String::new();
        std::fs::File::from(descriptor.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!((reply, text.as_str()), (Reply::Map("RECORDS".to_owned()), "the map"));
    }

    #[test]
    fn junk_is_refused_and_the_next_message_is_taken_all_the_same() {
        let (worker, loader) = pair();
        let junk: [&[u8]; 8] = [
            b"\0\xff\xfe",
            b"{}",
            b"\"reboot\"",
            b"{\"switch\":\"kprobe\"}",
            b"{\"load\":{\"entry\":\"auto\"}}",
            b"{\"load\":{\"entry\":\"auto\",\"own_tgid\":-1}}",
            b"{\"load\":{\"entry\":\"auto\",\"own_tgid\":1,\"object\":\"x\"}}",
            b"\"status\"\"status\"",
        ];
        for bytes in junk {
            send_raw(&worker, bytes);
            let error = loader.receive::<Request>().unwrap_err();
            assert!(matches!(error, ChannelError::Unknown(_)), "{bytes:?}: {error}");
        }
        worker.send(&Request::Status).unwrap();
        assert_eq!(loader.receive::<Request>().unwrap().0, Request::Status);
    }

    #[test]
    fn a_message_that_is_too_long_is_neither_sent_nor_taken() {
        let (worker, loader) = pair();
        let error = loader.send(&Reply::Map("x".repeat(MESSAGE_BYTES_MAX))).unwrap_err();
        assert!(matches!(error, ChannelError::TooLong), "{error}");
        send_raw(&worker, &vec![b' '; MESSAGE_BYTES_MAX + 1]);
        assert!(matches!(loader.receive::<Request>().unwrap_err(), ChannelError::TooLong));
    }

    #[test]
    fn more_descriptors_than_one_are_refused_and_closed() {
        let (worker, loader) = pair();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [worker.as_fd(); 4];
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        rustix::net::sendmsg(&worker, &[IoSlice::new(b"\"status\"")], &mut control, SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(loader.receive::<Request>().unwrap_err(), ChannelError::Descriptors));
    }

    #[test]
    fn the_end_of_one_side_is_told_to_the_other() {
        let (worker, loader) = pair();
        drop(worker);
        assert!(matches!(loader.receive::<Request>().unwrap_err(), ChannelError::Closed));
        assert!(matches!(loader.send(&Reply::Detached).unwrap_err(), ChannelError::Closed));
    }

    #[test]
    fn the_text_of_an_error_fits_into_a_message_however_long_and_odd_it_is() {
        let (worker, loader) = pair();
        let error = io::Error::other("é\u{1}".repeat(1 << 20));
        loader.send(&Reply::failed(&error)).unwrap();
        let Reply::Failed(text) = worker.receive().unwrap().0 else { panic!("another reply") };
        assert!(text.ends_with(" … (cut)") && text.len() < TEXT_BYTES_MAX + 16);
    }

    #[test]
    fn what_is_no_socket_of_a_worker_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Channel::inherited(file.as_fd()).unwrap_err(), ChannelError::NoSocket));
    }
}
