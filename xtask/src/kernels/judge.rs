//! What a guest said: lines of its console that begin with [`MARK`] hold one JSON object each, all others are for people.

use anyhow::{Result, bail};
use serde::Deserialize;

use super::fetch::Kernel;
use super::guest::Boot;
use crate::lanes::Outcome;
use crate::step;

const MARK: &str = "@@ ";
/// Of a guest that failed, shown at the terminal.
const LAST_LINES: usize = 40;

#[derive(Deserialize, Debug, PartialEq)]
#[serde(untagged, deny_unknown_fields)]
enum Finding {
    /// One action, and whether the alerts were right.
    Technique { technique: String, ok: bool, why: String },
    /// Opens made by one process while the entry point was under stress.
    Stress { entry: String, made: u64, seen: u64, dropped: u64, misses: u64 },
    /// Something that this guest does not show, and why.
    LeftOut { left_out: String },
    /// The last line.
    End { end: bool },
}

/// What all guests have shown so far.
#[derive(Default)]
pub(crate) struct Findings {
    techniques: usize,
    kernels: Vec<String>,
    left_out: Vec<String>,
    failures: Vec<String>,
}

impl Findings {
    pub(crate) fn add(&mut self, kernel: &Kernel, boot: Boot, console: &str) {
        let guest = format!("{} ({boot})", kernel.release);
        let before = self.failures.len();
        let mut ended = false;
        for line in console.lines().filter_map(|line| line.split_once(MARK).map(|(_, json)| json)) {
            match serde_json::from_str(line) {
                Ok(Finding::End { .. }) => ended = true,
                Ok(finding) => self.judge(&guest, &finding),
                Err(error) => self.failures.push(format!("{guest}: cannot read `{line}`: {error}")),
            }
        }
        if !ended {
            self.failures.push(format!("{guest}: it ended before it had said everything"));
        }
        if self.failures.len() > before {
            println!("{}", last_lines(console));
        }
        self.kernels.push(guest);
    }

    fn judge(&mut self, guest: &str, finding: &Finding) {
        match finding {
            Finding::Technique { ok: true, .. } => self.techniques += 1,
            Finding::Technique { technique, why, .. } => self.failures.push(format!("{guest}: {technique}: {why}")),
            Finding::LeftOut { left_out } => self.left_out.push(format!("{guest}: {left_out}")),
            Finding::Stress { entry, made, seen, dropped, misses } => {
                let what =
                    format!("{entry}: {made} opens made, {seen} seen, {dropped} dropped, {misses} calls skipped");
                step::note(&what);
                if !adds_up(entry, *made, *seen, *dropped, *misses) {
                    self.failures.push(format!("{guest}: {what}"));
                }
            }
            Finding::End { .. } => {}
        }
    }

    /// # Errors
    /// With every failure on a line of its own.
    pub(crate) fn outcome(self) -> Result<Outcome> {
        if !self.failures.is_empty() {
            bail!("{} findings are not well:\n{}", self.failures.len(), self.failures.join("\n"));
        }
        if self.techniques == 0 {
            bail!("no guest has shown any technique");
        }
        for left_out in &self.left_out {
            step::note(format!("left out: {left_out}"));
        }
        let left_out =
            if self.left_out.is_empty() { String::new() } else { format!("; {} left out", self.left_out.len()) };
        Ok(Outcome::Remarked(format!("{} techniques on {}{left_out}", self.techniques, self.kernels.join(", "))))
    }
}

/// The classic entry point loses nothing where nobody else works on maps; at the other the kernel skips calls and counts
/// them, whichever they were.
fn adds_up(entry: &str, made: u64, seen: u64, dropped: u64, misses: u64) -> bool {
    if entry == "btf" {
        0 < seen && seen <= made && made <= seen + dropped + misses
    } else {
        seen == made && dropped == 0
    }
}

/// The end of a console, as far as it is for people.
pub(crate) fn last_lines(console: &str) -> String {
    let lines: Vec<_> = console.lines().filter(|line| !line.contains("\"ok\":true")).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::fetch::FAMILIES;
    use super::*;

    fn judged(console: &str) -> Result<String, String> {
        let release = "6.1.0".to_owned();
        let kernel = Kernel { family: &FAMILIES[1], release, image: PathBuf::new(), module: PathBuf::new() };
        let mut findings = Findings::default();
        findings.add(&kernel, Boot::Techniques, console);
        match findings.outcome() {
            Ok(Outcome::Remarked(remark)) => Ok(remark),
            Ok(_) => Ok(String::new()),
            Err(error) => Err(error.to_string()),
        }
    }

    const GOOD: &str = "@@ {\"technique\":\"a\",\"ok\":true,\"why\":\"fired\"}\n";
    const END: &str = "@@ {\"end\":true}\n";

    #[test]
    fn a_guest_that_shows_all_and_ends_is_well() {
        assert_eq!(judged(&format!("boot\n{GOOD}[ 1.2] x {GOOD}{END}")).unwrap(), "2 techniques on 6.1.0 (techniques)");
    }

    #[test]
    fn a_guest_that_breaks_off_shows_nothing_or_speaks_in_riddles_is_not_well() {
        assert!(judged(GOOD).unwrap_err().contains("before it had said everything"));
        assert!(judged(END).unwrap_err().contains("no guest has shown any technique"));
        assert!(judged(&format!("{GOOD}@@ {{\"tech\n{END}")).unwrap_err().contains("cannot read"));
        let bad = "@@ {\"technique\":\"b\",\"ok\":false,\"why\":\"silence\"}\n";
        assert!(judged(&format!("{GOOD}{bad}{END}")).unwrap_err().contains("b: silence"));
    }

    #[test]
    fn the_classic_entry_sees_every_open_and_the_other_no_more_than_were_made() {
        assert!(adds_up("classic", 5_000, 5_000, 0, 7));
        for (seen, dropped) in [(4_999, 0), (5_001, 0), (4_999, 1)] {
            assert!(!adds_up("classic", 5_000, seen, dropped, 7), "{seen} seen, {dropped} dropped");
        }
        assert!(adds_up("btf", 5_000, 4_000, 10, 990) && adds_up("btf", 5_000, 5_000, 0, 0));
        for (seen, misses) in [(0, 9_000), (4_000, 999), (5_001, 999)] {
            assert!(!adds_up("btf", 5_000, seen, 0, misses), "{seen} seen, {misses} skipped");
        }
    }
}
