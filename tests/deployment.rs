//! The routing files of the manifests: each is good, and a node's hands its alerts over to a central router.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::receivers::Webhook;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tercel_router::config::{TlsSettings, Token};

use crate::harness::{SOON, TestRouter, alert, all_to, binary, eventually, files_below, read, run};

const MANIFESTS: &str = "deploy/kustomize";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What pods have mounted under /run/secrets.
const SECRETS: [(&str, &str); 3] = [
    ("tercel-central/token", TOKEN),
    ("tercel/pagerduty-routing-key", "0123456789abcdef0123456789abcdef"),
    ("tercel/slack-webhook-url", "https://hooks.slack.com/services/T0/B0/x"),
];

/// A certificate for this machine, its own authority, in the places of the Secret.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        let secrets = Self(tempfile::tempdir().unwrap());
        for (name, content) in SECRETS {
            secrets.write(name, content);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        secrets.write("tercel-central-ca/ca.crt", &certificate.pem());
        secrets.write("tercel-central-tls/tls.crt", &certificate.pem());
        secrets.write("tercel-central-tls/tls.key", &key.serialize_pem());
        secrets
    }

    fn write(&self, name: &str, content: &str) {
        let file = self.path(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A routing file of the manifests that finds its secrets here.
    fn routing(&self, file: &Path) -> String {
        read(file).replace("/run/secrets", &self.0.path().display().to_string())
    }

    /// The pod's volume of it.
    fn tls(&self) -> TlsSettings {
        TlsSettings {
            certificate: self.path("tercel-central-tls/tls.crt"),
            key: self.path("tercel-central-tls/tls.key"),
            client_ca: None,
        }
    }
}

#[tokio::test]
async fn every_routing_file_of_the_manifests_is_good() {
    let secrets = Secrets::new();
    let files: Vec<_> =
        files_below(MANIFESTS).into_iter().filter(|file| file.extension() == Some("toml".as_ref())).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("routing.toml"), secrets.routing(&file)).unwrap();
        let output = run(Command::new(binary("tercel-router")).arg("check").current_dir(folder.path())).await;
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn a_node_hands_its_alerts_over_to_the_central_router_under_their_own_ids() {
    hand_over("external-router", false).await;
}

#[tokio::test]
async fn the_same_with_tls() {
    hand_over("tls", true).await;
}

/// `component`: whose routing the node has.
async fn hand_over(component: &str, tls: bool) {
    let (secrets, hook) = (Secrets::new(), Webhook::start().await);
    let central = TestRouter::start_with(&all_to(&hook, ""), |settings| {
        settings.token = Some(Token::new(TOKEN));
        settings.tls = tls.then(|| secrets.tls());
    })
    .await;
    let shipped = secrets.routing(&Path::new(MANIFESTS).join("components").join(component).join("node-routing.toml"));
    let scheme = if tls { "https" } else { "http" };
    let address = format!("{scheme}://tercel-router:2801");
    assert!(shipped.contains(&address), "the node's routing names the Service");
    let here = format!("{scheme}://localhost:{}", central.ingest().port());
    let node = TestRouter::start(&shipped.replace(&address, &here)).await;

    // Equal ones: a node holds nothing back.
    let sent: Vec<_> = (0..20).map(|_| alert("Rule", "Critical", "cat")).collect();
    for alert in &sent {
        node.send(alert).await;
    }
    eventually("the central router notifies of every alert", SOON, async || {
        let ids: Vec<_> = hook.received().iter().map(|one| one.json()["uuid"].clone()).collect();
        let missing = sent.iter().filter(|alert| !ids.contains(&alert["uuid"])).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} missing of {}", sent.len())) }
    })
    .await;
    assert_eq!(hook.count(), sent.len());
    let archive = std::fs::read_to_string(node.state().join("archive/alerts.ndjson")).unwrap();
    assert_eq!(archive.lines().count(), sent.len(), "the node's own archive has them too");
    node.settled().await;
}
