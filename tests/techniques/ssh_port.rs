//! Rule "Disallowed SSH Connection Non Standard Port": ssh connects to a port that is meant for something else. The rule
//! leaves out 127.0.0.0/8 but not `::1`, which is this machine too.
//! Near misses: another port; another program; 127.0.0.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

use anyhow::Context as _;

use crate::technique::Technique;

const RULE: &str = "Disallowed SSH Connection Non Standard Port";

const LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Those of the rule.
const PORTS: [u16; 7] = [4444, 8443, 88, 8080, 53, 443, 80];

const ARGUMENTS: &[&str] = &["-p", "4444", "user@localhost"];

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("ssh-to-other-port", RULE, |_| connect(LOOPBACK, &PORTS)).by("ssh", ARGUMENTS),
    Technique::near_miss("ssh-to-any-port", RULE, |_| connect(LOOPBACK, &[0])).by("ssh", ARGUMENTS),
    Technique::near_miss("curl-to-other-port", RULE, |_| connect(LOOPBACK, &PORTS)).by("curl", ARGUMENTS),
    Technique::near_miss("ssh-to-ipv4-loopback", RULE, |_| connect(Ipv4Addr::LOCALHOST.into(), &PORTS))
        .by("ssh", ARGUMENTS),
];

/// To a listener of its own, on the first of these ports that is free.
fn connect(address: IpAddr, ports: &[u16]) -> anyhow::Result<()> {
    let mut listeners = ports.iter().filter_map(|&port| TcpListener::bind((address, port)).ok());
    let listener = listeners.next().with_context(|| format!("none of the ports {ports:?} of {address} is free"))?;
    TcpStream::connect(listener.local_addr()?)?;
    Ok(())
}
