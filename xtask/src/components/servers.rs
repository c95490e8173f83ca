//! Servers out of packages, unpacked into one folder: Alertmanager and NATS out of Debian's newest, whose programs run on any
//! release, rsyslog out of this machine's own release, an SMTP server and a mock of a Kafka cluster (librdkafka's own) out of `PyPI`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::{install, step};

const TOOLS: [&str; 1] = ["python3-pip"];
const NEWEST: [&str; 2] = ["nats-server", "prometheus-alertmanager"];
/// rsyslog, and the libraries that nothing else brings.
const OF_THIS_RELEASE: [&str; 4] = ["rsyslog", "libestr0", "libfastjson4", "liblognorm5"];
const OF_PYTHON: [&str; 2] = ["aiosmtpd==1.4.6", "confluent-kafka==2.16.1"];

/// The folder: `newest` and `release` as packages lay them out, `python` for Python's path.
///
/// # Errors
/// If this is not Debian, or a package is gone or cannot be fetched.
pub(super) fn prepare(folder: &Path) -> Result<PathBuf> {
    let place = folder.join("servers");
    let wanted = [&NEWEST[..], &OF_THIS_RELEASE, &OF_PYTHON].concat().join("\n");
    if std::fs::read_to_string(place.join("complete")).is_ok_and(|there| there == wanted) {
        return Ok(place);
    }
    ensure!(install::on_debian(), "servers come out of Debian's packages, and this is not Debian");
    install::debian_packages(&TOOLS, "servers of tests")?;
    step::say("fetching Alertmanager, NATS, rsyslog, aiosmtpd and librdkafka, some 50 MB");
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("cannot empty {}", place.display()))?;
    }
    std::fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
    let release = install::debian_release().context("/etc/os-release names no release of Debian")?;
    for (name, suite, packages) in [("newest", "sid", &NEWEST[..]), ("release", &release, &OF_THIS_RELEASE[..])] {
        let apt = Apt::new(&place.join(format!("{name}-lists")), &[("debian", suite)], "servers of tests")?;
        apt.unpack(packages, &place.join(name))?;
    }
    let mut pip = Command::new("python3");
    step::run(pip.args(["-m", "pip", "-q", "install"]).args(OF_PYTHON).arg("--target").arg(place.join("python")))?;
    std::fs::write(place.join("complete"), wanted).context("cannot note that the servers are complete")?;
    Ok(place)
}
