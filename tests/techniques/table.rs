//! All techniques, in the order in which they are done, and which of them no sensor of ours can see yet.

use anyhow::Context as _;
use clap::ValueEnum;

use crate::technique::Technique;
use crate::{
    aws_credentials, bulk_removal, contact_cluster, debugfs, directory_traversal, dropped_program, hardlink,
    kernel_module, log_erased, memfd, netcat, odd, packet_socket, private_keys, ptrace, redirect, release_agent,
    sensitive_file, shared_memory, ssh_port, symlink, system_user, terminal_shell, untrusted_shell,
};

/// For the rules of Falco's stable file.
const STABLE: &[&[Technique]] = &[
    directory_traversal::TECHNIQUES,
    sensitive_file::TECHNIQUES,
    untrusted_shell::TECHNIQUES,
    system_user::TECHNIQUES,
    terminal_shell::TECHNIQUES,
    contact_cluster::TECHNIQUES,
    netcat::TECHNIQUES,
    private_keys::TECHNIQUES,
    log_erased::TECHNIQUES,
    bulk_removal::TECHNIQUES,
    symlink::TECHNIQUES,
    hardlink::TECHNIQUES,
    packet_socket::TECHNIQUES,
    redirect::TECHNIQUES,
    kernel_module::TECHNIQUES,
    debugfs::TECHNIQUES,
    release_agent::TECHNIQUES,
    ptrace::TECHNIQUES,
    aws_credentials::TECHNIQUES,
    shared_memory::TECHNIQUES,
    dropped_program::TECHNIQUES,
    ssh_port::TECHNIQUES,
    memfd::TECHNIQUES,
];

/// For the rules of `rules.yaml` beside this file: what a hostile process can do to the sensor itself.
const ODD: &[&[Technique]] = &[
    odd::arguments::TECHNIQUES,
    odd::names::TECHNIQUES,
    odd::paths::TECHNIQUES,
    odd::processes::TECHNIQUES,
    odd::pid_reuse::TECHNIQUES,
    odd::short_container::TECHNIQUES,
];

/// Techniques that are missed until what they wait for is there. One that is seen must leave this table.
const WAITS: &[(&str, &str)] = &[("debugfs", RUNTIME)];

const RUNTIME: &str = "what container runtimes say about a container";

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Set {
    Stable,
    Odd,
}

/// The techniques of one set; without it, all.
pub(crate) fn of(set: Option<Set>) -> impl Iterator<Item = &'static Technique> {
    let (stable, odd): (&[&[_]], &[&[_]]) = match set {
        None => (STABLE, ODD),
        Some(Set::Stable) => (STABLE, &[]),
        Some(Set::Odd) => (&[], ODD),
    };
    stable.iter().chain(odd).copied().flatten()
}

pub(crate) fn find(name: &str) -> anyhow::Result<&'static Technique> {
    let known = || of(None).map(|technique| technique.name).collect::<Vec<_>>().join(", ");
    of(None)
        .find(|technique| technique.name == name)
        .with_context(|| format!("technique `{name}`: there is none; known are {}", known()))
}

/// Why a technique is not seen yet.
pub(crate) fn waits_for(name: &str) -> Option<&'static str> {
    WAITS.iter().find(|(waiting, _)| *waiting == name).map(|(_, reason)| *reason)
}
