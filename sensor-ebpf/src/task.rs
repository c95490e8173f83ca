//! Who: facts about the current task.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};

use crate::memory::{load, read};

/// A member of a structure that is a BTF pointer where the kernel has `bpf_get_current_task_btf`.
macro_rules! member {
    ($type:ty, $pointer:expr, $member:ident) => {
        if setting!(task_is_btf) != 0 {
            $crate::memory::load::<$type>($pointer, offset!($member))
        } else {
            $crate::memory::read::<$type>($pointer, offset!($member))
        }
    };
}

/// `PIDTYPE_PGID` and `PIDTYPE_SID` of `<linux/pid_types.h>`, since 4.19.
const PIDTYPE_PGID: u32 = 2;
const PIDTYPE_SID: u32 = 3;

/// Bytes of a `struct upid` {int, pointer}, of which a `struct pid` holds one for each namespace.
const UPID_BYTES: u32 = 16;

/// Levels of pid namespaces: `MAX_PID_NS_LEVEL`.
const LEVELS_MAX: u32 = 32;

/// A set of capabilities, which is an array of two words on older kernels and one of 64 bits on newer ones.
macro_rules! capabilities {
    ($pointer:expr, $member:ident) => {
        if setting!(task_is_btf) != 0 {
            $crate::memory::load::<u32>($pointer, offset!($member)) as u64
                | ($crate::memory::load::<u32>($pointer, offset!($member) + 4) as u64) << 32
        } else {
            $crate::memory::read::<u64>($pointer, offset!($member))
        }
    };
}

/// The fields of a record's header that come out of the task structure.
pub struct Identity {
    pub ppid: u32,
    pub start_ns: u64,
    pub euid: u32,
    pub egid: u32,
    pub loginuid: u32,
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
}

/// `task_struct` of the current task.
#[inline(always)]
pub unsafe fn current() -> u64 {
    // SAFETY: both helpers take nothing. Only the branch that the frozen setting chooses is ever verified.
    unsafe {
        if setting!(task_is_btf) != 0 { bpf_get_current_task_btf() as u64 } else { bpf_get_current_task() as u64 }
    }
}

#[inline(always)]
pub unsafe fn identity(task: u64) -> Identity {
    // SAFETY: `task` is the current task; pointers loaded from a BTF pointer are BTF pointers themselves.
    unsafe {
        let parent = member!(u64, task, task_real_parent);
        let leader = member!(u64, task, task_group_leader);
        let credentials = member!(u64, task, task_cred);
        Identity {
            ppid: member!(u32, parent, task_tgid),
            start_ns: member!(u64, leader, task_start),
            euid: member!(u32, credentials, cred_euid),
            egid: member!(u32, credentials, cred_egid),
            cap_inheritable: capabilities!(credentials, cred_cap_inheritable),
            cap_permitted: capabilities!(credentials, cred_cap_permitted),
            cap_effective: capabilities!(credentials, cred_cap_effective),
            loginuid: if offset!(task_loginuid) == tercel_sensor_abi::Offsets::MISSING {
                u32::MAX
            } else {
                member!(u32, task, task_loginuid)
            },
        }
    }
}

/// Whether the task is in a 32-bit system call (`TS_COMPAT`), whose numbers and registers mean something else.
#[inline(always)]
pub unsafe fn in_compat_call(task: u64) -> bool {
    const TS_COMPAT: u32 = 2;
    // SAFETY: as `identity`.
    unsafe { member!(u32, task, task_status) & TS_COMPAT != 0 }
}

/// Device number of the controlling terminal of a `signal_struct`, encoded as `/proc/<pid>/stat` shows it; 0 is none.
#[inline(always)]
pub unsafe fn tty(signal: u64) -> u32 {
    // SAFETY: the helper takes any address; a null pointer reads as 0.
    unsafe {
        let tty = read::<u64>(signal, offset!(signal_tty));
        if tty == 0 {
            return 0;
        }
        let driver = read::<u64>(tty, offset!(tty_driver));
        let major = read::<u32>(driver, offset!(tty_driver_major));
        let minor = read::<u32>(driver, offset!(tty_driver_minor_start)) + read::<u32>(tty, offset!(tty_index));
        (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
    }
}

/// `struct pid` of the session's leader.
#[inline(always)]
pub unsafe fn session(signal: u64) -> u64 {
    // SAFETY: as `tty`.
    unsafe { read::<u64>(signal, offset!(signal_pids) + PIDTYPE_SID * 8) }
}

/// `struct pid` of the process group's leader.
#[inline(always)]
pub unsafe fn group(signal: u64) -> u64 {
    // SAFETY: as `tty`.
    unsafe { read::<u64>(signal, offset!(signal_pids) + PIDTYPE_PGID * 8) }
}

/// The number that a `struct pid` has in the namespace of this level; 0 is the first.
#[inline(always)]
pub unsafe fn number_of(pid: u64, level: u32) -> u32 {
    // SAFETY: as `tty`.
    unsafe { read::<u32>(pid, offset!(pid_numbers) + level % LEVELS_MAX * UPID_BYTES + offset!(upid_nr)) }
}

/// `struct pid_namespace` of this level.
#[inline(always)]
pub unsafe fn namespace_of(pid: u64, level: u32) -> u64 {
    // SAFETY: as `tty`.
    unsafe { read::<u64>(pid, offset!(pid_numbers) + level % LEVELS_MAX * UPID_BYTES + offset!(upid_namespace)) }
}

/// Whether other threads of the process still live: `signal->live`, which the kernel has already counted down.
#[inline(always)]
pub unsafe fn has_living_threads(task: u64) -> bool {
    // SAFETY: as `tty`.
    unsafe {
        let signal = read::<u64>(task, offset!(task_signal));
        read::<u32>(signal, offset!(signal_live)) != 0
    }
}

/// `struct file` behind a descriptor of the task; 0 where there is none.
#[inline(always)]
pub unsafe fn file(task: u64, fd: u64) -> u64 {
    // SAFETY: as `tty`; the descriptor is checked against the table's size.
    unsafe {
        let files = member!(u64, task, task_files);
        let table = member!(u64, files, files_fdt);
        if fd >= member!(u32, table, fdt_max_fds) as u64 {
            return 0;
        }
        // An array of pointers is no structure: from here on the verifier knows no types.
        read::<u64>(member!(u64, table, fdt_fd) + fd * 8, 0)
    }
}

/// Process id and thread id of a task that is a BTF pointer.
#[inline(always)]
pub unsafe fn ids(task: u64) -> (u32, u32) {
    // SAFETY: as said.
    unsafe { (load::<u32>(task, offset!(task_tgid)), load::<u32>(task, offset!(task_pid))) }
}
