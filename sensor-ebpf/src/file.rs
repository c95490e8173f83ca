//! open, openat, openat2, creat.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tercel_sensor_abi::RecordKind;
use tercel_sensor_abi::file::OpenArguments;
use tercel_sensor_abi::syscall::x86_64::{CREAT, OPEN, OPENAT};

use crate::record::RecordWriter;
use crate::syscall::Call;
use crate::task;

const AT_FDCWD: i32 = -100;

/// `O_CREAT | O_WRONLY | O_TRUNC`: what creat stands for.
const CREAT_FLAGS: u32 = 0o1101;

/// `struct open_how` of openat2: {u64 flags, u64 mode, u64 resolve}.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
}

/// The path is read now, at the exit: at the entry its page may not be in memory yet, and another thread may still
/// exchange it. What was really opened is the kernel's own path, beside it.
#[inline(always)]
pub unsafe fn open(call: &Call) {
    // SAFETY: user memory is read through helpers only.
    unsafe {
        let Some(mut record) = RecordWriter::begin(RecordKind::Open, call.number, call.result) else { return };
        let (name, arguments) = arguments(call);
        record.arguments(arguments.to_words());
        record.user_string(name);
        let file = if call.result >= 0 { task::file(call.task, call.result as u64) } else { 0 };
        if file != 0 {
            record.file_path(file);
        }
        record.send();
    }
}

/// Where the path stands, and the rest.
#[inline(always)]
unsafe fn arguments(call: &Call) -> (u64, OpenArguments) {
    let [first, second, third, fourth] = call.arguments;
    match call.number {
        OPEN => (first, OpenArguments { dirfd: AT_FDCWD, flags: second as u32, mode: third as u32 }),
        CREAT => (first, OpenArguments { dirfd: AT_FDCWD, flags: CREAT_FLAGS, mode: second as u32 }),
        OPENAT => (second, OpenArguments { dirfd: first as i32, flags: third as u32, mode: fourth as u32 }),
        _ => {
            let mut how = OpenHow { flags: 0, mode: 0 };
            // SAFETY: reads exactly the structure; it stays zero where the pointer is bad.
            unsafe { bpf_probe_read_user((&raw mut how).cast(), size_of::<OpenHow>() as u32, third as *const _) };
            (second, OpenArguments { dirfd: first as i32, flags: how.flags as u32, mode: how.mode as u32 })
        }
    }
}
