//! What the tests stand on.

/// Many processes that sleep.
mod crowd;
/// File systems of a test's own: small ones, and ones that may not be written.
mod disk;
/// Alerts that are sent one by one.
mod load;
/// Prometheus' text format, read back: values by name and labels, and the conservation law.
mod metrics;
/// A cgroup that looks as a container's.
mod pod;
/// Tercel's programs as processes: started, read, asked to stop.
mod process;
/// A router in this process, on free ports and in a folder of its own.
mod router;
/// The sensor on this machine's kernel, with a router and a webhook behind it.
mod sensor;
/// The router as shipped, in a process of its own that can be killed.
mod shipped;
/// A sensor with rules of a test's own, and workloads beside it.
mod station;
/// What a process uses.
mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::receivers::Webhook;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

pub(crate) use crowd::Crowd;
pub(crate) use disk::Disk;
pub(crate) use load::Load;
pub(crate) use metrics::Metrics;
pub(crate) use pod::Pod;
pub(crate) use process::{Process, binary, free_address, losses, run, scrape};
pub(crate) use router::{Answer, TestRouter, http_client, listening_router, router_process};
pub(crate) use sensor::{Cat, Watch, can_watch, kernel, not_here, sensor_command, skipped};
pub(crate) use shipped::{Router, router_command};
pub(crate) use station::{Station, work, workload};
pub(crate) use usage::Usage;

/// For everything that takes milliseconds on an idle machine; builds may run beside the tests.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// The root of the repository.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// The text of a file of the repository.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = workspace().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder of the repository, in order.
pub(crate) fn files_below(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let folder = workspace().join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files_below(path) } else { vec![path] }).collect()
}

/// What the kernel calls this process.
pub(crate) fn own_name() -> String {
    std::fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap().trim_end().to_owned()
}

/// Looks until `look` says `Ok`; fails with what it said last.
pub(crate) async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(start.elapsed() < within, "{what}: not within {within:?}; seen instead: {seen}"),
        }
        sleep(POLL).await;
    }
}

/// An alert as the sensor sends it. `process` tells alerts of one rule apart: it is part of the fingerprint.
pub(crate) fn alert(rule: &str, priority: &str, process: &str) -> Value {
    json!({
        "uuid": uuid::Uuid::now_v7(),
        "time": jiff::Timestamp::now().to_string(),
        "rule": rule,
        "priority": priority,
        "source": "syscall",
        "hostname": "node-1",
        "output": format!("{rule} | process={process} user=root"),
        "output_fields": {
            "container.id": "host",
            "evt.time": 1_764_000_000_000_000_000_i64,
            "fd.name": "/etc/shadow",
            "k8s.ns.name": null,
            "proc.cmdline": format!("{process} /etc/shadow"),
            "proc.exepath": format!("/usr/bin/{process}"),
            "proc.name": process,
            "user.name": "root",
            "user.uid": 0,
        },
        "tags": ["T1003", "host"],
    })
}

/// `[destination.NAME]` of a webhook.
pub(crate) fn webhook(name: &str, receiver: &Webhook) -> String {
    format!("[destination.{name}]\ntype = \"webhook\"\nurl = \"{}\"\n", receiver.url())
}

/// Routing that sends everything to one webhook, `hook`, without deduplication. `more` goes into the route.
pub(crate) fn all_to(receiver: &Webhook, more: &str) -> String {
    let dedup = if more.contains("dedup") { "" } else { "dedup = { window = \"0s\" }\n" };
    format!("[[route]]\nname = \"all\"\nto = [\"hook\"]\n{dedup}{more}\n{}", webhook("hook", receiver))
}

/// An alert of somebody who controls every text in it: mentions, line breaks, terminal codes, text direction, bytes that
/// were no UTF-8, and a command line of 100 KB.
pub(crate) fn nasty_alert() -> Value {
    let poison =
        "<!channel> <@U1> *b* `c` </script> {{rule}} \"}],\r\n\u{1b}[31mred\u{1b}[0m \u{202e}txt\u{0}\u{fffd}é";
    let mut alert = alert("Nasty <!here> \"rule\"\r\n\u{1b}]0;x\u{7}", "Critical", "cat");
    alert["output"] = json!(format!("{poison} {}", "é😀".repeat(20_000)));
    alert["hostname"] = json!(poison);
    alert["output_fields"]["proc.cmdline"] = json!(format!("{poison} {}", "A".repeat(100_000)));
    alert["output_fields"]["proc.name"] = json!(poison);
    alert["output_fields"]["user.name"] = json!(["list", {"of": poison}]);
    alert["output_fields"][poison] = json!(poison);
    alert["tags"] = json!([poison, "T1003"]);
    alert
}
