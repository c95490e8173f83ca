//! Rule "Contact K8S API Server From Container": a connection to the address that has the API server's name. The sensor
//! must believe it has: `technique resolve` starts it so.
//! Near misses: from the host; to another address.

use std::net::{Ipv4Addr, UdpSocket};

use crate::container::Layout;
use crate::technique::Technique;

const RULE: &str = "Contact K8S API Server From Container";

pub(crate) const NAME: &str = "kubernetes.default.svc.cluster.local";

/// On the loopback interface, where nobody listens.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 2);

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("api-server-from-container", RULE, |_| connect(ADDRESS)).within(Layout::PodContainerd),
    Technique::near_miss("api-server-from-host", RULE, |_| connect(ADDRESS)),
    Technique::near_miss("other-server-from-container", RULE, |_| connect(OTHER)).within(Layout::PodContainerd),
];

/// To connect a UDP socket sends nothing.
fn connect(address: Ipv4Addr) -> anyhow::Result<()> {
    Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect((address, 443))?)
}
