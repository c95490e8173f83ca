//! The images that `cargo xtask image` builds, run by a real containerd as the DaemonSet would have a kubelet run them: user,
//! capabilities, seccomp, mounts and arguments are read out of the manifests.
//!
//! The lane `images` builds the images, installs what runs them, and asks for these tests, which nobody else runs.

mod manifest;
mod node;

use std::time::Duration;

use e2e::receivers::{Received, Webhook};
use serde_json::Value;
use tokio::time::sleep;

use crate::harness::{Cat, Load, all_to, eventually, scrape};
use node::{Node, Pod};

/// Runtimes take seconds to start a container on a busy machine.
const WITHIN: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs images and containerd; cargo xtask test --components makes both"]
async fn sensor_and_router_run_as_the_manifests_say_and_an_attack_is_delivered() {
    let Some(node) = Node::start().await else { return };
    let hook = Webhook::start().await;
    let pod = node.pod(&all_to(&hook, ""), None).await.unwrap();
    pod.ready("sensor", WITHIN).await;

    // On the node itself.
    let cat = Cat::new();
    let reader = cat.read("/etc/shadow");
    let alert = delivered(&pod, &hook, "the node's process is reported", |alert| {
        alert["output_fields"]["proc.pid"] == reader && alert["rule"] == "Credential file read"
    })
    .await;
    assert_eq!(alert["hostname"], "node-of-the-test", "{alert}");
    assert_eq!(alert["output_fields"]["user.name"], "root", "{alert}");
    assert_eq!(alert["output_fields"]["proc.exepath"], cat.path(), "{alert}");

    eventually("the sensor asks the runtime", WITHIN, async || {
        let connected = scrape(pod.sensor_metrics).await.sum("tercel_sensor_container_runtimes", &[]);
        if connected == 1 { Ok(()) } else { Err(pod.log("sensor")) }
    })
    .await;

    // What the manifests promise of the running processes.
    let status = pod.status_of("router");
    assert_eq!((status.uid, status.capabilities, status.seccomp), (65_532, 0, 2), "{status:?}");
    assert!(status.no_new_privs);
    let status = pod.status_of("sensor");
    assert!(status.no_new_privs && status.uid == 0 && status.seccomp == 2, "{status:?}");
    pod.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs images and containerd; cargo xtask test --components makes both"]
async fn of_each_capability_that_is_taken_away_the_log_says_that_it_is_missing() {
    let Some(node) = Node::start().await else { return };
    let hook = Webhook::start().await;
    // First: once the folder is the router's, nothing is left to do.
    let refused = node.pod(&all_to(&hook, ""), Some("CHOWN")).await.err().expect("the init container fails");
    assert!(refused.contains("CAP_CHOWN"), "{refused}");
    for capability in ["BPF", "PERFMON"] {
        let pod = node.pod(&all_to(&hook, ""), Some(capability)).await.unwrap();
        assert_eq!(pod.ended("sensor", WITHIN).await, 1, "without {capability}");
        let log = pod.log("sensor");
        assert!(log.contains(&format!("missing capability CAP_{capability}")), "{log}");
        pod.remove().await;
    }
    // Without these it works, and knows less.
    for capability in ["SYS_PTRACE", "DAC_READ_SEARCH"] {
        let pod = node.pod(&all_to(&hook, ""), Some(capability)).await.unwrap();
        pod.ready("sensor", WITHIN).await;
        let log = pod.log("sensor");
        assert!(log.contains(&format!("missing capability CAP_{capability}")), "{log}");
        pod.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs images and containerd; cargo xtask test --components makes both"]
async fn a_pod_that_is_deleted_and_made_anew_under_load_loses_nothing_that_it_acknowledged() {
    const PODS: usize = 4;
    let Some(node) = Node::start().await else { return };
    let hook = Webhook::start().await;
    let load = Load::start(node.router_socket());
    for life in 0..PODS {
        let pod = node.pod(&all_to(&hook, ""), None).await.unwrap();
        pod.ready("router", WITHIN).await;
        sleep(Duration::from_millis(fastrand::u64(500..2_000))).await;
        // Every other one is given no time.
        if life % 2 == 0 { pod.kill().await } else { pod.remove().await }
    }
    let pod = node.pod(&all_to(&hook, ""), None).await.unwrap();
    pod.ready("router", WITHIN).await;
    let acknowledged = load.all_delivered(&hook, WITHIN).await;
    println!("{PODS} pods, {acknowledged} alerts acknowledged, all delivered");
    pod.remove().await;
}

async fn delivered(pod: &Pod<'_>, hook: &Webhook, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually(what, WITHIN, async || {
        let alerts: Vec<_> = hook.received().iter().map(Received::json).collect();
        let seen: Vec<_> = alerts.iter().map(|alert| alert["output"].to_string()).collect();
        alerts.into_iter().find(&is_it).ok_or_else(|| format!("{}\n{}", seen.join("\n"), pod.log("sensor")))
    })
    .await
}
