//! Servers out of packages, unpacked into one folder: Alertmanager and NATS out of Debian's newest, whose programs run on any
//! release, rsyslog out of this machine's own release, an SMTP server and a mock of a Kafka cluster (librdkafka's own) out of `PyPI`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::{folder, install, step};

const TOOLS: [&str; 1] = ["python3-pip"];
const NEWEST: [&str; 2] = ["nats-server", "prometheus-alertmanager"];
/// rsyslog, and the libraries that nothing else brings.
const OF_THIS_RELEASE: [&str; 4] = ["rsyslog", "libestr0", "libfastjson4", "liblognorm5"];
const OF_PYTHON: [&str; 2] = ["aiosmtpd==1.4.6", "confluent-kafka==2.16.1"];

/// The folder: `newest` and `release` as packages lay them out, `python` for Python's path.
///
/// # Errors
/// If this is not Debian, or a package is gone or cannot be fetched.
pub(super) fn prepare(components: &Path) -> Result<PathBuf> {
    let place = components.join("servers");
    folder::once(&place, &[&NEWEST[..], &OF_THIS_RELEASE, &OF_PYTHON].concat().join("\n"), || {
        ensure!(install::on_debian(), "servers come out of Debian's packages, and this is not Debian");
        install::debian_packages(&TOOLS, "servers of tests")?;
        step::say("fetching Alertmanager, NATS, rsyslog, aiosmtpd and librdkafka, some 50 MB");
        let release = install::debian_release().context("/etc/os-release names no release of Debian")?;
        for (name, suite, packages) in [("newest", "sid", &NEWEST[..]), ("release", &release, &OF_THIS_RELEASE[..])] {
            let apt = Apt::new(&place.join(format!("{name}-lists")), &[("debian", suite)], "servers of tests")?;
            apt.unpack(packages, &place.join(name))?;
        }
        install::python_packages(&OF_PYTHON, &place.join("python"))
    })?;
    Ok(place)
}
