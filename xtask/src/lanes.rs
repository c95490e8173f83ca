//! Test lanes: each runs under a heading, whatever the one before it did; a table at the end says how they went.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::step;

/// How a lane went, other than by failing.
pub(crate) enum Outcome {
    Passed,
    /// Passed, and there is something to know about it.
    Remarked(String),
    /// Could not start, for this reason.
    Skipped(String),
}

enum Verdict {
    Passed(Option<String>),
    Skipped(String),
    Failed(String),
}

struct Lane {
    name: &'static str,
    verdict: Verdict,
    took: Duration,
}

/// The lanes that have run so far.
#[derive(Default)]
pub(crate) struct Lanes(Vec<Lane>);

impl Lanes {
    /// Runs one lane. On CI one that cannot start has failed: nothing there may be skipped unseen.
    pub(crate) fn run(&mut self, name: &'static str, lane: impl FnOnce() -> Result<Outcome>) {
        println!("\n━━ {name}");
        let start = Instant::now();
        let verdict = verdict(lane(), step::on_ci());
        match &verdict {
            Verdict::Failed(why) => println!("✗ {why}"),
            Verdict::Skipped(why) => println!("SKIPPED: {why}"),
            Verdict::Passed(Some(remark)) => println!("{remark}"),
            Verdict::Passed(None) => {}
        }
        self.0.push(Lane { name, verdict, took: start.elapsed() });
    }

    /// Prints the table. A failed lane makes the exit code 1.
    pub(crate) fn finish(self) -> ExitCode {
        println!("\n{self}");
        let failed = self.0.iter().any(|lane| matches!(lane.verdict, Verdict::Failed(_)));
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn verdict(outcome: Result<Outcome>, on_ci: bool) -> Verdict {
    match outcome {
        Ok(Outcome::Passed) => Verdict::Passed(None),
        Ok(Outcome::Remarked(remark)) => Verdict::Passed(Some(remark)),
        Ok(Outcome::Skipped(why)) if on_ci => Verdict::Failed(format!("cannot start: {why}")),
        Ok(Outcome::Skipped(why)) => Verdict::Skipped(why),
        Err(error) => Verdict::Failed(format!("{error:#}")),
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for lane in &self.0 {
            let word = match &lane.verdict {
                Verdict::Passed(_) => "ok",
                Verdict::Skipped(_) => "SKIPPED",
                Verdict::Failed(_) => "FAILED",
            };
            write!(formatter, "{:<12} {word:<8} {:>7.1} s", lane.name, lane.took.as_secs_f64())?;
            let (Verdict::Passed(Some(why)) | Verdict::Skipped(why) | Verdict::Failed(why)) = &lane.verdict else {
                writeln!(formatter)?;
                continue;
            };
            writeln!(formatter, "   {}", why.lines().next().unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_lane_that_cannot_start_is_skipped_at_home_and_fails_on_ci() {
        let skipped = || Ok(Outcome::Skipped("no kubectl".to_owned()));
        assert!(matches!(verdict(skipped(), false), Verdict::Skipped(_)));
        assert!(matches!(verdict(skipped(), true), Verdict::Failed(_)));
    }

    #[test]
    fn a_failed_lane_keeps_every_cause_on_one_line() {
        let error = anyhow!("no such file").context("cannot read toolchain.txt");
        let Verdict::Failed(why) = verdict(Err(error), false) else { panic!("it failed") };
        assert_eq!(why, "cannot read toolchain.txt: no such file");
    }

    #[test]
    fn one_failure_among_passes_fails_the_whole() {
        let mut lanes = Lanes::default();
        lanes.run("good", || Ok(Outcome::Passed));
        lanes.run("bad", || Err(anyhow!("it broke")));
        assert!(lanes.to_string().contains("FAILED"));
        assert_eq!(lanes.finish(), ExitCode::FAILURE);
    }
}
