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

/// `S_IFMT` and `S_IFSOCK` of `<linux/stat.h>`.
const FILE_TYPE_MASK: u16 = 0o170_000;
const FILE_TYPE_SOCKET: u16 = 0o140_000;

/// `PIDTYPE_SID` of `<linux/pid_types.h>`, since 4.19.
const PIDTYPE_SID: u32 = 3;

/// The fields of a record's header that come out of the task structure.
pub struct Identity {
    pub ppid: u32,
    pub start_ns: u64,
    pub euid: u32,
    pub loginuid: u32,
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

/// Device number of the controlling terminal, encoded as `/proc/<pid>/stat` shows it; 0 is none.
#[inline(always)]
pub unsafe fn tty(task: u64) -> u32 {
    // SAFETY: the helper takes any address; a null pointer reads as 0.
    unsafe {
        let signal = read::<u64>(task, offset!(task_signal));
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

/// Process id of the session's leader, as the first pid namespace numbers it.
#[inline(always)]
pub unsafe fn session(task: u64) -> u32 {
    // SAFETY: as `tty`.
    unsafe {
        let signal = read::<u64>(task, offset!(task_signal));
        let pid = read::<u64>(signal, offset!(signal_pids) + PIDTYPE_SID * 8);
        read::<u32>(pid, offset!(pid_numbers) + offset!(upid_nr))
    }
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
        let files = read::<u64>(task, offset!(task_files));
        let table = read::<u64>(files, offset!(files_fdt));
        if fd >= read::<u32>(table, offset!(fdt_max_fds)) as u64 {
            return 0;
        }
        read::<u64>(read::<u64>(table, offset!(fdt_fd)) + fd * 8, 0)
    }
}

/// `struct sock` behind a descriptor of the task; 0 where the descriptor is no socket.
#[inline(always)]
pub unsafe fn socket(task: u64, fd: u64) -> u64 {
    // SAFETY: as `tty`.
    unsafe {
        let file = file(task, fd);
        let inode = read::<u64>(file, offset!(file_inode));
        if file == 0 || read::<u16>(inode, offset!(inode_mode)) & FILE_TYPE_MASK != FILE_TYPE_SOCKET {
            return 0;
        }
        read::<u64>(read::<u64>(file, offset!(file_private_data)), offset!(socket_sk))
    }
}

/// Process id and thread id of a task that is a BTF pointer.
#[inline(always)]
pub unsafe fn ids(task: u64) -> (u32, u32) {
    // SAFETY: as said.
    unsafe { (load::<u32>(task, offset!(task_tgid)), load::<u32>(task, offset!(task_pid))) }
}
