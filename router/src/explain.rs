//! What becomes of an alert, step by step, and why: what `tercel-router route` prints.
//!
//! What depends on earlier alerts (inhibitions, silences, deduplication, limits) is explained, all else decided.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

pub use crate::condition::Comparison;

/// The decision about one alert.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The alert as routes see it: with what the configuration adds.
    pub alert: Json,
    /// When it is taken to arrive.
    pub at: Timestamp,
    /// Every route, in the order of the file.
    pub routes: Vec<RouteStep>,
    /// Every destination that it is meant for, once.
    pub deliveries: Vec<DeliveryStep>,
}

/// What one route says.
#[derive(Debug, Serialize)]
pub struct RouteStep {
    pub route: String,
    /// 0 for a route at the top, 1 for its children …
    pub depth: usize,
    pub verdict: RouteVerdict,
    /// Later routes are asked too.
    pub r#continue: bool,
    /// `null`: it wants every alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The comparisons that decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Comparison>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteVerdict {
    Takes,
    /// It wants the alert, and a route below it takes it.
    ChildTakes,
    NoMatch,
    /// An earlier route took the alert, or the parent does not want it.
    NotAsked,
}

/// What happens on the way to one destination.
#[derive(Debug, Serialize)]
pub struct DeliveryStep {
    pub destination: String,
    pub r#type: &'static str,
    pub route: String,
    /// Why it goes there although no route wants it.
    pub unrouted: bool,
    /// It gets everything: none of what follows holds anything back.
    pub receives_all: bool,
    pub inhibitions: Vec<InhibitionStep>,
    /// Time windows that the route or the destination refers to.
    pub muting: Vec<MutingStep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup: Option<DedupStep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitStep>,
    /// Only a running router has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateStep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    pub max_age: String,
}

/// What a running router holds against the alert at this destination at the moment.
#[derive(Debug, Default, Serialize)]
pub struct StateStep {
    /// The inhibition whose source was heard of.
    pub inhibited_by: Option<String>,
    /// The silence that matches.
    pub silenced_by: Option<Uuid>,
    /// The open window of its like.
    pub window: Option<WindowStep>,
}

#[derive(Debug, Serialize)]
pub struct WindowStep {
    /// Beyond the first.
    pub repeats: u64,
    pub closes: Timestamp,
}

/// An inhibition that the alert has to do with.
#[derive(Debug, Serialize)]
pub struct InhibitionStep {
    pub inhibition: String,
    /// It mutes others from now on.
    pub is_source: bool,
    /// Others may mute it.
    pub is_target: bool,
    pub equal: Vec<KeyPart>,
    pub r#for: String,
}

#[derive(Debug, Serialize)]
pub struct MutingStep {
    /// `route` or `destination`: who refers to the windows.
    pub of: &'static str,
    /// The window that mutes at this time, or outside of which it mutes.
    pub muted_by: Option<String>,
    /// The alert is too urgent to be muted.
    pub breaks_through: bool,
    /// Up to when this stays so at least.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub struct DedupStep {
    /// `0s`: it is switched off.
    pub window: String,
    pub by: Vec<KeyPart>,
    /// `null`: the alert says too little to be told from others, and is never held back.
    pub key: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct LimitStep {
    pub rate: String,
    pub burst: u32,
    pub by: Vec<KeyPart>,
    pub over: &'static str,
    /// The alert is too urgent to be limited.
    pub exempt: bool,
}

/// A field of a key, and what the alert has there.
#[derive(Debug, Serialize)]
pub struct KeyPart {
    pub field: String,
    /// The alert has the field, if only as `null`.
    pub present: bool,
    pub value: Json,
}

impl DeliveryStep {
    /// A time window holds it back now.
    pub fn is_muted(&self) -> bool {
        !self.receives_all && self.muting.iter().any(|step| step.muted_by.is_some() && !step.breaks_through)
    }
}

impl Explanation {
    /// What a running router holds, by destination.
    pub(crate) fn add(&mut self, states: Vec<(Arc<str>, StateStep)>) {
        for (destination, state) in states {
            let step = self.deliveries.iter_mut().find(|step| *step.destination == *destination);
            if let Some(step) = step.filter(|step| !step.receives_all) {
                step.state = Some(state);
            }
        }
    }
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = |key: &str| self.alert[key].as_str().unwrap_or("none").escape_debug().to_string();
        writeln!(f, "alert `{}`, priority {}, taken at {}", text("rule"), text("priority"), self.at)?;
        writeln!(f, "\nroutes, in the order of asking:")?;
        self.routes.iter().try_for_each(|step| write!(f, "{step}"))?;
        if self.deliveries.iter().any(|step| step.unrouted) {
            writeln!(f, "  no route wants it: it goes to the archive and is counted as unrouted")?;
        }
        writeln!(f, "\ndeliveries:")?;
        self.deliveries.iter().try_for_each(|step| write!(f, "{step}"))
    }
}

impl Display for RouteStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let indent = "  ".repeat(self.depth + 1);
        let verdict = match self.verdict {
            RouteVerdict::Takes if self.r#continue => "takes it, later routes are asked too",
            RouteVerdict::Takes => "takes it",
            RouteVerdict::ChildTakes if self.r#continue => {
                "wants it, a route below takes it, later routes are asked too"
            }
            RouteVerdict::ChildTakes => "wants it, a route below takes it",
            RouteVerdict::NoMatch => "does not want it",
            RouteVerdict::NotAsked => return writeln!(f, "{indent}{}: not asked", self.route),
        };
        let all = if self.when.is_none() { " (wants every alert)" } else { "" };
        writeln!(f, "{indent}{}: {verdict}{all}", self.route)?;
        for Comparison { text, holds, values } in &self.because {
            let is = if *holds { "holds" } else { "does not hold" };
            let values: Vec<_> = values.iter().map(|(field, value)| format!("{field} is {}", shown(value))).collect();
            writeln!(f, "{indent}    {text}  {is}: {}", values.join(", "))?;
        }
        Ok(())
    }
}

impl Display for DeliveryStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { destination, r#type, route, .. } = self;
        let muted = if self.is_muted() { ", held back now" } else { "" };
        writeln!(f, "  {destination} ({type}), by route {route}{muted}")?;
        if self.receives_all {
            writeln!(f, "    receives everything: nothing holds an alert back")?;
        } else {
            self.inhibitions.iter().try_for_each(|step| writeln!(f, "    {step}"))?;
            match &self.state {
                Some(state) => write!(f, "{state}")?,
                None => writeln!(f, "    silences: a running router may have some")?,
            }
            self.muting.iter().try_for_each(|step| writeln!(f, "    {step}"))?;
            self.dedup.iter().try_for_each(|step| writeln!(f, "    {step}"))?;
            match &self.limit {
                Some(step) => writeln!(f, "    {step}")?,
                None => writeln!(f, "    limit: none")?,
            }
        }
        match &self.fallback {
            Some(fallback) => writeln!(f, "    tried for {}, then `{fallback}` gets it", self.max_age),
            None => writeln!(f, "    tried for {}, then it is a dead letter", self.max_age),
        }
    }
}

impl Display for StateStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(inhibition) = &self.inhibited_by {
            writeln!(f, "    held back now: inhibition {inhibition} mutes it")?;
        }
        match &self.silenced_by {
            Some(id) => writeln!(f, "    held back now: silence {id} matches it")?,
            None => writeln!(f, "    silences: none matches it now")?,
        }
        if let Some(WindowStep { repeats, closes }) = &self.window {
            writeln!(
                f,
                "    held back now, unless it is more urgent: a window is open until {closes}, repeats: {repeats}"
            )?;
        }
        Ok(())
    }
}

impl Display for InhibitionStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { inhibition, r#for, equal, .. } = self;
        let equal =
            if equal.is_empty() { "whatever their fields".to_owned() } else { format!("with {}", parts(equal)) };
        match (self.is_source, self.is_target) {
            (true, false) => write!(f, "inhibition {inhibition}: mutes its targets {equal} for {for} from now on"),
            (true, true) => write!(
                f,
                "inhibition {inhibition}: mutes its targets {equal} for {for} from now on, but not those that are sources; \
                 muted if a source that is no target came {equal} in the last {for}"
            ),
            _ => write!(f, "inhibition {inhibition}: muted if one of its sources came {equal} in the last {for}"),
        }
    }
}

impl Display for MutingStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let until = self.until.map_or_else(String::new, |until| format!(", the same until {until}"));
        write!(f, "time windows of the {}: ", self.of)?;
        match &self.muted_by {
            None => write!(f, "not muted{until}"),
            Some(window) if self.breaks_through => write!(f, "`{window}` mutes{until}, but not what is so urgent"),
            Some(window) => write!(f, "muted by `{window}`{until}; the digest at its end counts it"),
        }
    }
}

impl Display for DedupStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { window, by, key } = self;
        if window == OFF {
            return write!(f, "dedup: off");
        }
        match key {
            Some(key) => {
                write!(f, "dedup: the first in {window} passes, repeats are counted; key {key}\n      of {}", parts(by))
            }
            None => {
                write!(f, "dedup: never held back, it says too little to be told from others\n      of {}", parts(by))
            }
        }
    }
}

impl Display for LimitStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rate, burst, by, over, exempt } = self;
        if *exempt {
            return write!(f, "limit: {rate}, but not for what is so urgent");
        }
        let over = if *over == "drop" { "only counted" } else { "told by a digest" };
        write!(f, "limit: {rate}, {burst} at once, what exceeds it is {over}; counted for {}", parts(by))
    }
}

/// The window of a deduplication that is switched off.
pub(crate) const OFF: &str = "0s";

fn parts(parts: &[KeyPart]) -> String {
    let part = |part: &KeyPart| match part.present {
        true if part.value.is_null() => format!("{} = null", part.field),
        true => format!("{} = {}", part.field, shown(&part.value)),
        false => format!("{} absent", part.field),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Characters of a value that are shown; a command line may have 100,000.
const SHOWN_CHARS_MAX: usize = 120;

fn shown(value: &Json) -> String {
    let text = match value {
        Json::Null => "absent".to_owned(),
        Json::String(text) => format!("\"{}\"", text.escape_debug()),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
