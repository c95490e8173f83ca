//! Opens that no rule can match are not reported. User space says which those are; see `tercel_sensor_abi::control`.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::generated::{bpf_map_lookup_elem, bpf_probe_read_user, bpf_probe_read_user_str};
use tercel_sensor_abi::control::{PLAIN_PATH_BYTES_MAX, PREFIX_BYTES_MAX, open_bit};
use tercel_sensor_abi::{CallSpec, Capture, Control};

use crate::maps::PREFIXES;
use crate::record::RecordWriter;
use crate::syscall::Call;

/// `O_WRONLY`: creat stands for it, with `O_CREAT` and `O_TRUNC`.
const CREAT_FLAGS: u32 = 1;

/// Words of eight bytes that overlap by one: every pair of neighbours lies in one of them.
const WORD_STEP: u64 = 7;

/// Whether some rule may match an open of this kind and, where that matters, of this path.
#[inline(always)]
pub unsafe fn may_match(control: *const Control, spec: *const CallSpec, call: &Call, record: &RecordWriter) -> bool {
    // SAFETY: map values, read once each.
    unsafe {
        let bit = open_bit(flags(spec, call), call.result < 0);
        if read_volatile(addr_of!((*control).opens_any_path)) & bit != 0 {
            return true;
        }
        if read_volatile(addr_of!((*control).opens_by_prefix)) & bit == 0 {
            return false;
        }
        // The path is the first thing that is taken of an open; open_by_handle_at has none.
        let path = read_volatile(addr_of!((*spec).captures[0])).argument;
        if path >= Capture::RESULT {
            return true;
        }
        has_prefix(record, call.arguments[(path & 1) as usize], bit)
    }
}

#[inline(always)]
unsafe fn flags(spec: *const CallSpec, call: &Call) -> u32 {
    // SAFETY: the map's value; user memory through the helper.
    unsafe {
        match read_volatile(addr_of!((*spec).open_flags)) {
            1 => call.arguments[1] as u32,
            2 => call.arguments[2] as u32,
            CallSpec::FLAGS_ARE_POINTED_TO => {
                let mut flags = 0_u64;
                bpf_probe_read_user((&raw mut flags).cast(), 8, call.arguments[2] as *const _);
                flags as u32
            }
            _ => CREAT_FLAGS,
        }
    }
}

/// A path that is not plain is always of interest: what it stands for is not said by its beginning.
#[inline(always)]
unsafe fn has_prefix(record: &RecordWriter, pointer: u64, bit: u8) -> bool {
    // SAFETY: the key's memory is the scratch's; the length is bounded before it is used.
    unsafe {
        let key = record.prefix_key();
        let path = key + 4;
        let read = bpf_probe_read_user_str(path as *mut _, PLAIN_PATH_BYTES_MAX as u32 + 1, pointer as *const _);
        // With its NUL; the longest may have been cut.
        if read < 2 || read > PLAIN_PATH_BYTES_MAX as i64 {
            return true;
        }
        let length = masked!(read - 1, "0xff");
        // What an earlier path left behind the NUL must not be taken for a part of this one.
        core::ptr::write_unaligned((path + length) as *mut u64, 0);
        if !is_plain(path, length) {
            return true;
        }
        let compared = if length > PREFIX_BYTES_MAX as u64 { PREFIX_BYTES_MAX as u64 } else { length };
        *(key as *mut u32) = compared as u32 * 8;
        let bits = bpf_map_lookup_elem(&raw const PREFIXES as *mut _, key as *const _) as *const u8;
        !bits.is_null() && *bits & bit != 0
    }
}

/// Absolute, without `//`, `./` and `..`, and with neither a slash nor a full stop at the end: what begins with a full stop is
/// then a hidden file.
#[inline(always)]
unsafe fn is_plain(path: u64, length: u64) -> bool {
    // SAFETY: the offset is masked to the buffer, behind which a word has room.
    unsafe {
        let last = masked!(length - 1, "0xff");
        if *(path as *const u8) != b'/' || *((path + last) as *const u8) | 1 == b'/' {
            return false;
        }
        let mut at = 0;
        while at < PLAIN_PATH_BYTES_MAX as u64 {
            if at >= length {
                break;
            }
            let word = core::ptr::read_unaligned((path + masked!(at, "0xff")) as *const u64);
            if has_two_separators(word) {
                return false;
            }
            at += WORD_STEP;
        }
        true
    }
}

/// Whether two neighbouring bytes are both `/` (0x2f) or `.` (0x2e), which differ in their lowest bit alone, and not `/.`.
#[inline(always)]
fn has_two_separators(word: u64) -> bool {
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let other = (word | LOWEST) ^ 0x2f2f_2f2f_2f2f_2f2f;
    // The highest bit of each byte that is zero. A byte's right neighbour in the path is the next higher one in the word.
    let found = !(((other & LOW).wrapping_add(LOW)) | other | LOW);
    let slashes = found & ((word & LOWEST) << 7);
    let hidden = slashes & ((found & !slashes) >> 8);
    found & (found >> 8) & !hidden != 0
}
