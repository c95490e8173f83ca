//! After a loss: what the table says of a process may be of yesterday, because its fork, exec or exit was among the records
//! that never came. Nothing is thrown away for that. Each process is compared with /proc when it is next heard of, and its
//! ancestors with it, within the budget of look-ups; what is not yet compared stays as it is meanwhile.

use super::{ANCESTORS_MAX, Process, Processes, START_TOLERANCE_NS};

/// Look-ups that comparing leaves in the budget: processes that are not known at all go first.
const LOOKUPS_FOR_UNKNOWN: u32 = 100;

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
        if self.budget.get() <= LOOKUPS_FOR_UNKNOWN {
            return false;
        }
        let found = self.look_up(tgid);
        let losses = self.losses;
        let Some(known) = self.by_tgid.get_mut(&tgid) else { return true };
        known.trust = Trust::after(losses);
        match found {
            // Its end was lost, or is still on its way.
            None => drop(known.exited_ns.get_or_insert(now_ns)),
            Some(found) if found.start_ns <= born_before_ns.saturating_add(START_TOLERANCE_NS) => {
                if !known.is_like(&found) {
                    let found = known.corrected_by(found);
                    self.insert(found);
                }
            }
            Some(_) => {}
        }
        true
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
    /// Whether what /proc says is what the table has.
    fn is_like(&self, found: &Self) -> bool {
        let (own, other) = (&self.image, &found.image);
        self.is(found.start_ns)
            && (&own.comm, &own.exe_path) == (&other.comm, &other.exe_path)
            && self.arguments() == found.arguments()
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
