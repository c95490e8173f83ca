//! The real sensor on this machine's kernel, its alerts read at a webhook behind a router.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tercel_sensor::detect::Detector;

use crate::harness::{Cat, Metrics, Pod, SOON, Watch, eventually, own_name, workspace};
use crate::triggers::{Done, Stage, TRIGGERS, Trigger, UNTRIGGERED};

/// From SIGTERM to the end of the sensor.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// As many opens as there are in a few seconds of a busy build.
const OPENS: u64 = 200_000;
const OPENING_THREADS: u64 = 4;

/// A hundred programs, one after the other.
const READ_A_HUNDRED_TIMES: &str = "i=0; while [ $i -lt 100 ]; do \"$0\" /etc/shadow; i=$((i+1)); done";

#[tokio::test]
async fn every_shipped_rule_sees_what_it_is_for_and_says_who_did_it() {
    let Some(watch) = Watch::start("").await else { return };
    let stage = Stage::new();
    let mut done = Vec::new();
    for trigger in TRIGGERS {
        let act = trigger.pull(&stage);
        let what = format!("`{}` sees {}", trigger.rule, act.report);
        let alert = watch.wait_for(act.pid, &what, |alert| alert["rule"] == trigger.rule).await;
        check(&alert, trigger, &act);
        done.push((trigger.rule, act.pid));
    }
    for (rule, pid) in done {
        let rules: Vec<_> = watch.about(pid).iter().map(|alert| alert["rule"].clone()).collect();
        assert_eq!(rules, [rule], "one action is one alert");
    }
    watch.router.settled().await;
}

#[tokio::test]
async fn a_secret_read_by_its_name_or_through_a_link_is_one_alert_each() {
    let Some(watch) = Watch::start("").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("harmless");
    symlink("/etc/shadow", &link).unwrap();
    for path in ["/etc/shadow", link.to_str().unwrap()] {
        let pid = cat(path);
        let alert = watch.wait_for(pid, path, |alert| alert["rule"] == "Credential file read").await;
        let fields = &alert["output_fields"];
        assert_eq!((&fields["fd.name"], &fields["fd.realpath"]), (&json!(path), &json!("/etc/shadow")));
        // Alerts keep their order: when the next is there, no second one of the first is on its way.
        let next = cat("/etc/gshadow");
        watch.wait_for(next, "the next alert", |_| true).await;
        assert_eq!(watch.about(pid).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_hundred_reads_by_a_hundred_processes_are_one_alert_and_a_summary() {
    let Some(watch) = Watch::start("dedup = { window = \"2s\" }").await else { return };
    let cat = Cat::new();
    let status = Command::new("sh").args(["-c", READ_A_HUNDRED_TIMES, &cat.path()]).stdout(Stdio::null()).status();
    assert!(status.unwrap().success());
    let about_cat = || {
        let alerts = watch.hook.received().into_iter().map(|request| request.json());
        let is_ours = |alert: &Value| {
            alert["rule"] == "Credential file read" && alert["output_fields"]["proc.exepath"] == cat.path()
        };
        alerts.filter(is_ours).collect::<Vec<_>>()
    };
    // Told with the first alert are those that came while it was on its way.
    let told = |alert: &Value| match alert["notification"]["count"].as_u64() {
        Some(count) => count,
        None => 1 + alert["repeats"].as_u64().unwrap_or(0),
    };
    eventually("all are told of", SOON, async || {
        let alerts = about_cat();
        if alerts.iter().map(told).sum::<u64>() == 100 { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await;
    let alerts = about_cat();
    assert!(alerts.len() <= 2 && alerts[0].get("notification").is_none(), "the first is the alert itself: {alerts:?}");
    watch.router.settled().await;
}

#[tokio::test]
async fn a_process_in_a_pod_is_reported_with_its_container() {
    let Some(watch) = Watch::start("").await else { return };
    let pod = Pod::new();
    let script = "echo $$ > \"$0/cgroup.procs\" && cat /etc/shadow; exec cat /etc/gshadow";
    let mut child = Command::new("sh").args(["-c", script]).arg(pod.path()).stdout(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    let alert = watch.wait_for(child.id(), "the shell that became cat", |_| true).await;
    assert_eq!(
        alert["output_fields"]["container.id"],
        pod.container_id(),
        "of a process that entered, and ran a program"
    );
    let inherited = eventually("the shell's child", SOON, async || {
        let alerts = watch.hook.received().into_iter().map(|request| request.json());
        let read = alerts.filter(|alert| alert["output_fields"]["fd.name"] == "/etc/shadow").collect::<Vec<_>>();
        read.into_iter().find(|alert| alert["output_fields"]["container.id"] == pod.container_id()).ok_or("none".into())
    })
    .await;
    assert_eq!(inherited["output_fields"]["proc.pname"], "sh");
}

#[tokio::test]
async fn a_sensor_that_is_told_to_stop_sends_what_it_saw_and_ends_well() {
    let Some(mut watch) = Watch::start("").await else { return };
    let pid = cat("/etc/shadow");
    let status = watch.terminate(STOP_WITHIN).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", watch.log());
    watch.wait_for(pid, "what was seen just before the end", |_| true).await;
}

#[tokio::test]
async fn under_load_every_event_is_read_or_counted_as_dropped() {
    let Some(watch) = Watch::start("").await else { return };
    let before = watch.metrics().await;
    open_often();
    let (metrics, _) = accounted(&watch).await;
    let skipped = metrics.sum("tercel_sensor_recursion_misses_total", &[]);
    let opens = |metrics: &Metrics| metrics.sum("tercel_sensor_kernel_seen_total", &[("kind", "open")]);
    let seen = opens(&metrics) - opens(&before);
    assert!(seen + skipped >= OPENS, "{seen} of {OPENS} opens seen, {skipped} skipped by the kernel");
    assert_eq!(metrics.sum("tercel_sensor_malformed_total", &[]), 0);
}

#[tokio::test]
async fn a_sensor_that_was_held_up_says_exactly_how_much_it_missed() {
    let Some(watch) = Watch::start("").await else { return };
    watch.signal(Signal::STOP);
    open_often();
    watch.signal(Signal::CONT);
    let (_, dropped) = accounted(&watch).await;
    assert!(dropped > 0, "the ring holds less than {OPENS} opens");
    let pid = cat("/etc/shadow");
    watch.wait_for(pid, "an alert after the gap", |_| true).await;
}

/// [`OPENS`] opens by a few threads.
fn open_often() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    File::create(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..OPENING_THREADS {
            scope.spawn(|| (0..OPENS / OPENING_THREADS).for_each(|_| drop(File::open(&path).unwrap())));
        }
    });
}

/// Waits until what the kernel side saw is what was read or dropped, and the gaps in the records are what was dropped.
/// Gives the metrics, and how many were dropped.
async fn accounted(watch: &Watch) -> (Metrics, u64) {
    eventually("every event is accounted for", SOON, async || {
        let metrics = watch.metrics().await;
        let names = ["kernel_seen_total", "events_total", "dropped_total", "lost_total"];
        let [seen, read, dropped, lost] = names.map(|name| metrics.sum(&format!("tercel_sensor_{name}"), &[]));
        if seen == read + dropped && lost == dropped {
            Ok((metrics, dropped))
        } else {
            Err(format!("{seen} seen, {read} read, {dropped} dropped, {lost} lost"))
        }
    })
    .await
}

#[test]
fn every_rule_about_reported_events_has_a_trigger_or_a_reason_and_every_trigger_a_rule() {
    let rules =
        tercel_sensor::rules::load(&[workspace().join("rules")], &tercel_sensor::fields::SensorCatalog).unwrap();
    let names: BTreeSet<_> = rules.rules.iter().map(|rule| rule.name.clone()).collect();
    let detector = Detector::new(rules).unwrap();
    let unreported: BTreeSet<_> = detector.unreported().map(|rule| rule.name.to_string()).collect();
    let covered = TRIGGERS.iter().map(|trigger| trigger.rule).chain(UNTRIGGERED.map(|(rule, _)| rule));
    let covered: BTreeSet<_> = covered.map(str::to_owned).collect();
    assert_eq!(names.difference(&unreported).cloned().collect::<BTreeSet<_>>(), covered);
}

/// A process that reads this file; its id.
fn cat(path: &str) -> u32 {
    let mut child = Command::new("cat").arg(path).stdout(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[track_caller]
fn check(alert: &Value, trigger: &Trigger, done: &Done) {
    assert_eq!(alert["priority"], trigger.priority, "{alert}");
    assert_eq!(
        (&alert["source"], &alert["output_fields"]["user.name"]),
        (&json!("syscall"), &json!("root")),
        "{alert}"
    );
    assert_eq!(alert["output_fields"]["proc.pname"], own_name(), "{alert}");
    for (field, value) in &done.fields {
        assert_eq!(&alert["output_fields"][field], value, "{field}: {alert}");
    }
}
