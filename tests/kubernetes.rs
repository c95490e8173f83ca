//! The manifests of deploy/kustomize and the images of `cargo xtask image` on a real cluster of one node: API server,
//! controllers, scheduler, kubelet and containerd.
//!
//! The lane `kubernetes` builds all of it, and asks for these tests, which nobody else runs. The cluster's version is 1.20, the
//! newest that is to be had in a package: what it does not know yet is taken out by `manifests/old-server`, and nothing else.

mod cluster;
mod node;

use std::time::Duration;

use e2e::receivers::{Received, Slack, Webhook};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Load, eventually};
use cluster::{Cluster, NODE_ADDRESS, NODE_NAME, is_ready};

/// A pod is there within seconds; on a busy machine later.
const WITHIN: Duration = Duration::from_mins(2);

const MANIFESTS: &str = "tests/kubernetes/manifests";
/// As the routing of the test has it.
const WEBHOOK_PORT: u16 = 9000;
const POD: &str = "web-0";
/// As manifests/volume.yaml has it.
const CENTRAL_VOLUME: &str = "/var/lib/central";
const CENTRAL_NAME: &str = "tercel-router";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster's programs; cargo xtask test --components makes them"]
async fn the_api_server_takes_the_base_and_both_overlays() {
    let Some(cluster) = Cluster::start().await else { return };
    // A dry run makes no namespace for what comes after it.
    prepare(&cluster);
    for (overlay, objects) in [("base", 9), ("dev", 8), ("production", 20)] {
        let folder = format!("{MANIFESTS}/{overlay}");
        let said = cluster.run(&["apply", "--dry-run=server", "--kustomize", &folder]);
        let taken = said.lines().filter(|line| line.ends_with("(server dry run)")).count();
        assert_eq!(taken, objects, "{overlay}:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster's programs and images; cargo xtask test --components makes both"]
async fn what_happens_in_a_pod_is_delivered_with_its_name_and_deleting_leaves_only_the_state() {
    let Some(cluster) = Cluster::start_with_node().await else { return };
    let hook: Webhook = cluster.node.receiver(WEBHOOK_PORT);
    apply(&cluster, "run-base");
    ready_pod(&cluster, "tercel", None).await;
    let again = cluster.run(&["apply", "--kustomize", &format!("{MANIFESTS}/run-base")]);
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "a second time changes nothing:\n{again}");
    let pod = attacked_pod(&cluster).await;

    cluster.run(&["exec", POD, "--", "/bin/cat", "/etc/shadow"]);
    let alert = eventually("the attack is reported", WITHIN, async || {
        let alerts = about(&hook, POD);
        let seen = || format!("{alerts:?}\n{}", log(&cluster, "sensor"));
        alerts.iter().find(|alert| alert["rule"] == "Credential file read").cloned().ok_or_else(seen)
    })
    .await;
    let fields = &alert["output_fields"];
    assert_eq!((&alert["hostname"], &fields["k8s.ns.name"]), (&NODE_NAME.into(), &"default".into()), "{alert}");
    assert_eq!((&fields["container.name"], &fields["proc.cmdline"]), (&"app".into(), &"cat /etc/shadow".into()));
    assert_eq!(
        (&fields["container.image.repository"], &fields["container.image.tag"]),
        (&"docker.io/local/bb".into(), &"1".into()),
        "{alert}"
    );
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap();
    let id = id.strip_prefix("containerd://").expect("the runtime is named");
    assert_eq!(fields["container.id"], id[..12], "{alert}");
    // That pods start, ours among them, is no news.
    let others: Vec<_> = about(&hook, POD).into_iter().filter(|one| one["rule"] != alert["rule"]).collect();
    assert!(others.is_empty(), "{others:?}");
    let own: Vec<_> = alerts(&hook).into_iter().filter(|one| one["output_fields"]["k8s.ns.name"] == "tercel").collect();
    assert!(own.is_empty(), "{own:?}");

    // As the runbooks have it: socket and routing are found.
    let router = ["--namespace", "tercel", "exec", "daemonset/tercel", "-c", "router", "--", "/tercel-router"];
    let silence = ["silence", "add", "--author", "me", "--reason", "test", "--duration", "1h", "rule = \"none\""];
    cluster.run(&[&router[..], &silence].concat());
    assert!(cluster.run(&[&router[..], &["silence", "list"]].concat()).contains("rule = \"none\""));
    cluster.run(&[&router[..], &["send-test", "hook"]].concat());
    let told = alerts(&hook);
    assert!(told.iter().any(|alert| alert["rule"] == "Tercel test alert"), "{told:?}");

    cluster.run(&["delete", "--kustomize", &format!("{MANIFESTS}/run-base"), "--timeout=120s"]);
    assert!(cluster.try_object(&["get", "namespace", "tercel"]).is_none(), "the namespace is gone");
    assert!(cluster.try_object(&["get", "priorityclass", "tercel"]).is_none(), "so is what is in no namespace");
    eventually("no process is left", WITHIN, async || {
        let programs = cluster.node.programs();
        if programs.iter().any(|name| name.starts_with("tercel")) { Err(format!("{programs:?}")) } else { Ok(()) }
    })
    .await;
    // As docs/install-kubernetes.md says it; the logs are the kubelet's, which takes them away by and by.
    let mut left = cluster.node.gained("tercel");
    left.retain(|path| !path.starts_with("/var/log/"));
    assert_eq!(left, ["/var/lib/tercel"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster's programs and images; cargo xtask test --components makes both"]
async fn a_pod_that_the_daemon_set_makes_anew_under_load_loses_nothing_that_it_acknowledged() {
    const PODS: usize = 3;
    let Some(cluster) = Cluster::start_with_node().await else { return };
    let hook: Webhook = cluster.node.receiver(WEBHOOK_PORT);
    apply(&cluster, "run-dev");
    let mut pod = ready_pod(&cluster, "tercel", None).await;
    let socket = cluster.node.run_folder().join("router.sock");
    link_socket(&cluster, &pod, &socket);
    let load = Load::start(socket.clone());
    for life in 0..PODS {
        sleep(Duration::from_millis(fastrand::u64(500..2_000))).await;
        let name = pod["metadata"]["name"].as_str().unwrap();
        let delete = ["--namespace", "tercel", "delete", "pod", name];
        // Every other one is given no time.
        let force: &[&str] = if life % 2 == 0 { &["--force", "--grace-period=0"] } else { &[] };
        cluster.run(&[&delete, force].concat());
        pod = ready_pod(&cluster, "tercel", pod["metadata"]["uid"].as_str()).await;
        link_socket(&cluster, &pod, &socket);
    }
    sleep(Duration::from_millis(500)).await;
    let acknowledged = load.all_delivered(&hook, WITHIN).await;
    println!("{} pods, {acknowledged} alerts acknowledged, all delivered", PODS + 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster's programs and images; cargo xtask test --components makes both"]
async fn the_production_overlay_hands_an_attack_over_to_the_central_router_which_tells_slack() {
    let Some(cluster) = Cluster::start_with_node().await else { return };
    let slack: Slack = cluster.node.receiver(WEBHOOK_PORT);
    prepare(&cluster);
    create_secrets(&cluster, &slack);
    std::fs::create_dir_all(cluster.node.path(CENTRAL_VOLUME)).unwrap();
    cluster.run(&["apply", "--filename", &format!("{MANIFESTS}/volume.yaml")]);
    apply(&cluster, "production");
    let central = ready_pod(&cluster, "tercel-central-router", None).await;
    // In place of the cluster's DNS and of kube-proxy, which this one does without.
    let aliases = json!([{ "ip": central["status"]["podIP"], "hostnames": [CENTRAL_NAME] }]);
    let patch = json!({ "spec": { "template": { "spec": { "hostAliases": aliases } } } }).to_string();
    cluster.run(&["--namespace", "tercel", "patch", "daemonset", "tercel", "--patch", &patch]);
    cluster.run(&["--namespace", "tercel", "rollout", "status", "daemonset/tercel", "--timeout=120s"]);
    attacked_pod(&cluster).await;

    cluster.run(&["exec", POD, "--", "/bin/cat", "/etc/shadow"]);
    let message = eventually("Slack is told", WITHIN, async || {
        let messages: Vec<_> = slack.accepted().iter().map(|one| one.json().to_string()).collect();
        let told = messages.iter().find(|text| text.contains(POD)).cloned();
        told.ok_or_else(|| format!("{messages:?}\n{}", log(&cluster, "router")))
    })
    .await;
    for part in ["Credential file read", "cat /etc/shadow", "docker.io/local/bb", NODE_NAME] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // As the runbooks have it.
    let letters = [
        "--namespace",
        "tercel",
        "exec",
        "tercel-router-0",
        "-c",
        "router",
        "--",
        "/tercel-router",
        "dead-letter",
        "list",
    ];
    cluster.run(&letters);
    let store = cluster.node.path(CENTRAL_VOLUME).join("store");
    assert!(store.is_dir(), "the central router's state is on its volume");
}

/// What the overlays take for granted: a namespace, and the Prometheus Operator's kinds.
fn prepare(cluster: &Cluster) {
    cluster.run(&["apply", "--filename", &format!("{MANIFESTS}/monitoring-crds.yaml")]);
    cluster.run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    cluster.run(&["apply", "--filename", "deploy/kustomize/base/namespace.yaml"]);
}

/// The Secrets that the production overlay names, as its comment says them.
fn create_secrets(cluster: &Cluster, slack: &Slack) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![CENTRAL_NAME.to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let url = slack.url().replace("0.0.0.0", NODE_ADDRESS);
    let secrets: [(&str, &[(&str, &str)]); 3] = [
        ("tercel-central", &[("token", TOKEN)]),
        (
            "tercel-central-tls",
            &[("tls.crt", &certificate), ("tls.key", &key.serialize_pem()), ("ca.crt", &certificate)],
        ),
        ("tercel-destinations", &[("pagerduty-routing-key", TOKEN), ("slack-webhook-url", &url)]),
    ];
    for (name, keys) in secrets {
        let literals: Vec<_> = keys.iter().map(|(key, value)| format!("--from-literal={key}={value}")).collect();
        let create = ["--namespace", "tercel", "create", "secret", "generic", name].into_iter();
        cluster.run(&create.chain(literals.iter().map(String::as_str)).collect::<Vec<_>>());
    }
}

fn apply(cluster: &Cluster, manifests: &str) {
    cluster.run(&["apply", "--kustomize", &format!("{MANIFESTS}/{manifests}")]);
}

/// The pod of this application, once all its containers are ready; not that with this id.
async fn ready_pod(cluster: &Cluster, application: &str, former: Option<&str>) -> Value {
    let selector = format!("app.kubernetes.io/name={application}");
    eventually(&format!("the pod of {application} is ready"), WITHIN, async || {
        let pods = cluster.object(&["--namespace", "tercel", "get", "pods", "--selector", &selector]);
        let found = pods["items"].as_array().unwrap().iter().find(|pod| {
            let metadata = &pod["metadata"];
            metadata["uid"].as_str() != former && metadata["deletionTimestamp"].is_null() && is_ready(pod)
        });
        let seen = || format!("{}\n{}", statuses(&pods), log(cluster, "sensor"));
        found.cloned().ok_or_else(seen)
    })
    .await
}

async fn attacked_pod(cluster: &Cluster) -> Value {
    eventually("the attacked pod runs", WITHIN, async || {
        // The controller makes the namespace's account in its own time.
        let mut apply = cluster.kubectl(&["apply", "--filename", &format!("{MANIFESTS}/attacked.yaml")]);
        let output = apply.output().unwrap();
        let pod = cluster.try_object(&["get", "pod", POD]).ok_or_else(|| format!("{output:?}"))?;
        if is_ready(&pod) { Ok(pod) } else { Err(pod["status"].to_string()) }
    })
    .await
}

/// The router's socket of this pod, by a path that has the few bytes that one of a socket may have.
fn link_socket(cluster: &Cluster, pod: &Value, socket: &std::path::Path) {
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let volume = format!("/run/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/socket");
    let target = cluster.node.path(&volume).join("tercel.sock");
    assert!(target.exists(), "{}", target.display());
    let fresh = socket.with_extension("new");
    std::os::unix::fs::symlink(target, &fresh).unwrap();
    std::fs::rename(fresh, socket).unwrap();
}

fn alerts(hook: &Webhook) -> Vec<Value> {
    hook.received().iter().map(Received::json).collect()
}

fn about(hook: &Webhook, pod: &str) -> Vec<Value> {
    alerts(hook).into_iter().filter(|alert| alert["output_fields"]["k8s.pod.name"] == pod).collect()
}

fn statuses(pods: &Value) -> String {
    let pods = pods["items"].as_array().unwrap().iter();
    pods.map(|pod| format!("{}: {}", pod["metadata"]["name"], pod["status"])).collect::<Vec<_>>().join("\n")
}

/// What a container of the DaemonSet's pod wrote.
fn log(cluster: &Cluster, container: &str) -> String {
    let arguments = ["--namespace", "tercel", "logs", "daemonset/tercel", "--container", container, "--tail", "20"];
    let output = cluster.kubectl(&arguments).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
