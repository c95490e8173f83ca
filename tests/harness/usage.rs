//! What a process uses, as /proc tells it.

/// Of the times in `/proc/<pid>/stat`, on every architecture that Tercel knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// One look at a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Resident memory, files that are mapped included.
    pub(crate) resident_kib: u32,
    /// Of all its threads since it was started, in its own code and in the kernel's.
    pub(crate) cpu_s: f64,
}

impl Usage {
    /// `None`: it is gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything; behind it the state is number 0, and user and system time are numbers 11 and 12.
        let values: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = [11, 12].map(|place: usize| values.get(place).and_then(|value| value.parse::<f64>().ok()));
        let [Some(user), Some(system)] = ticks else { return None };
        let resident_kib = resident.trim().trim_end_matches(" kB").parse().ok()?;
        Some(Self { resident_kib, cpu_s: (user + system) / TICKS_PER_SECOND })
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        f64::from(self.resident_kib) / 1024.0
    }
}

/// The processes that this one started and that run.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[test]
fn this_process_is_resident_and_has_used_its_time() {
    let before = Usage::of(std::process::id()).unwrap();
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_millis(50) {}
    let after = Usage::of(std::process::id()).unwrap();
    assert!(before.resident_kib > 1_000 && after.cpu_s > before.cpu_s, "{before:?} {after:?}");
}
