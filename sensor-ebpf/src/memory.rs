//! Reading kernel memory, and keeping LLVM and the verifier of one mind.

use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// `value & mask` that LLVM can neither see through nor remove: the verifier forgets ranges across branches, and needs
/// the mask right before the access even where LLVM can prove it superfluous. `mask` is a literal.
macro_rules! masked {
    ($value:expr, $mask:literal) => {{
        let mut value: u64 = $value as u64;
        // SAFETY: one arithmetic instruction on a register.
        unsafe { core::arch::asm!(concat!("{0} &= ", $mask), inout(reg) value) };
        value
    }};
}

/// Loads through a pointer that the verifier knows by its BTF type: one instruction, faults read as 0.
///
/// # Safety
/// `pointer` is a BTF pointer on this kernel, and `offset` one of its structure's members.
#[inline(always)]
pub unsafe fn load<T: Copy>(pointer: u64, offset: u32) -> T {
    unsafe { read_volatile((pointer + offset as u64) as *const T) }
}

/// Reads kernel memory at any address through the helper; faults read as 0.
///
/// # Safety
/// Any bit pattern is a valid `T`.
#[inline(always)]
pub unsafe fn read<T: Copy>(pointer: u64, offset: u32) -> T {
    // Not `zeroed`: for more than 8 bytes that becomes a memset subprogram, a byte loop that costs the verifier its budget.
    // The helper fills with zeros on a fault.
    let mut value = MaybeUninit::<T>::uninit();
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, (pointer + offset as u64) as *const _);
        value.assume_init()
    }
}

/// Fills this many 64-bit words with zeros, store by store: LLVM would call a byte loop.
///
/// # Safety
/// There is room for them.
#[inline(always)]
pub unsafe fn zero<const WORDS: usize>(pointer: *mut core::ffi::c_void) {
    let mut index = 0;
    while index < WORDS {
        // SAFETY: as said.
        unsafe { core::ptr::write_volatile(pointer.cast::<u64>().add(index), 0) };
        index += 1;
    }
}
