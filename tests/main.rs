//! Tercel seen from outside, as one test binary: `cargo test --package e2e`. The binaries must be built before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails on the spot")]

/// Rules, routing files, ports and rights that cannot be used: exit codes and messages.
mod bad_input;
/// The bounds of the sensor's tables, each reached on purpose.
mod bounds;
/// A router that is killed again and again under load.
mod chaos;
/// A wall clock that is set back and ahead.
mod clock;
/// The router against real servers.
mod components;
/// Alerts and destinations at random, and what every destination counts at the end.
mod conservation;
/// Containers of a test's own: a containerd, and what a kubelet asks of it.
mod containers;
/// A store that is damaged at random between two lives of the router.
mod damage;
/// A destination that is dead for the whole of a long run, beside a healthy one.
mod dead_destination;
/// Both programs as shipped, from a read to the console.
mod demo;
/// The routing files of the manifests, and a node that hands over to a central router.
mod deployment;
/// Each destination against a stand-in for its service.
mod destinations;
/// Disks that are full, may not be written, or have damage on them.
mod disk;
/// What `elasticsearch setup` installs on servers of each kind.
mod elasticsearch_setup;
/// A router whose destinations fail, hang, refuse or are too slow, and that is told to stop.
mod failure;
/// One router, from the request to the notification: routes, deduplication, limits, hostile texts.
mod flow;
/// What the tests stand on: the router in process, alerts to send, metrics to read, waits that say what they saw.
mod harness;
/// The images as the DaemonSet runs them.
mod images;
/// What senders are told, and what operators may ask.
mod ingest;
/// The real sensor on this machine's kernel: real actions of attackers by Falco's stable rules, and what a hostile process
/// can do to the sensor itself.
mod kernel;
/// The manifests and the images on a real cluster.
mod kubernetes;
/// The sensor's two processes: what each may do, how one follows the other, and switching under load.
mod loader;
/// Rules that match what a router does to deliver their own alerts.
mod muting;
/// Who is notified, how often and how: storms, incidents, threads, secrets that are rotated.
mod notify;
/// What operators see and change at a running router, through its commands.
mod operations;
/// A router that is killed and away while the sensor goes on: nothing lost, or counted.
mod outage;
/// A real Prometheus, and what dashboards and alerting rules ask it for.
mod prometheus;
/// Recordings made on this machine's kernel, and replayed by somebody without rights.
mod recording;
/// A configuration that changes while the router runs.
mod reload;
/// Real container runtimes: what alerts tell of their containers and pods.
mod runtimes;
/// The real sensor on this machine's kernel: every rule, links, containers, load, stopping.
mod sensor;
/// A mixed load for long: memory flat, tables within bounds, nothing missing.
mod soak;
/// A router that is told to stop, and a sensor beside it that still has something to say.
mod stopping;
/// More events than two CPUs can take, beside a table of thousands of processes.
mod storm;
/// What holds across files and crates, and no compiler checks.
mod tidy;
/// The order of the router's system calls, as strace sees it.
mod trace;
/// For every shipped rule one harmless action that it must see.
mod triggers;
