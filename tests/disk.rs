//! The router as shipped on disks that are full, may not be written, or have damage on them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::receivers::{Answer, Received, Webhook};
use serde_json::Value;

use crate::harness::{Answer as Said, Disk, Router, alert, eventually, router_command, run, webhook};

/// Small enough to be filled soon; the router leaves 32 MiB free for itself.
const DISK_MIB: u64 = 120;

/// Retries, the store's second thoughts after a failure, and a machine that is busy.
const RECOVERS: Duration = Duration::from_mins(1);

const OUTPUT_BYTES: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_alerts_delivers_old_ones_and_loses_none() {
    let Some(disk) = Disk::in_memory(DISK_MIB) else { return };
    let (hook, picky) = (Webhook::start().await, Webhook::start().await);
    hook.answer_always(Answer::Status(503));
    picky.answer_always(Answer::Status(503));
    let router = Router::start(disk.path().join("state"), &to_both(&hook, &picky)).await;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..50 {
        acknowledged.insert(sent(&router).await.unwrap());
    }

    let ballast = fill(&disk.path(), 20 << 20);
    let refusal = sent(&router).await.unwrap_err();
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.retry_after.is_some() && refusal.body.contains("nothing was taken"), "{refusal:?}");
    hook.answer_always(Answer::Normal);
    // It refuses for good: dead letters must be written although alerts are not.
    picky.answer_always(Answer::Status(400));
    eventually("all is delivered or dead", RECOVERS, async || {
        let metrics = router.metrics().await;
        let (delivered, dead) = (metrics.of("hook", "delivered_total"), metrics.of("picky", "dead_total"));
        if (delivered, dead) == (50, 50) { Ok(()) } else { Err(format!("{delivered} delivered, {dead} dead")) }
    })
    .await;
    // What was refused after them was decided after them: the outcomes are written, and the next start makes none again.
    assert_eq!(sent(&router).await.unwrap_err().status, 503, "still full");
    let router = router.killed_and_started().await;
    let metrics = router.metrics().await;
    assert_eq!(metrics.sum("tercel_router_recovered_total", &[]), 0, "{metrics}");

    std::fs::remove_file(ballast).unwrap();
    acknowledged.insert(again_until_taken(&router).await);
    arrived(&hook, &acknowledged).await;
    assert_eq!(hook.accepted().len(), acknowledged.len(), "each once");
    undamaged(&router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_others_fill_to_the_last_byte_costs_nothing_that_was_acknowledged() {
    let Some(disk) = Disk::in_memory(DISK_MIB) else { return };
    let hook = Webhook::start().await;
    hook.answer_always(Answer::Status(503));
    let router = Router::start(disk.path().join("state"), &to_both(&hook, &hook)).await;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..20 {
        acknowledged.insert(sent(&router).await.unwrap());
    }
    let ballast = fill(&disk.path(), 0);
    hook.answer_always(Answer::Normal);
    assert_eq!(sent(&router).await.unwrap_err().status, 503);
    arrived(&hook, &acknowledged).await;
    std::fs::remove_file(ballast).unwrap();
    acknowledged.insert(again_until_taken(&router).await);
    let router = router.killed_and_started().await;
    acknowledged.insert(again_until_taken(&router).await);
    arrived(&hook, &acknowledged).await;
}

#[tokio::test]
async fn a_state_folder_that_may_not_be_written_ends_the_start_with_a_message() {
    let Some(disk) = Disk::in_memory(DISK_MIB) else { return };
    let folder = tempfile::tempdir().unwrap();
    let hook = Webhook::start().await;
    let routing = folder.path().join("routing.toml");
    std::fs::write(&routing, to_both(&hook, &hook)).unwrap();
    disk.remount("ro");
    let state = disk.path().join("state");
    let output = run(&mut router_command(&routing, &state)).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [&*state.to_string_lossy(), "Read-only file system", "--state"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_read_only_refuses_alerts_and_what_was_acknowledged_is_there_afterwards() {
    let Some(disk) = Disk::on_file(DISK_MIB) else { return };
    let hook = Webhook::start().await;
    hook.answer_always(Answer::Status(503));
    let mut router = Router::start(disk.path().join("state"), &to_both(&hook, &hook)).await;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..20 {
        acknowledged.insert(sent(&router).await.unwrap());
    }
    disk.fail();
    let refusal = sent(&router).await.unwrap_err();
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.retry_after.is_some(), "{refusal:?}");
    assert_eq!(sent(&router).await.unwrap_err().status, 503, "and again");
    router.killed().await;
    disk.repair();
    let router = router.started_again().await;
    acknowledged.insert(again_until_taken(&router).await);
    hook.answer_always(Answer::Normal);
    arrived(&hook, &acknowledged).await;
    undamaged(&router).await;
}

/// Waits until these and no others have come.
async fn arrived(hook: &Webhook, acknowledged: &BTreeSet<String>) {
    eventually("what was acknowledged is delivered", RECOVERS, async || {
        let seen = ids(&hook.accepted());
        if seen == *acknowledged { Ok(()) } else { Err(format!("{} of {}", seen.len(), acknowledged.len())) }
    })
    .await;
}

async fn undamaged(router: &Router) {
    let metrics = router.metrics().await;
    for kind in ["corrupt", "quarantines"] {
        assert_eq!(metrics.sum("tercel_router_store_faults", &[("kind", kind)]), 0, "{metrics}");
    }
}

fn to_both(hook: &Webhook, picky: &Webhook) -> String {
    let route = "[[route]]\nto = [\"hook\", \"picky\"]\ndedup = { window = \"0s\" }\n";
    format!("{route}{}{}", webhook("hook", hook), webhook("picky", picky))
}

/// An alert of its own; its id where it was acknowledged.
async fn sent(router: &Router) -> Result<String, Said> {
    let mut alert = alert("Rule", "Critical", "cat");
    alert["output"] = "x".repeat(OUTPUT_BYTES).into();
    let answer = router.post(&alert).await;
    if answer.status == 202 { Ok(id(&alert)) } else { Err(answer) }
}

/// As a sender does it that was asked to come again.
async fn again_until_taken(router: &Router) -> String {
    let alert = alert("Rule", "Critical", "cat");
    eventually("it is taken", RECOVERS, async || match router.post(&alert).await {
        answer if answer.status == 202 => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await;
    id(&alert)
}

fn id(alert: &Value) -> String {
    alert["uuid"].as_str().unwrap().to_owned()
}

fn ids(received: &[Received]) -> BTreeSet<String> {
    received.iter().map(|request| id(&request.json())).collect()
}

/// Takes all room but for so many bytes.
fn fill(disk: &Path, left: u64) -> PathBuf {
    let path = disk.join("ballast");
    let mut file = File::create(&path).unwrap();
    let free = || {
        let numbers = rustix::fs::statvfs(disk).unwrap();
        numbers.f_bavail * numbers.f_frsize
    };
    while free() > left && file.write_all(&[1; 4_096]).is_ok() {}
    path
}
