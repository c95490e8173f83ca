//! Alerts as the sensor sends them, of some 1,024 bytes.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// Bytes of an alert's JSON.
const ALERT_BYTES: usize = 1_024;

/// How many different fingerprints the alerts have, drawn uniformly; each is a rule of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    Rules(usize),
    /// As many as there are alerts, of one rule.
    Distinct,
}

impl Keys {
    pub(super) const ALL: [Self; 4] = [Self::Rules(1), Self::Rules(100), Self::Rules(1_000), Self::Distinct];

    pub(super) fn name(self) -> String {
        match self {
            Self::Rules(1) => "1 rule".to_owned(),
            Self::Rules(rules) => format!("{rules} rules"),
            Self::Distinct => "distinct keys".to_owned(),
        }
    }

    /// The `number`th alert.
    pub(super) fn alert(self, number: usize) -> Value {
        match self {
            Self::Rules(rules) => alert(fastrand::usize(0..rules), "/usr/bin/cat"),
            Self::Distinct => alert(0, &format!("/usr/bin/program-{number}")),
        }
    }
}

/// Bodies of `batch` alerts each, as JSON arrays.
pub(super) fn batches(keys: Keys, alerts: usize, batch: usize) -> Vec<String> {
    let all: Vec<_> = (0..alerts).map(|number| keys.alert(number)).collect();
    all.chunks(batch).map(|batch| Value::from(batch).to_string()).collect()
}

fn alert(rule: usize, program: &str) -> Value {
    let mut alert = json!({
        "uuid": Uuid::now_v7(),
        "time": Timestamp::now(),
        "rule": format!("Read sensitive file untrusted {rule}"),
        "priority": "Warning",
        "source": "syscall",
        "hostname": "node-1.example.internal",
        "output": format!("Sensitive file opened for reading by an untrusted program | file=/etc/shadow user=root process={program}"),
        "output_fields": {
            "evt.time": Timestamp::now().as_nanosecond() as i64,
            "evt.type": "openat",
            "user.name": "root",
            "user.uid": 0,
            "user.loginuid": -1,
            "proc.name": "cat",
            "proc.exepath": program,
            "proc.pname": "bash",
            "proc.cmdline": "",
            "proc.tty": 34_816,
            "fd.name": "/etc/shadow",
            "container.id": "3ad7b26ded6d",
            "container.image.repository": "docker.io/library/debian",
            "container.image.tag": "bookworm",
            "k8s.ns.name": "default",
            "k8s.pod.name": "shell-6f54b5cf6c-x2x7v",
        },
        "tags": ["T1555", "container", "filesystem", "host", "maturity_stable", "mitre_credential_access"],
    });
    let rest = ALERT_BYTES.saturating_sub(alert.to_string().len());
    alert["output_fields"]["proc.cmdline"] = "cat /etc/shadow ".chars().cycle().take(rest).collect::<String>().into();
    alert
}
