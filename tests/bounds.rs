//! The bounds of the sensor's tables, each reached on purpose from outside: what is beyond is given up and counted, and what is
//! said afterwards is right. The queue's bound is reached in `outage.rs`, the ring's in `storm.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tercel_sensor::enrich::socket::SOCKETS_MAX;

use crate::harness::{Crowd, Pod, SOON, Station, eventually, not_here, work, workload};

/// For bounds that take thousands of processes to reach.
const REACHED_WITHIN: Duration = Duration::from_mins(2);

/// More than are remembered.
const SOCKETS: u64 = 70_000;
/// Holds the records of all of them, so that none is lost.
const ROOMY_RING: (&str, &str) = ("TERCEL_SENSOR_RING_BYTES", "67108864");

/// Nearly as long as a record holds of arguments, and of environment: 48 MiB of texts are 6,300 processes with both.
const LONG_BYTES: usize = 3_900;
const CROWD: usize = 7_000;

/// More than are told apart.
const PREFIXES: usize = 600;

/// Containers whose users are remembered, how many are made at most until one is forgotten, and how many stay meanwhile.
const CONTAINERS_REMEMBERED: usize = 1_024;
const CONTAINERS_MAX: usize = 3 * CONTAINERS_REMEMBERED;
const CONTAINERS_AT_ONCE: usize = 32;

#[tokio::test]
async fn sockets_beyond_the_bound_push_out_those_not_used_for_longest() {
    let rules = rule("evt.type = connect and fd.sport = 9 and proc.name = nobody", "connected %fd.name");
    let Some(station) = Station::start(&rules, &[ROOMY_RING]).await else { return };
    work(&["sockets", "--count", &SOCKETS.to_string()]);
    let metrics = station.accounted().await;
    let lost = metrics.account(Some("network")).dropped + metrics.sum("tercel_sensor_recursion_misses_total", &[]);
    let evicted = eventually("the table is full", SOON, async || {
        let metrics = station.metrics().await;
        let known = metrics.sum("tercel_sensor_sockets", &[]);
        let evicted = metrics.sum("tercel_sensor_socket_evictions_total", &[]);
        if known == SOCKETS_MAX.get() as u64 && evicted > 0 {
            Ok(evicted)
        } else {
            Err(format!("{known} known, {evicted} evicted"))
        }
    })
    .await;
    assert!(evicted + lost >= SOCKETS - SOCKETS_MAX.get() as u64, "{evicted} evicted, {lost} lost");
}

#[tokio::test]
async fn texts_of_processes_beyond_the_bound_push_out_who_was_silent_for_longest() {
    let rules =
        rule("evt.type in (execve, execveat) and proc.name = childtouch", "%proc.pname %proc.aname[2] %proc.env[TEXT]");
    let Some(station) = Station::start(&rules, &[ROOMY_RING]).await else { return };
    let crowd = Crowd::gather_with(CROWD, &"x".repeat(LONG_BYTES));
    if crowd.size < CROWD {
        return not_here(&format!("{CROWD} processes are more than may be started: {}", crowd.size));
    }
    eventually("processes are given up", REACHED_WITHIN, async || {
        let metrics = station.metrics().await;
        let evicted = metrics.sum("tercel_sensor_process_evictions_total", &[]);
        let known = metrics.sum("tercel_sensor_processes", &[]);
        if evicted > 0 { Ok(()) } else { Err(format!("{known} known; {}", metrics.losses())) }
    })
    .await;
    station.touch();
    let alert = alert(&station, |_| true).await;
    assert_eq!([&alert["proc.pname"], &alert["proc.aname[2]"]], ["parenttouch", "workload"]);
}

#[tokio::test]
async fn users_of_containers_beyond_the_bound_push_out_others_and_are_named_all_the_same() {
    let rules =
        rule("evt.type in (open, openat) and fd.name = /etc/passwd and user.uid = 4321", "%container.id %user.name");
    let Some(station) = Station::start(&rules, &[]).await else { return };
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/passwd"), "tenant:x:4321:4321::/:/bin/sh\n").unwrap();
    fs::write(root.path().join("etc/group"), "tenant:x:4321:\n").unwrap();
    let evictions = async || station.metrics().await.sum("tercel_sensor_container_users_evictions_total", &[]);
    let (mut made, mut named) = (0, 0);
    while made < CONTAINERS_MAX && (made <= CONTAINERS_REMEMBERED || evictions().await == 0) {
        let tenants: Vec<_> = (0..CONTAINERS_AT_ONCE).map(|_| Tenant::move_in(root.path())).collect();
        made += tenants.len();
        // While they stay their files can be read; the sensor waits for them, but not for long.
        named += named_among(&station, &tenants).await;
    }
    // Where the files came late, or the budget of look-ups was spent, a number stands for the name.
    assert!(evictions().await > 0, "{made} containers, {named} named: {}", station.metrics().await);
    assert!(named > CONTAINERS_REMEMBERED as u64, "{made} containers, {named} named");
}

#[tokio::test]
async fn more_paths_than_the_kernel_side_tells_apart_cost_no_alert() {
    let paths: Vec<_> = (0..PREFIXES).map(|number| format!("fd.name startswith FOLDER/{number}/")).collect();
    let condition = format!("evt.type in (open, openat) and evt.is_open_read = true and ({})", paths.join(" or "));
    let Some(station) = Station::start(&rule(&condition, "opened %fd.name"), &[]).await else { return };
    assert!(station.log().contains("rules name so many paths"), "{}", station.log());
    for number in [0, PREFIXES - 1] {
        let path = station.folder().join(format!("{number}/file"));
        fs::File::open(&path).unwrap_err();
        alert(&station, |fields| fields["fd.name"] == json!(path)).await;
    }
}

/// Waits for the alerts of all of these, and counts those whose user has a name.
async fn named_among(station: &Station, tenants: &[Tenant]) -> u64 {
    eventually("alerts of all containers", SOON, async || {
        let ids: BTreeSet<_> = tenants.iter().map(|tenant| tenant.pod.container_id()).collect();
        let alerts = station.alerts("Bound");
        let fields = alerts.iter().rev().take(2 * CONTAINERS_AT_ONCE).map(|alert| &alert["output_fields"]);
        let of_these: Vec<_> =
            fields.filter(|fields| fields["container.id"].as_str().is_some_and(|id| ids.contains(id))).collect();
        if of_these.len() < tenants.len() {
            return Err(format!("{} of {}", of_these.len(), tenants.len()));
        }
        Ok(of_these.iter().filter(|fields| fields["user.name"] == "tenant").count() as u64)
    })
    .await
}

/// A process in a container of its own.
struct Tenant {
    process: Child,
    pod: Pod,
}

impl Tenant {
    fn move_in(root: &Path) -> Self {
        let pod = Pod::new();
        let mut command = Command::new(workload());
        command.arg("inhabit").arg("--root").arg(root).arg("--cgroup").arg(pod.path().join("cgroup.procs"));
        Self { process: command.stdin(Stdio::piped()).spawn().unwrap(), pod }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

fn rule(condition: &str, output: &str) -> String {
    format!("- rule: Bound\n  desc: d\n  condition: {condition}\n  output: '{output}'\n  priority: NOTICE\n")
}

/// Waits for the alert whose fields are wanted, and gives these.
async fn alert(station: &Station, is_wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("the alert", SOON, async || {
        let alerts = station.alerts("Bound");
        let found = alerts.iter().map(|alert| &alert["output_fields"]).find(|fields| is_wanted(fields)).cloned();
        let losses = station.metrics().await.losses();
        found.ok_or_else(|| format!("{} others; {losses}; {:?}", alerts.len(), alerts.last()))
    })
    .await
}
