//! The exit of a system call: which ones matter, and under which number.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_task_pt_regs};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id};
use tercel_sensor_abi::control::{MUTED_MAX, NO_CALL};
use tercel_sensor_abi::{CallSpec, Control, RecordHeader, SYSCALLS_MAX};

use crate::maps::{COMPAT, CONTROL, COUNTERS, SPECS};
use crate::memory::load;
use crate::record::RecordWriter;
use crate::{capture, open, task};

/// `struct pt_regs` of x86-64: byte offsets, part of the kernel's user ABI.
pub mod registers {
    pub const BP: u32 = 32;
    pub const BX: u32 = 40;
    pub const R10: u32 = 56;
    pub const R9: u32 = 64;
    pub const R8: u32 = 72;
    pub const CX: u32 = 88;
    pub const DX: u32 = 96;
    pub const SI: u32 = 104;
    pub const DI: u32 = 112;
    pub const ORIG_AX: u32 = 120;
}

/// `__X32_SYSCALL_BIT`: 64-bit calls with 32-bit pointers, which are counted and not decoded.
const X32_CALL: u64 = 0x4000_0000;

/// `socketcall` of the 32-bit table: the call's number is its first argument, the second points to its arguments.
const SOCKETCALL: u32 = 102;

/// One returned system call.
pub struct Call {
    pub task: u64,
    /// Of the 64-bit table.
    pub number: u32,
    pub result: i64,
    pub arguments: [u64; 6],
    /// Flags for the record's header.
    pub flags: u32,
}

/// `registers` is a BTF pointer to `struct pt_regs`.
#[inline(always)]
pub unsafe fn returned(registers: u64, result: i64) {
    // SAFETY: as said; the number is checked before it indexes anything.
    unsafe {
        let number = load::<u64>(registers, registers::ORIG_AX);
        if let Some(control) = control_if_interesting(number) {
            dispatch(control, registers, number as u32, result);
        }
    }
}

/// `record` is the classic tracepoint's: {u64 common, i64 id, i64 ret}.
#[inline(always)]
pub unsafe fn returned_classic(record: u64) {
    // SAFETY: the context's own memory; bpf_task_pt_regs returns a BTF pointer.
    unsafe {
        let number = load::<u64>(record, 8);
        if let Some(control) = control_if_interesting(number) {
            let registers = bpf_task_pt_regs(task::current() as *mut _) as u64;
            dispatch(control, registers, number as u32, load::<i64>(record, 16));
        }
    }
}

/// First of all tests, for it stands in the way of every system call of the machine: whether the number is of interest
/// in either of the two tables.
#[inline(always)]
unsafe fn control_if_interesting(number: u64) -> Option<*const Control> {
    if number >= SYSCALLS_MAX as u64 {
        if number & X32_CALL != 0 && number < X32_CALL + SYSCALLS_MAX as u64 {
            count(|counters| counters.x32_calls += 1);
        }
        return None;
    }
    let control = CONTROL.get_ptr(0)?;
    // SAFETY: the map's value.
    let wanted = unsafe {
        bit(addr_of!((*control).interest) as u64, number) | bit(addr_of!((*control).interest_compat) as u64, number)
    };
    if wanted != 0 { Some(control) } else { None }
}

/// The bit of a number below [`SYSCALLS_MAX`] in a bitmap.
#[inline(always)]
unsafe fn bit(bitmap: u64, number: u64) -> u64 {
    let word = masked!(number >> 6, "7");
    // SAFETY: `word` is below 8, the bitmap's length.
    (unsafe { read_volatile((bitmap + word * 8) as *const u64) } >> (number & 63)) & 1
}

#[inline(always)]
unsafe fn dispatch(control: *const Control, registers: u64, number: u32, result: i64) {
    // SAFETY: `registers` is a BTF pointer, `task` the current one, `control` the map's value.
    unsafe {
        let task = task::current();
        let call = if task::in_compat_call(task) {
            if bit(addr_of!((*control).interest_compat) as u64, number as u64) == 0 {
                return;
            }
            let call = compat_call(task, registers, number, result);
            if call.number == NO_CALL {
                return;
            }
            count(|counters| counters.compat_calls += 1);
            call
        } else {
            if bit(addr_of!((*control).interest) as u64, number as u64) == 0 {
                return;
            }
            let arguments = [
                load(registers, registers::DI),
                load(registers, registers::SI),
                load(registers, registers::DX),
                load(registers, registers::R10),
                load(registers, registers::R8),
                load(registers, registers::R9),
            ];
            Call { task, number, result, arguments, flags: 0 }
        };
        report(control, &call);
    }
}

/// The call as its spec asks for it.
#[inline(always)]
unsafe fn report(control: *const Control, call: &Call) {
    // SAFETY: map values; user memory is read through helpers only.
    unsafe {
        if is_muted(control) {
            return;
        }
        let Some(spec) = SPECS.get_ptr(call.number) else { return };
        let (kind, flags) = (read_volatile(addr_of!((*spec).kind)), read_volatile(addr_of!((*spec).flags)));
        if kind == 0 || (flags & CallSpec::FAILED_ONLY != 0 && call.result >= 0) {
            return;
        }
        let Some(mut record) = RecordWriter::begin(kind as u64, tercel_sensor_abi::Program::SystemCall) else { return };
        if read_volatile(addr_of!((*spec).open_flags)) != 0 && !open::may_match(control, spec, call, &record) {
            count(|counters| counters.filtered_opens += 1);
            return;
        }
        record.fill_header(call.task, call.number, call.result);
        record.header_flags(call.flags);
        record.arguments(call.arguments);
        capture::all(&mut record, control, spec, call);
        record.send();
    }
}

/// A 32-bit call, under its 64-bit number.
#[inline(always)]
unsafe fn compat_call(task: u64, registers: u64, number: u32, result: i64) -> Call {
    // SAFETY: `registers` is a BTF pointer; user memory is read through the helper.
    unsafe {
        let first = load::<u32>(registers, registers::BX) as u64;
        let second = load::<u32>(registers, registers::CX) as u64;
        let (place, arguments) = if number == SOCKETCALL {
            // Not `zeroed`: see `memory::read`. The helper fills with zeros on a fault.
            let mut words = core::mem::MaybeUninit::<[u32; 6]>::uninit();
            bpf_probe_read_user(words.as_mut_ptr().cast(), 24, second as *const _);
            let place = SYSCALLS_MAX as u32 + masked!(first, "31") as u32;
            (place, words.assume_init().map(|word| word as u64))
        } else {
            let third = load::<u32>(registers, registers::DX) as u64;
            let fourth = load::<u32>(registers, registers::SI) as u64;
            let fifth = load::<u32>(registers, registers::DI) as u64;
            let sixth = load::<u32>(registers, registers::BP) as u64;
            (number, [first, second, third, fourth, fifth, sixth])
        };
        let number = match COMPAT.get_ptr(place) {
            Some(number) => read_volatile(number),
            None => NO_CALL,
        };
        Call { task, number, result, arguments, flags: RecordHeader::COMPAT }
    }
}

#[inline(always)]
unsafe fn is_muted(control: *const Control) -> bool {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let mut index = 0;
    while index < MUTED_MAX {
        // SAFETY: the map's value; the index is below its length.
        if unsafe { read_volatile(addr_of!((*control).muted[index])) } == tgid {
            return true;
        }
        index += 1;
    }
    false
}

/// A muted process ended: its number may be given to another one.
#[inline(always)]
pub unsafe fn strike_muted(tgid: u32) {
    let Some(control) = CONTROL.get_ptr_mut(0) else { return };
    let mut index = 0;
    while index < MUTED_MAX {
        // SAFETY: as `is_muted`.
        unsafe {
            let muted = core::ptr::addr_of_mut!((*control).muted[index]);
            if read_volatile(muted) == tgid {
                core::ptr::write_volatile(muted, 0);
            }
        }
        index += 1;
    }
}

#[inline(always)]
fn count(add: impl FnOnce(&mut tercel_sensor_abi::Counters)) {
    // SAFETY: takes nothing.
    if let Some(counters) = COUNTERS.get_ptr_mut(unsafe { bpf_get_smp_processor_id() }) {
        // SAFETY: this CPU's counters.
        add(unsafe { &mut *counters });
    }
}
