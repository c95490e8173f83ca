//! The lane `prometheus`: its own tool reads the alerting rules and runs their tests; then a real one scrapes both programs.
//! And the pictures of dashboards and messages in the documentation, drawn of what it scraped.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::lanes::Outcome;
use crate::{install, step};

/// The release whose package has promtool, too.
const SOURCES: [(&str, &str); 1] = [("debian", "bookworm")];
const PACKAGE: &str = "prometheus";

const RULES: &str = "grafana/prometheus-rules.yaml";
const RULE_TESTS: &str = "grafana/prometheus-rules.test.yaml";

/// The folder with the programs, for the tests.
const VARIABLE: &str = "TERCEL_TEST_PROMETHEUS";

/// A browser, and the signs that Slack's messages begin with.
const PICTURE_PACKAGES: [&str; 2] = ["chromium", "fonts-noto-color-emoji"];
const PICTURE_SOURCES: &str = "xtask/pictures";
const PICTURES_DRAWN: [&str; 4] = ["alerts.png", "router.png", "sensor.png", "slack.png"];

/// The test that makes something to draw, and where it has it drawn.
const PICTURES: &str = "prometheus::pictures";
const PICTURES_VARIABLE: &str = "TERCEL_TEST_PICTURES";

pub(crate) fn lane() -> Result<Outcome> {
    let programs = match programs() {
        Ok(programs) => programs,
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    for (check, file) in [("check", RULES), ("test", RULE_TESTS)] {
        let mut promtool = Command::new(programs.join("promtool"));
        step::run(promtool.current_dir(step::workspace()).args([check, "rules", file]))?;
    }
    let mut tests = step::cargo(&["test", "--package", "e2e", "prometheus::"]);
    step::run(tests.args(["--", "--ignored", "--nocapture", "--skip", PICTURES]).env(VARIABLE, programs))?;
    Ok(Outcome::Passed)
}

/// Draws the pictures anew, which takes a quarter of an hour.
pub(crate) fn pictures() -> Result<()> {
    install::debian_packages(&PICTURE_PACKAGES, "the pictures in docs")?;
    install::npm("the pictures in docs")?;
    let (programs, place) = (programs()?, step::target().join("pictures"));
    std::fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
    step::run(Command::new("cp").arg("-r").arg(step::workspace().join(PICTURE_SOURCES).join(".")).arg(&place))?;
    // None of these packages needs a script of its own to be run.
    let options = ["--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund"];
    step::run(Command::new("npm").arg("install").args(options).current_dir(&place))?;
    // Together with the tests, so that it is not built twice.
    let packages = ["build", "--bins", "--package", "tercel-router", "--package", "tercel-sensor", "--package", "e2e"];
    step::run(&mut step::cargo(&packages))?;
    let mut tests = step::cargo(&["test", "--package", "e2e", PICTURES]);
    step::run(tests.args(["--", "--ignored", "--nocapture"]).env(VARIABLE, programs).env(PICTURES_VARIABLE, &place))?;
    for picture in PICTURES_DRAWN {
        let kept = step::workspace().join("docs/pictures").join(picture);
        std::fs::copy(place.join(picture), &kept).with_context(|| format!("cannot write {}", kept.display()))?;
    }
    Ok(())
}

/// Unpacked and not installed: the package would start a server.
fn programs() -> Result<PathBuf> {
    let place = step::target().join("components/prometheus");
    let programs = place.join("usr/bin");
    if !programs.join("prometheus").is_file() {
        ensure!(install::on_debian(), "Prometheus is unpacked from Debian's package, and this is not Debian");
        Apt::new(&place, &SOURCES, "Prometheus")?.unpack(&[PACKAGE], &place)?;
    }
    Ok(programs)
}
