//! Does one technique: a folder, a container if it needs one, a process that acts, and what is to be known of it.

use std::fs::{self, File};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::container::Container;
use crate::stage::{Said, Stage};
use crate::technique::Technique;

/// The longest waits five seconds for a process that is not new.
const ACT_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at the acting process.
const POLL: Duration = Duration::from_millis(2);

/// What was done, as one line of a report.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) technique: String,
    /// The process that the alert must be about.
    pub(crate) pid: u32,
    /// The rule that must fire.
    pub(crate) rule: Option<String>,
    /// The rule that must not.
    pub(crate) near_miss_of: Option<String>,
    /// What the alert must say.
    pub(crate) fields: Map<String, Value>,
    /// Why it could not be done on this machine.
    pub(crate) not_done: Option<String>,
}

pub(crate) fn act(technique: &Technique) -> Act {
    let rule = technique.rule.to_owned();
    let (fires, misses) = if technique.is_near_miss { (None, Some(rule)) } else { (Some(rule), None) };
    let fields = technique.fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    let mut act = Act {
        technique: technique.name.to_owned(),
        pid: 0,
        rule: fires,
        near_miss_of: misses,
        fields: fields.collect(),
        not_done: None,
    };
    act.not_done = perform(technique, &mut act).err().map(|error| format!("{error:#}"));
    act
}

fn perform(technique: &Technique, act: &mut Act) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("technique-").tempdir_in("/tmp")?;
    let stage = Stage::make(folder.path())?;
    let container = technique.layout.map(Container::make).transpose()?;
    let id = container.as_ref().map_or("host", Container::short_id);
    act.fields.insert("container.id".to_owned(), id.into());
    let errors = stage.path("errors");
    let mut command = stage.actor(technique, container.as_ref().map(Container::path))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
    let mut child = command.spawn()?;
    act.pid = child.id();
    let status = wait(&mut child)?;
    for said in stage.said()? {
        match said {
            Said::Pid(pid) => act.pid = pid,
            Said::Field(name, value) => drop(act.fields.insert(name, value)),
        }
    }
    if !status.success() {
        bail!("{status}: {}", fs::read_to_string(errors)?.trim_end());
    }
    Ok(())
}

fn wait(child: &mut Child) -> anyhow::Result<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < ACT_WITHIN {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        sleep(POLL);
    }
    child.kill().and_then(|()| child.wait()).context("it cannot be ended")?;
    bail!("it did not end within {ACT_WITHIN:?}")
}
