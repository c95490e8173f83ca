//! Rule "Packet socket created in container": a socket that sees every frame.
//! Near misses: on the host; an ordinary socket. None is bound to anything.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Packet socket created in container";

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("packet-socket", RULE, |_| make(AddressFamily::PACKET)).within(Layout::PodCrio),
    Technique::near_miss("packet-socket-on-host", RULE, |_| make(AddressFamily::PACKET)),
    Technique::near_miss("ip-socket", RULE, |_| make(AddressFamily::INET)).within(Layout::PodCrio),
];

/// A kernel without such sockets says so; the call was made.
fn make(family: AddressFamily) -> anyhow::Result<()> {
    match socket(family, SocketType::DGRAM, None) {
        Err(error) if error != Errno::AFNOSUPPORT => Err(error.into()),
        _ => Ok(()),
    }
}
