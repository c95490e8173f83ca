//! The ends of a connection, seen from either of them: the socket itself tells which is local.

use super::*;

const CLIENT_ADDRESS: &[u8] = &[2, 0, 15, 160, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];

#[track_caller]
fn check(state: &mut State, record: &Builder, expected: &[(&str, &str)]) {
    Checked::default().check_applied(state, record, expected);
}

/// From 10.0.0.1:22 to 10.0.0.2:4000.
fn served() -> DescriptorFacts {
    DescriptorFacts { local_port: 22, ..Builder::socket(6, [10, 0, 0, 2], 4_000) }
}

fn accept(facts: &DescriptorFacts) -> Builder {
    let accept = Builder::call(RecordKind::Network, "accept4", [3, 0, 0, 0, 0, 0], 5);
    accept.string(CLIENT_ADDRESS).facts(facts).string(b"")
}

#[test]
fn the_server_s_own_end_is_local() {
    let mut state = state_with_cat();
    check(
        &mut state,
        &accept(&served()),
        &[
            ("fd.name", "10.0.0.2:4000->10.0.0.1:22"),
            ("fd.cip", "10.0.0.2"),
            ("fd.cport", "4000"),
            ("fd.sip", "10.0.0.1"),
            ("fd.sport", "22"),
            ("fd.lip", "10.0.0.1"),
            ("fd.lport", "22"),
            ("fd.lproto", "22"),
            ("fd.lnet", "10.0.0.1"),
            ("fd.rip", "10.0.0.2"),
            ("fd.rport", "4000"),
            ("fd.rproto", "4000"),
            ("fd.rnet", "10.0.0.2"),
            ("fd.is_server", "true"),
        ],
    );
    // What is done with the socket later, too.
    let shutdown = Builder::call(RecordKind::Network, "shutdown", [5, 1, 0, 0, 0, 0], 0).facts(&served()).string(b"");
    check(&mut state, &shutdown, &[("fd.lport", "22"), ("fd.rport", "4000"), ("fd.is_server", "true")]);
}

#[test]
fn within_one_machine_each_process_has_its_own_end_as_the_local_one() {
    let mut state = state_with_cat();
    let server = DescriptorFacts { local: loopback(), remote: loopback(), ..served() };
    let both = [("fd.lip", "127.0.0.1"), ("fd.rip", "127.0.0.1"), ("fd.is_server", "true")];
    check(&mut state, &accept(&server), &[&both[..], &[("fd.lport", "22"), ("fd.rport", "4000")]].concat());
    let client = DescriptorFacts { inode: 10, local_port: 4_000, remote_port: 22, ..server };
    let address = &[2, 0, 0, 22, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    check(
        &mut state,
        &Builder::connect(&client, 0, address),
        &[&both[..], &[("fd.lport", "4000"), ("fd.rport", "22"), ("fd.sport", "22")]].concat(),
    );
}

fn loopback() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&[127, 0, 0, 1]);
    bytes
}

#[test]
fn a_socket_that_listens_has_a_local_end_alone() {
    let mut state = state_with_cat();
    let facts = DescriptorFacts { state: 10, local_port: 22, ..Builder::socket(6, [0; 4], 0) };
    let listen = Builder::call(RecordKind::Network, "listen", [3, 128, 0, 0, 0, 0], 0).facts(&facts).string(b"");
    check(
        &mut state,
        &listen,
        &[
            ("fd.name", "10.0.0.1:22"),
            ("fd.lip", "10.0.0.1"),
            ("fd.lport", "22"),
            ("fd.rip", "-"),
            ("fd.rport", "-"),
            ("fd.sip", "10.0.0.1"),
            ("fd.cip", "-"),
            ("fd.is_server", "true"),
        ],
    );
}

#[test]
fn of_datagrams_whoever_got_the_first_one_serves() {
    let mut state = state_with_cat();
    let facts = DescriptorFacts { inode: 20, state: 7, local_port: 53, ..Builder::socket(17, [0; 4], 0) };
    let receive = Builder::call(RecordKind::Network, "recvfrom", [5, 0, 100, 0, 0, 0], 40);
    let receive = receive.string(CLIENT_ADDRESS).string(b"question").facts(&facts).string(b"");
    let expected = [
        ("fd.name", "10.0.0.2:4000->10.0.0.1:53"),
        ("fd.lip", "10.0.0.1"),
        ("fd.lport", "53"),
        ("fd.rip", "10.0.0.2"),
        ("fd.rport", "4000"),
        ("fd.is_server", "true"),
    ];
    check(&mut state, &receive, &expected);
    let reply = Builder::call(RecordKind::Network, "sendto", [5, 0, 40, 0, 0, 16], 40);
    let reply = reply.string(CLIENT_ADDRESS).string(b"answer").facts(&facts).string(b"");
    check(&mut state, &reply, &expected);
}

#[test]
fn what_is_no_socket_serves_nobody() {
    let mut state = state_with_cat();
    check(&mut state, &Builder::open("/x", 3), &[("fd.is_server", "false"), ("fd.lip", "-")]);
    check(&mut state, &Builder::open("/x", -2), &[("fd.is_server", "-")]);
}
