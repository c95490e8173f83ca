//! exec, fork, exit.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_task_pt_regs};
use tercel_sensor_abi::process::{CGROUP_LEVELS_MAX, ExecArguments, ExitArguments, ForkArguments, ProcessFacts};
use tercel_sensor_abi::{Control, Program, RecordKind};

use crate::descriptor;
use crate::maps::CONTROL;
use crate::memory::{load, read, zero};
use crate::path::Place;
use crate::record::RecordWriter;
use crate::syscall::{registers, strike_muted};
use crate::task;

/// The header's `syscall` of records that do not come from one.
const NO_SYSCALL: u32 = u32::MAX;

/// `clone` and `clone3` of x86-64, whose flags are asked of the registers.
const CLONE: u64 = 56;
const CLONE3: u64 = 435;

/// `RLIMIT_NOFILE`, and `struct rlimit` {u64 current, u64 max}.
const LIMIT_OF_DESCRIPTORS: u32 = 7;
const LIMIT_BYTES: u32 = 16;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// The current task runs a new program.
#[inline(always)]
pub unsafe fn exec(old_tid: u32) {
    // SAFETY: kernel memory is read through helpers; the arguments lie in the new program's own memory.
    unsafe {
        let task = task::current();
        let Some(mut record) = RecordWriter::begin(RecordKind::Exec as u64, Program::Exec) else { return };
        record.fill_header(task, NO_SYSCALL, 0);
        let memory = read::<u64>(task, offset!(task_mm));
        let argv = read::<u64>(memory, offset!(mm_arg_start));
        let argv_bytes = read::<u64>(memory, offset!(mm_arg_end)).wrapping_sub(argv);
        let environment = read::<u64>(memory, offset!(mm_env_start));
        let environment_bytes = read::<u64>(memory, offset!(mm_env_end)).wrapping_sub(environment);
        record.arguments(ExecArguments { argv_bytes, environment_bytes, old_tid }.to_words());
        record.place(Place::of_file(read(memory, offset!(mm_exe_file))));
        record.user_bytes(argv, argv_bytes);
        record.user_bytes(environment, if wants_environment() { environment_bytes } else { 0 });
        record.place(Place::working_directory(task));
        facts(&mut record, task);
        cgroup(&mut record, task);
        record.send();
    }
}

/// The current task got a child. A new thread is not a new process, and is not reported.
#[inline(always)]
pub unsafe fn fork(child: u64) {
    // SAFETY: `child` is a BTF pointer.
    unsafe {
        let (tgid, tid) = task::ids(child);
        if tgid != tid {
            return;
        }
        let task = task::current();
        let Some(mut record) = RecordWriter::begin(RecordKind::Fork as u64, Program::Fork) else { return };
        record.fill_header(task, NO_SYSCALL, 0);
        let (syscall, flags) = how_it_was_made(task);
        let child_start_ns = load(child, offset!(task_start));
        record.arguments(ForkArguments { child_tgid: tgid, child_start_ns, syscall, flags }.to_words());
        facts(&mut record, child);
        record.place(Place::working_directory(task));
        record.send();
    }
}

/// A thread ends; reported when it is the process's last.
#[inline(always)]
pub unsafe fn exit(task: u64) {
    // SAFETY: `task` is a BTF pointer.
    unsafe {
        if task::has_living_threads(task) {
            return;
        }
        strike_muted(task::ids(task).0);
        let Some(mut record) = RecordWriter::begin(RecordKind::Exit as u64, Program::Exit) else { return };
        record.fill_header(task, NO_SYSCALL, 0);
        record.arguments(ExitArguments { status: load(task, offset!(task_exit_code)) }.to_words());
        record.send();
    }
}

/// Appends [`ProcessFacts`].
#[inline(always)]
pub unsafe fn facts(record: &mut RecordWriter, task: u64) {
    // SAFETY: the helper takes any address; the string has room for the structure.
    unsafe {
        let bytes = record.string_bytes();
        zero::<{ ProcessFacts::BYTES / 8 }>(bytes);
        let facts = bytes.cast::<ProcessFacts>();
        let signal = read::<u64>(task, offset!(task_signal));
        (*facts).tty = task::tty(signal);
        (*facts).minor_faults = read::<u64>(task, offset!(task_minor_faults));
        (*facts).major_faults = read::<u64>(task, offset!(task_major_faults));
        (*facts).descriptors_max = read::<u64>(signal, offset!(signal_limits) + LIMIT_OF_DESCRIPTORS * LIMIT_BYTES);
        let thread = read::<u64>(task, offset!(task_thread_pid));
        let leader = read::<u64>(read(task, offset!(task_group_leader)), offset!(task_thread_pid));
        let group = task::group(signal);
        (*facts).sid = task::number_of(task::session(signal), 0);
        (*facts).pgid = task::number_of(group, 0);
        let level = read::<u32>(thread, offset!(pid_level));
        (*facts).vtid = task::number_of(thread, level);
        (*facts).vpid = task::number_of(leader, level);
        // The group's leader may live in a namespace above, where the process cannot see it.
        if read::<u32>(group, offset!(pid_level)) >= level {
            (*facts).vpgid = task::number_of(group, level);
        }
        let namespace = task::namespace_of(thread, level);
        (*facts).pid_namespace = read::<u32>(namespace, offset!(pid_namespace_inode));
        let first = read::<u64>(namespace, offset!(pid_namespace_reaper));
        (*facts).pid_namespace_start_ns = read::<u64>(first, offset!(task_start));
        let memory = read::<u64>(task, offset!(task_mm));
        let program = read::<u64>(memory, offset!(mm_exe_file));
        if memory != 0 && program != 0 {
            let inode = read::<u64>(program, offset!(file_inode));
            (*facts).exe_inode = read::<u64>(inode, offset!(inode_number));
            (*facts).exe_mode = read::<u16>(inode, offset!(inode_mode)) as u32;
            (*facts).exe_uid = read::<u32>(inode, offset!(inode_uid));
            (*facts).exe_gid = read::<u32>(inode, offset!(inode_gid));
            (*facts).exe_layer = descriptor::layer(inode);
            (*facts).exe_ctime_ns = read::<u64>(inode, offset!(inode_ctime_s)).wrapping_mul(NANOSECONDS_PER_SECOND)
                + read::<u32>(inode, offset!(inode_ctime_ns)) as u64;
            (*facts).exe_mtime_ns = read::<u64>(inode, offset!(inode_mtime_s)).wrapping_mul(NANOSECONDS_PER_SECOND)
                + read::<u32>(inode, offset!(inode_mtime_ns)) as u64;
        }
        record.end_string_here(ProcessFacts::BYTES as u64);
    }
}

/// Number and flags of the call that the parent is in.
#[inline(always)]
unsafe fn how_it_was_made(task: u64) -> (u32, u64) {
    // SAFETY: the helper returns a BTF pointer where the kernel has it; else the branch is dead.
    unsafe {
        if setting!(has_task_registers) == 0 {
            return (NO_SYSCALL, 0);
        }
        let registers = bpf_task_pt_regs(task as *mut _) as u64;
        let number = load::<u64>(registers, registers::ORIG_AX);
        if task::in_compat_call(task) {
            return (NO_SYSCALL, 0);
        }
        let first = load::<u64>(registers, registers::DI);
        let flags = match number {
            CLONE => first,
            CLONE3 => {
                let mut flags = 0_u64;
                bpf_probe_read_user((&raw mut flags).cast(), 8, first as *const _);
                flags
            }
            _ => 0,
        };
        (number as u32, flags)
    }
}

#[inline(always)]
unsafe fn wants_environment() -> bool {
    let Some(control) = CONTROL.get_ptr(0) else { return false };
    // SAFETY: the map's value.
    unsafe { read_volatile(addr_of!((*control).flags)) & Control::ENVIRONMENT != 0 }
}

/// Appends the names of the cgroup v2 directories, leaf first; the root has none.
#[inline(always)]
unsafe fn cgroup(record: &mut RecordWriter, task: u64) {
    // SAFETY: the helper takes any address.
    unsafe {
        let set = read::<u64>(task, offset!(task_cgroups));
        let group = read::<u64>(set, offset!(css_set_default_cgroup));
        let mut node = read::<u64>(group, offset!(cgroup_kn));
        let mut level = 0;
        while level < CGROUP_LEVELS_MAX && node != 0 {
            level += 1;
            let parent = read::<u64>(node, offset!(kn_parent));
            if parent == 0 {
                break;
            }
            record.kernel_name(read(node, offset!(kn_name)));
            node = parent;
        }
    }
}
