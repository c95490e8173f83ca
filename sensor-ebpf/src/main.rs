//! The kernel programs of the Tercel sensor.
//!
//! Five entry points, each a few lines that name the hook and call into its family: the exit of every system call (two
//! forms, of which user space attaches one), exec, fork and exit of processes. What happens to a call, in order: is it
//! in the interest bitmap, is it a 32-bit call under another number, is its process muted, can a rule match such an open;
//! then what its `CallSpec` asks for is put into a record in scratch memory, and sent.
//!
//! There are no BPF-to-BPF calls and no tail calls: everything is inlined into the entry points. What the verifier
//! accepts on kernels from 5.10 on decides the style: see `record.rs` and `memory.rs`.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![deny(unsafe_op_in_unsafe_fn)]
#![allow(unused_unsafe, reason = "the macros carry their own, for the places that have none around them")]

#[macro_use]
mod memory;
#[macro_use]
mod load;
mod capture;
mod descriptor;
mod maps;
mod open;
mod path;
mod process;
mod record;
mod syscall;
mod task;

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};

/// `void sys_exit(struct pt_regs *regs, long ret)`: the cheap form, for kernels on which BTF tracepoints are not
/// preemptible.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(context: BtfTracePointContext) -> i32 {
    // SAFETY: the arguments are those of the tracepoint's prototype above; `regs` is a BTF pointer.
    unsafe { syscall::returned(context.arg(0), context.arg(1)) }
    0
}

/// `raw_syscalls:sys_exit` {long id at 8, long ret at 16}: runs with preemption off on every kernel, and therefore
/// loses nothing on Linux 7, where the BTF form silently skips calls.
#[tracepoint]
pub fn sys_exit_classic(context: TracePointContext) -> u32 {
    // SAFETY: both offsets lie in the tracepoint's record, whose layout is the same on every kernel.
    unsafe { syscall::returned_classic(context.as_ptr() as u64) }
    0
}

/// `void sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: after the point of no
/// return, in the new program's memory.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(context: BtfTracePointContext) -> i32 {
    // SAFETY: runs in the task that called exec; the second argument is a number.
    unsafe { process::exec(context.arg::<u64>(1) as u32) }
    0
}

/// `void sched_process_fork(struct task_struct *parent, struct task_struct *child)`.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(context: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a BTF pointer to the child.
    unsafe { process::fork(context.arg(1)) }
    0
}

/// `void sched_process_exit(struct task_struct *p)`: once for each thread.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(context: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a BTF pointer to the dying task, which is the current one.
    unsafe { process::exit(context.arg(0)) }
    0
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: nothing here panics, and the verifier would refuse the loop.
    loop {}
}

// The kernel gives GPL-only helpers (reading memory, the ring buffer) to programs that declare a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
