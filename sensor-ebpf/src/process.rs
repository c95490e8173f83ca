//! exec, fork, exit.

use tercel_sensor_abi::RecordKind;
use tercel_sensor_abi::process::{CGROUP_LEVELS_MAX, ExecArguments, ExitArguments, ForkArguments};
use tercel_sensor_abi::syscall::x86_64::EXECVE;

use crate::memory::{load, read};
use crate::record::RecordWriter;
use crate::syscall::Call;
use crate::task;

/// The header's `syscall` of records that do not come from one.
const NO_SYSCALL: u32 = u32::MAX;

/// The current task runs a new program.
#[inline(always)]
pub unsafe fn exec() {
    // SAFETY: kernel memory is read through helpers; the arguments lie in the new program's own memory.
    unsafe {
        let task = task::current();
        let Some(mut record) = RecordWriter::begin(RecordKind::Exec, NO_SYSCALL, 0) else { return };
        let memory = read::<u64>(task, offset!(task_mm));
        let start = read::<u64>(memory, offset!(mm_arg_start));
        let argv_bytes = read::<u64>(memory, offset!(mm_arg_end)).wrapping_sub(start);
        let arguments = ExecArguments { tty: task::tty(task), sid: task::session(task), argv_bytes };
        record.arguments(arguments.to_words());
        record.file_path(read(memory, offset!(mm_exe_file)));
        record.user_bytes(start, argv_bytes);
        cgroup(&mut record, task);
        record.send();
    }
}

/// An execve or execveat came back.
#[inline(always)]
pub unsafe fn exec_failed(call: &Call) {
    // SAFETY: as `exec`.
    unsafe {
        let Some(mut record) = RecordWriter::begin(RecordKind::ExecFailed, call.number, call.result) else { return };
        record.user_string(if call.number == EXECVE { call.arguments[0] } else { call.arguments[1] });
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
        let Some(mut record) = RecordWriter::begin(RecordKind::Fork, NO_SYSCALL, 0) else { return };
        let child_start_ns = load(child, offset!(task_start));
        record.arguments(ForkArguments { child_tgid: tgid, child_start_ns }.to_words());
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
        let Some(mut record) = RecordWriter::begin(RecordKind::Exit, NO_SYSCALL, 0) else { return };
        record.arguments(ExitArguments { status: load(task, offset!(task_exit_code)) }.to_words());
        record.send();
    }
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
