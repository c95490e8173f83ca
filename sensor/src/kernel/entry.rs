//! Through which hook the exits of system calls are seen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// From here on BTF tracepoints on system calls are preemptible, and the kernel silently skips calls.
const KERNEL_PREEMPTIBLE_TRACEPOINTS: (u32, u32) = (7, 0);

/// The last kernel on which the BTF form was measured to skip nothing under any preemption model.
const KERNEL_MEASURED: (u32, u32) = (6, 12);

/// One of the two forms of the program at the exit of system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryPoint {
    /// `tp_btf/sys_exit`: cheaper by some 50 ns a call; skips calls where it can be preempted.
    TpBtf,
    /// `raw_syscalls:sys_exit`, which runs with preemption off on every kernel; not at all while somebody who was preempted
    /// is inside of `bpf(2)` with a map on that CPU. Needs `bpf_task_pt_regs` (5.15).
    Classic,
}

/// What the setting `entry` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// By the kernel's version, and switched while running as soon as calls are skipped.
    #[default]
    Auto,
    /// The BTF form, whatever it skips.
    Btf,
    Classic,
}

impl EntryPoint {
    pub const ALL: [Self; 2] = [Self::TpBtf, Self::Classic];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Classic => "classic",
        }
    }

    /// Name of its program in the object.
    pub const fn program(self) -> &'static str {
        match self {
            Self::TpBtf => "sys_exit",
            Self::Classic => "sys_exit_classic",
        }
    }
}

impl fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "btf" => Ok(Self::Btf),
            "classic" => Ok(Self::Classic),
            _ => Err(format!("unknown entry `{}`, expected auto, btf or classic", text.escape_debug())),
        }
    }
}

impl Entry {
    /// The entry point to begin with on a kernel of this version, and why.
    pub fn choose(self, version: (u32, u32)) -> (EntryPoint, &'static str) {
        match self {
            Self::Btf => (EntryPoint::TpBtf, "the setting `entry` says so; it is not switched"),
            Self::Classic => (EntryPoint::Classic, "the setting `entry` says so"),
            Self::Auto if version >= KERNEL_PREEMPTIBLE_TRACEPOINTS => {
                (EntryPoint::Classic, "from Linux 7.0 on the BTF form is preemptible and skips calls")
            }
            Self::Auto if version.0 == KERNEL_MEASURED.0 && version.1 > KERNEL_MEASURED.1 => {
                (EntryPoint::TpBtf, "the cheaper one; whether this kernel skips calls is watched, then it is switched")
            }
            Self::Auto => (EntryPoint::TpBtf, "the cheaper one, and kernels up to 6.12 skip no calls"),
        }
    }

    /// Whether the entry point must be changed, where its program's recursion misses were `before` and are `now`. A
    /// single one is enough: each may stand for a lost event, and the classic form costs little more.
    pub fn switches(self, used: EntryPoint, before: u64, now: u64) -> bool {
        self == Self::Auto && used == EntryPoint::TpBtf && now > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_point_follows_the_kernel_s_version_unless_it_is_forced() {
        for (version, expected) in [
            ((5, 10), EntryPoint::TpBtf),
            ((6, 12), EntryPoint::TpBtf),
            ((6, 19), EntryPoint::TpBtf),
            ((7, 0), EntryPoint::Classic),
            ((8, 1), EntryPoint::Classic),
        ] {
            assert_eq!(Entry::Auto.choose(version).0, expected, "{version:?}");
            assert_eq!(Entry::Btf.choose(version).0, EntryPoint::TpBtf);
            assert_eq!(Entry::Classic.choose(version).0, EntryPoint::Classic);
        }
        assert!(Entry::Auto.choose((6, 18)).1.contains("watched"));
        assert!(!Entry::Auto.choose((6, 12)).1.contains("watched"));
    }

    #[test]
    fn one_more_recursion_miss_is_enough_to_switch_away_from_the_btf_form() {
        assert!(Entry::Auto.switches(EntryPoint::TpBtf, 0, 1));
        assert!(!Entry::Auto.switches(EntryPoint::TpBtf, 7, 7));
        assert!(!Entry::Auto.switches(EntryPoint::Classic, 0, 9));
        assert!(!Entry::Btf.switches(EntryPoint::TpBtf, 0, 9));
    }

    #[test]
    fn an_entry_that_is_none_names_the_known_ones() {
        assert_eq!("auto".parse(), Ok(Entry::Auto));
        assert_eq!("btf".parse(), Ok(Entry::Btf));
        assert_eq!("classic".parse(), Ok(Entry::Classic));
        let error = "tp\u{1b}".parse::<Entry>().unwrap_err();
        assert_eq!(error, "unknown entry `tp\\u{1b}`, expected auto, btf or classic");
    }
}
