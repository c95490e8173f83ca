//! The order of the router's system calls: what it says with a 202 is on the disk before it says it.

mod calls;
mod proof;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use tercel_alert::Alert;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::{Process, alert, binary, free_address, http_client, skipped};
use proof::Proved;

/// Senders at once, so that commits hold requests of several.
const SENDERS: u64 = 4;

/// Requests of each. Of the many: their alerts fill a journal, 64 MB, so that another begins.
const FEW: u64 = 15;
const MANY: u64 = 45;
const OUTPUT_BYTES: usize = 400_000;

/// What of each text the trace holds: an alert's id stands at its beginning.
const SHOWN_BYTES: &str = "10000";

/// The router's every call is held twice, and it is built for debugging.
const READY: Duration = Duration::from_mins(1);
const STOPPED: Duration = Duration::from_mins(1);

/// What a file or folder comes into being by, is written by, and gets to the disk by; and what says so.
const CALLS: &str = "trace=openat,mkdir,rename,write,writev,sendto,sendmsg,read,recvfrom,fsync,fdatasync";

/// The disk gives up once, at a sync that somebody waits for.
const FAILURE: &str = "inject=fdatasync:error=EIO:when=10";

/// A refused request is sent again after so long.
const AGAIN: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_202_speaks_of_was_synced_before_it() {
    let Some((proved, sent)) = traced(MANY, &[], true).await else { return };
    let proved = proved.unwrap();
    assert_eq!(proved.alerts, sent);
    assert_eq!(proved.answers as u64, SENDERS * MANY);
    assert!(proved.journals.len() > 1, "no new journal was begun: {:?}", proved.journals);
    assert!(proved.folders.len() > 1, "{:?}", proved.folders);
    println!("{} answers, {} alerts, {} journals", proved.answers, proved.alerts.len(), proved.journals.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_sync_left_in_doubt_is_written_anew_before_a_202() {
    let Some((proved, sent)) = traced(FEW, &["-e", FAILURE], true).await else { return };
    let proved = proved.unwrap();
    assert_eq!(proved.alerts, sent);
    assert!(proved.failed_syncs > 0, "{proved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_does_not_sync_is_found_out() {
    let Some((proved, _)) = traced(FEW, &[], false).await else { return };
    let error = proved.unwrap_err();
    assert!(error.contains("is not synced"), "{error}");
}

/// Runs a router below strace and sends it alerts: what the trace proves, and which alerts were acknowledged.
async fn traced(requests: u64, options: &[&str], fsync: bool) -> Option<(Result<Proved, String>, BTreeSet<String>)> {
    if Command::new("strace").arg("-V").output().is_err() {
        skipped("there is no strace");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Nobody listens there: everything stays in the store.
    let routing = "[[route]]\nto = [\"hook\"]\ndedup = { window = \"0s\" }\n\
                   [destination.hook]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n";
    std::fs::write(path("routing.toml"), routing).unwrap();
    let (listen, admin) = (free_address(), free_address());
    let mut command = Command::new("strace");
    // With -D the tracer is a grandchild, so that signals go to the router.
    command.args(["-D", "-f", "-yy", "-xx", "-s", SHOWN_BYTES, "--seccomp-bpf", "-e", CALLS]).args(options);
    command.arg("-o").arg(path("trace"));
    command.arg(binary("tercel-router")).args(["run", "--listen", &listen.to_string()]);
    command.args(["--admin", &admin.to_string()]).arg("--state").arg(path("state"));
    command.arg("--routing").arg(path("routing.toml"));
    command.env("TERCEL_ROUTER_FSYNC", fsync.to_string()).env("TERCEL_ROUTER_DRAIN", "1s");
    let mut router = Process::start(&mut command);
    router.ready_within(admin, READY).await;
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(send(requests, format!("http://{listen}/")));
    }
    let sent = senders.join_all().await.concat().into_iter().collect();
    assert!(router.terminate(STOPPED).await.is_some(), "{}", router.stderr());
    let trace = std::fs::read_to_string(path("trace")).unwrap();
    let folder = folder.path().to_str().unwrap();
    Some((proof::prove(&calls::read(&trace), folder), sent))
}

/// One request after the other, each until it is acknowledged; the ids.
async fn send(requests: u64, url: String) -> Vec<String> {
    let client = http_client();
    let mut ids = Vec::new();
    for _ in 0..requests {
        let alert = large_alert();
        let body = serde_json::to_string(&alert).unwrap();
        loop {
            let answer = client.post(&url).body(body.clone()).send().await.unwrap();
            match answer.status().as_u16() {
                202 => break,
                503 => sleep(AGAIN).await,
                other => panic!("{other}"),
            }
        }
        ids.push(alert.uuid.unwrap().to_string());
    }
    ids
}

/// As the type, not as JSON: that puts the id in front.
fn large_alert() -> Alert {
    let mut alert = alert("Rule", "Critical", "cat");
    alert["output"] = "x".repeat(OUTPUT_BYTES).into();
    serde_json::from_value(alert).unwrap()
}
