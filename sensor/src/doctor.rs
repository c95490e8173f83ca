//! What this machine has of what the sensor needs: `tercel-sensor doctor`.

use std::fmt;
use std::path::Path;

use crate::kernel::{self, BTF_PATH, Capability, Entry, EntryPoint, KERNEL_MIN, Parameters};

/// Where the classic tracepoints are described.
const TRACEFS_PATHS: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// The table, one row for each thing that is needed or wanted.
#[derive(Debug)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: &'static str,
    verdict: Verdict,
    found: String,
    /// What would do; empty where nothing need be done.
    remedy: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// The sensor runs, with less.
    Degraded,
    /// The sensor does not run.
    Missing,
}

/// Looks at everything, and loads the programs for a moment: only the kernel itself knows.
pub fn report() -> Report {
    let mut rows = vec![kernel_row()];
    rows.extend(Capability::ALL.into_iter().filter_map(capability_row));
    rows.extend([btf_row(), lockdown_row(), lsm_row(), jit_row(), tracefs_row(), cgroup_row(), entry_row()]);
    rows.push(load_row());
    Report { rows }
}

impl Report {
    /// Whether the sensor can run here.
    pub fn ready(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Missing)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
        for row in &self.rows {
            writeln!(f, "{:<8}  {:<width$}  {}", row.verdict, row.what, row.found)?;
            if !row.remedy.is_empty() {
                writeln!(f, "{:<8}  {:<width$}  → {}", "", "", row.remedy)?;
            }
        }
        f.write_str(if self.ready() { "the sensor can run here" } else { "the sensor cannot run here" })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        })
    }
}

impl Row {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Ok, found: found.into(), remedy: "" }
    }

    fn bad(what: &'static str, verdict: Verdict, found: impl Into<String>, remedy: &'static str) -> Self {
        Self { what, verdict, found: found.into(), remedy }
    }
}

fn kernel_row() -> Row {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if kernel::kernel_version() >= KERNEL_MIN {
        Row::ok("kernel", release)
    } else {
        Row::bad("kernel", Verdict::Missing, release, "Linux 5.10 or later: ring buffers and BTF tracepoints")
    }
}

/// `CAP_SYS_ADMIN` has no row of its own: it stands for the two that load programs.
fn capability_row(capability: Capability) -> Option<Row> {
    let (what, missing, remedy) = match capability {
        Capability::SysAdmin => return None,
        Capability::Bpf => ("CAP_BPF", Verdict::Missing, "run as root or grant CAP_BPF: loads the programs"),
        Capability::Perfmon => {
            ("CAP_PERFMON", Verdict::Missing, "run as root or grant CAP_PERFMON: lets them read kernel memory")
        }
        Capability::SysPtrace => (
            "CAP_SYS_PTRACE",
            Verdict::Degraded,
            "grant CAP_SYS_PTRACE: reads the programs of processes that ran before the sensor",
        ),
        Capability::DacReadSearch => (
            "CAP_DAC_READ_SEARCH",
            Verdict::Degraded,
            "grant CAP_DAC_READ_SEARCH: reads tracefs and other users' processes",
        ),
    };
    let implied = missing == Verdict::Missing && kernel::has_capability(Capability::SysAdmin);
    Some(if kernel::has_capability(capability) {
        Row::ok(what, "held")
    } else if implied {
        Row::ok(what, "through CAP_SYS_ADMIN")
    } else {
        Row::bad(what, missing, "not held", remedy)
    })
}

fn btf_row() -> Row {
    match kernel::check_btf() {
        Ok(()) => Row::ok("BTF", BTF_PATH),
        Err(error) => Row::bad(
            "BTF",
            Verdict::Missing,
            error.to_string(),
            "a kernel with CONFIG_DEBUG_INFO_BTF=y, and /sys mounted",
        ),
    }
}

fn lockdown_row() -> Row {
    match kernel::lockdown_mode() {
        None => Row::ok("lockdown", "not in this kernel"),
        Some(mode) if mode == "confidentiality" => Row::bad(
            "lockdown",
            Verdict::Missing,
            mode,
            "boot with lockdown=integrity: confidentiality forbids BPF to read kernel memory",
        ),
        Some(mode) => Row::ok("lockdown", mode),
    }
}

/// Security modules that may refuse BPF; whether they do is what the trial load shows.
fn lsm_row() -> Row {
    match std::fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(modules) => Row::ok("security modules", modules.trim()),
        Err(_) => Row::ok("security modules", "unknown: securityfs is not mounted"),
    }
}

fn jit_row() -> Row {
    match std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").as_deref().map(str::trim) {
        Ok("0") => {
            Row::bad("BPF JIT", Verdict::Degraded, "off: programs are interpreted", "sysctl net.core.bpf_jit_enable=1")
        }
        Ok(_) => Row::ok("BPF JIT", "on"),
        // The switch is only there where it can be changed; without it the JIT is compiled in as always on.
        Err(_) => Row::ok("BPF JIT", "no switch: always on, or not readable"),
    }
}

fn tracefs_row() -> Row {
    match TRACEFS_PATHS.into_iter().find(|path| Path::new(path).is_dir()) {
        Some(path) => Row::ok("tracefs", path),
        None if entry().0 == EntryPoint::Classic => {
            Row::bad("tracefs", Verdict::Missing, "not mounted", "mount -t tracefs tracefs /sys/kernel/tracing")
        }
        None => Row::bad(
            "tracefs",
            Verdict::Degraded,
            "not mounted",
            "the entry point could not be switched if it skipped calls: mount -t tracefs \
             tracefs /sys/kernel/tracing",
        ),
    }
}

fn entry() -> (EntryPoint, &'static str) {
    Entry::Auto.choose(kernel::kernel_version())
}

/// What would be used, unless the setting `entry` forces one.
fn entry_row() -> Row {
    let (entry, why) = entry();
    Row::ok("entry point", format!("{entry}: {why}"))
}

fn cgroup_row() -> Row {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    match mount.and_then(|line| line.split(' ').nth(1)) {
        Some(path) => Row::ok("cgroup v2", path),
        None => Row::bad(
            "cgroup v2",
            Verdict::Degraded,
            "not mounted",
            "container ids then come from /proc only, and short-lived containers may have none",
        ),
    }
}

fn load_row() -> Row {
    match trial() {
        Ok(found) => Row::ok("trial load", found),
        Err(error) => Row::bad(
            "trial load",
            Verdict::Missing,
            chain(&error),
            "see the rows above; on EPERM a security module refuses",
        ),
    }
}

/// Loads, looks and detaches.
fn trial() -> Result<String, kernel::Error> {
    let mut loaded = kernel::load(Parameters::default())?;
    let status = loaded.status()?;
    loaded.detach()?;
    Ok(format!("{}; recursion misses meanwhile: {}", status.hooks.join(", "), status.misses_total()))
}

/// The error and its causes, each once, without the verifier's pages.
fn chain(error: &dyn std::error::Error) -> String {
    const CAUSE_CHARACTERS_MAX: usize = 300;
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts = causes.map(|cause| cause.to_string().chars().take(CAUSE_CHARACTERS_MAX).collect::<String>());
    texts.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_thing_stops_and_a_degraded_one_does_not() {
        let degraded = Report { rows: vec![Row::bad("x", Verdict::Degraded, "off", "turn it on")] };
        assert!(degraded.ready());
        let missing = Report { rows: vec![Row::ok("a", "b"), Row::bad("x", Verdict::Missing, "gone", "bring it")] };
        assert!(!missing.ready());
        assert!(missing.to_string().contains("→ bring it"));
    }
}
