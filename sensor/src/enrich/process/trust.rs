//! After a loss: what the table says of a process may be of yesterday, because its fork, exec or exit was among the records
//! that never came. Nothing is thrown away for that. Each process is compared with /proc when it is next heard of, and its
//! ancestors with it, within a budget; what is not yet compared stays as it is meanwhile.
//!
//! Compared are start, name and program. Arguments are not: a process can write over those that /proc shows.

use super::{ANCESTORS_MAX, Process, Processes, START_TOLERANCE_NS, procfs, read_process};

/// Comparisons per second, and how many may be saved up: at some 20 µs each. They have a budget of their own, so that
/// processes that are not known at all are looked up all the same.
pub(super) const COMPARISONS_PER_TICK: u32 = 1_000;
pub(super) const COMPARISONS_MAX: u32 = 4_000;

/// Of these, those that go to processes which are not heard of: they may be the parents of the next.
const SWEPT_PER_TICK: usize = 500;

/// Losses up to which something was compared with /proc; 0 where none was ever needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// The process itself.
    own: u32,
    /// It and all of its ancestors.
    pub(super) lineage: u32,
}

impl Trust {
    /// Of what was found out after that many losses.
    pub(super) fn after(losses: u32) -> Self {
        Self { own: losses, lineage: 0 }
    }
}

impl Processes {
    /// Records about the lives of processes were lost: from now on everything known is compared with /proc before it counts.
    pub(crate) fn distrust(&mut self) {
        self.losses = self.losses.wrapping_add(1);
    }

    /// Compares some of the running processes that were not compared since the last loss, so that one is known by the time its
    /// child is heard of, even if it is gone by then.
    pub(super) fn sweep(&mut self, now_ns: u64) {
        if self.swept == self.losses {
            return;
        }
        let is_due = |process: &&Process| process.trust.own != self.losses && process.is_running();
        let due: Vec<_> =
            self.by_tgid.values().filter(is_due).map(|process| process.tgid).take(SWEPT_PER_TICK).collect();
        if due.iter().all(|tgid| self.compare(*tgid, u64::MAX, now_ns)) && due.len() < SWEPT_PER_TICK {
            self.swept = self.losses;
        }
    }

    /// Whether a process and its ancestors are known as they are, as far as records and /proc tell.
    pub(super) fn is_trusted(&self, process: &Process) -> bool {
        process.trust.lineage == self.losses
    }

    /// Compares a process with /proc, where that was not done since the last loss. `false`: the budget does not allow it now.
    /// `born_before_ns`: a process of this number that started later is another one.
    pub(super) fn compare(&mut self, tgid: u32, born_before_ns: u64, now_ns: u64) -> bool {
        let Some(known) = self.get(tgid) else { return true };
        if known.trust.own == self.losses {
            return true;
        }
        let Some(left) = self.comparisons_left.checked_sub(1) else { return false };
        self.comparisons_left = left;
        self.counts.compared += 1;
        let losses = self.losses;
        let found = procfs::read_stat(tgid);
        let Some(known) = self.by_tgid.get_mut(&tgid) else { return true };
        known.trust = Trust::after(losses);
        match found {
            // Its end was lost, or is still on its way.
            None => drop(known.exited_ns.get_or_insert(now_ns)),
            Some(stat) if stat.start_ns > born_before_ns.saturating_add(START_TOLERANCE_NS) => {}
            Some(stat) if known.is(stat.start_ns) && known.runs(&stat.comm) => {}
            Some(_) => self.correct(tgid),
        }
        true
    }

    /// Puts what /proc says of a process in the place of what is known.
    fn correct(&mut self, tgid: u32) {
        let Some((known, found)) = self.get(tgid).zip(read_process(tgid)) else { return };
        let corrected = Process { trust: known.trust, ..known.corrected_by(found) };
        if let Some(answers) = &mut self.answers {
            answers.push(corrected.clone());
        }
        self.insert(corrected);
    }

    /// An exec told everything of this process anew.
    pub(super) fn take_as_told(&mut self, tgid: u32) {
        let losses = self.losses;
        if let Some(process) = self.by_tgid.get_mut(&tgid) {
            process.trust = Trust::after(losses);
        }
    }

    /// To be called when a process and its ancestors, the first of which is `parent`, were gone through.
    pub(super) fn trust_lineage(&mut self, tgid: u32, parent: u32) {
        let (losses, mut next) = (self.losses, parent);
        let mut tgids = vec![tgid];
        while let Some(process) = self.get(next).filter(|_| tgids.len() < ANCESTORS_MAX) {
            if process.trust.lineage == losses {
                break;
            }
            tgids.push(next);
            next = process.ppid;
        }
        for tgid in tgids {
            if let Some(process) = self.by_tgid.get_mut(&tgid) {
                process.trust = Trust { own: losses, lineage: losses };
            }
        }
    }
}

impl Process {
    /// Whether it still has this name and runs the program that is known, as far as /proc tells.
    fn runs(&self, comm: &[u8]) -> bool {
        *self.image.comm == *comm && procfs::read_exe_path(self.tgid).is_none_or(|path| path == *self.image.exe_path)
    }

    /// What /proc found, with what it does not tell of the same process.
    fn corrected_by(&self, found: Self) -> Self {
        if !self.is(found.start_ns) {
            return found;
        }
        Self {
            start_ns: self.start_ns,
            pid_namespace: self.pid_namespace,
            pid_namespace_start_ns: self.pid_namespace_start_ns,
            limits: self.limits,
            cgroup_id: self.cgroup_id,
            seen_ns: self.seen_ns,
            ..found
        }
    }
}
