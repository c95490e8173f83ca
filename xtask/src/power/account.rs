//! What was acknowledged against what has arrived.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail};

const MARK: &str = "@@ ";

/// A life of the router and one of its senders.
type Sender = (u32, u16);

/// What the guests said. Each sender numbers its alerts from 0 without a gap.
#[derive(Default)]
pub(crate) struct Account {
    /// The last number that was acknowledged.
    acked: BTreeMap<Sender, u64>,
    arrived: BTreeMap<Sender, Vec<RangeInclusive<u64>>>,
    archived: BTreeMap<Sender, Vec<RangeInclusive<u64>>>,
}

impl Account {
    /// Takes all lines of a console that say something. The last one may be cut off.
    ///
    /// # Errors
    /// One that says that something failed, or makes no sense.
    pub(crate) fn read(&mut self, console: &str) -> Result<()> {
        let whole = console.rfind('\n').map_or("", |end| &console[..end]);
        for line in whole.lines().filter_map(|line| line.split_once(MARK).map(|(_, said)| said.trim_end())) {
            self.line(line).with_context(|| format!("the guest says `{line}`"))?;
        }
        Ok(())
    }

    fn line(&mut self, text: &str) -> Result<()> {
        let words: Vec<_> = text.split(' ').collect();
        match words[..] {
            ["end"] => {}
            ["acked", life, sender, number] => {
                self.acked.insert((life.parse()?, sender.parse()?), number.parse()?);
            }
            ["arrived", life, sender, ref numbers @ ..] => {
                self.arrived.insert((life.parse()?, sender.parse()?), ranges(numbers)?);
            }
            ["archived", life, sender, ref numbers @ ..] => {
                self.archived.insert((life.parse()?, sender.parse()?), ranges(numbers)?);
            }
            _ => bail!("that is no account"),
        }
        Ok(())
    }

    /// Alerts that were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acked.values().map(|last| last + 1).sum()
    }

    /// Those of them that are not at the destination, and not in the archive.
    pub(crate) fn missing(&self) -> (u64, u64) {
        let missing = |from: &BTreeMap<Sender, Vec<RangeInclusive<u64>>>| {
            let of = |(sender, last): (&Sender, &u64)| {
                let there = from.get(sender).map_or(&[][..], Vec::as_slice);
                let counts = there.iter().map(|range| (range.end().min(last) + 1).saturating_sub(*range.start()));
                last + 1 - counts.sum::<u64>()
            };
            self.acked.iter().map(of).sum()
        };
        (missing(&self.arrived), missing(&self.archived))
    }
}

fn ranges(words: &[&str]) -> Result<Vec<RangeInclusive<u64>>> {
    let range = |word: &&str| {
        let (first, last) = word.split_once('-').context("a range has two ends")?;
        Ok(first.parse()?..=last.parse()?)
    };
    words.iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_acknowledged_alert_that_is_not_there_is_missed() {
        let mut account = Account::default();
        account.read("boot\n[1] x @@ acked 0 1 4\r\n@@ acked 0 1 9\n@@ acked 1 1 4\n@@ acked 1 1 9").unwrap();
        assert_eq!((account.acknowledged(), account.missing()), (15, (15, 15)));
        account.read("@@ arrived 0 1 0-9\n@@ arrived 1 1 0-6\n@@ archived 0 1 0-2 4-12\n@@ end\n").unwrap();
        assert_eq!(account.missing(), (0, 6));
    }

    #[test]
    fn a_guest_that_failed_or_speaks_in_riddles_is_heard() {
        for line in ["@@ failed the load broke off\n", "@@ acked 0 1\n", "@@ arrived 0 1 7\n"] {
            assert!(Account::default().read(line).is_err(), "{line}");
        }
    }
}
