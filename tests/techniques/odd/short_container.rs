//! Rule "Program in a container of milliseconds": the container is made, runs one program, and is gone, before anybody
//! could have asked about it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::container::{Container, Layout};
use crate::stage::{Said, Stage, create};
use crate::technique::Technique;

const RULE: &str = "Program in a container of milliseconds";

/// How long it may live.
const LIFE: Duration = Duration::from_millis(20);
/// A busy machine may need some.
const TRIES: usize = 50;

pub(crate) const TECHNIQUES: &[Technique] = &[
    Technique::fires("container-of-milliseconds", RULE, |stage| match stage.step() {
        "" => (0..TRIES)
            .find_map(|_| live(stage).transpose())
            .unwrap_or_else(|| anyhow::bail!("in {TRIES} tries no container was gone within {LIFE:?}")),
        _ => create(stage.path("short")),
    }),
    Technique::near_miss("program-outside-of-it", RULE, |stage| match stage.step() {
        "" => stage.watch(&mut stage.partner("short-lived", "act")?),
        _ => create(stage.path("short")),
    }),
];

/// `None`: it took too long.
fn live(stage: &Stage) -> anyhow::Result<Option<()>> {
    let start = Instant::now();
    let container = Container::make(Layout::DockerCgroupfs)?;
    let (id, path) = (container.short_id().to_owned(), container.path().to_owned());
    let mut child = stage.partner_within(&path, "short-lived", "act")?.spawn()?;
    let pid = child.id();
    child.wait()?;
    drop(container);
    if start.elapsed() > LIFE {
        return Ok(None);
    }
    stage.say(&Said::Pid(pid))?;
    stage.say(&Said::Field("container.id".to_owned(), json!(id)))?;
    Ok(Some(()))
}
