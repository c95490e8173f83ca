//! What a call's spec asks for, put into its record.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tercel_sensor_abi::call::{ADDRESS_BYTES_MAX, CAPTURES_MAX, DATA_BYTES_MAX};
use tercel_sensor_abi::{CallSpec, Capture, Control, RecordHeader, What};

use crate::path::Place;
use crate::record::RecordWriter;
use crate::syscall::Call;
use crate::{descriptor, process, task};

const AT_FDCWD: i32 = -100;

const NOTHING: u8 = What::Nothing as u8;
const PATH: u8 = What::Path as u8;
const TEXT: u8 = What::Text as u8;
const ADDRESS: u8 = What::Address as u8;
const ADDRESS_OUT: u8 = What::AddressOut as u8;
const DATA: u8 = What::Data as u8;
const MESSAGE_ADDRESS: u8 = What::MessageAddress as u8;
const MESSAGE_DATA: u8 = What::MessageData as u8;
const DESCRIPTOR: u8 = What::Descriptor as u8;
const WORKING_DIRECTORY: u8 = What::WorkingDirectory as u8;
const PROCESS: u8 = What::Process as u8;
const PAIR: u8 = What::Pair as u8;
const OPEN_HOW: u8 = What::OpenHow as u8;

/// `struct msghdr`, as far as it is read: {name, u32 length, iov, u64 count}.
#[repr(C)]
#[derive(Clone, Copy)]
struct MessageHeader {
    name: u64,
    name_bytes: u64,
    buffers: u64,
}

/// Everything, in the spec's order. The path walk stands once in the loop: it is most of the program.
#[inline(always)]
pub unsafe fn all(record: &mut RecordWriter, control: *const Control, spec: *const CallSpec, call: &Call) {
    // SAFETY: map values; memory of the caller's and the kernel's is read through helpers.
    unsafe {
        record.set_values(call);
        let mut index = 0;
        while index < CAPTURES_MAX {
            let capture = read_volatile(addr_of!((*spec).captures[index]));
            if capture.what == NOTHING {
                break;
            }
            let wants_place = match capture.what {
                PATH => Some(path(record, capture, call)),
                DESCRIPTOR => descriptor::facts(record, record.value(capture.argument), control, spec, call),
                WORKING_DIRECTORY => Some(Place::working_directory(call.task)),
                _ => {
                    bytes(record, capture, control, call);
                    None
                }
            };
            if let Some(place) = wants_place {
                record.place(place);
            }
            index += 1;
        }
    }
}

/// The path as it was written; where it starts from, unless that is the root.
#[inline(always)]
unsafe fn path(record: &mut RecordWriter, capture: Capture, call: &Call) -> Place {
    // SAFETY: as `all`.
    unsafe {
        let first = record.user_string(record.value(capture.argument));
        if first == b'/' {
            return Place::NOWHERE;
        }
        let directory = if capture.with == Capture::NOTHING { AT_FDCWD } else { record.value(capture.with) as i32 };
        if directory == AT_FDCWD {
            return Place::working_directory(call.task);
        }
        Place::of_file(task::file(call.task, directory as u32 as u64))
    }
}

/// Those that are one string.
#[inline(always)]
unsafe fn bytes(record: &mut RecordWriter, capture: Capture, control: *const Control, call: &Call) {
    // SAFETY: as `all`.
    unsafe {
        let pointer = record.value(capture.argument);
        let length = record.value(capture.with);
        let (pointer, length) = match capture.what {
            TEXT => {
                record.user_string(pointer);
                return;
            }
            PROCESS => {
                process::facts(record, call.task);
                return;
            }
            ADDRESS => (pointer, at_most(length, ADDRESS_BYTES_MAX)),
            ADDRESS_OUT => (pointer, at_most(user_u32(length), ADDRESS_BYTES_MAX)),
            MESSAGE_ADDRESS => message_address(pointer, call),
            DATA if wants_data(control) => (pointer, at_most(length, DATA_BYTES_MAX)),
            MESSAGE_DATA if wants_data(control) => message_data(pointer, length, call),
            PAIR => (pointer, 8),
            OPEN_HOW => (pointer, 24),
            _ => (0, 0),
        };
        record.user_bytes(pointer, length);
    }
}

#[inline(always)]
unsafe fn wants_data(control: *const Control) -> bool {
    // SAFETY: the map's value.
    unsafe { read_volatile(addr_of!((*control).flags)) & Control::DATA != 0 }
}

/// A length that came from the caller, or a result: none where it is negative.
#[inline(always)]
fn at_most(length: u64, bytes_max: u64) -> u64 {
    if (length as i64) < 0 {
        0
    } else if length > bytes_max {
        bytes_max
    } else {
        length
    }
}

#[inline(always)]
unsafe fn user_u32(pointer: u64) -> u64 {
    let mut value = 0_u32;
    // SAFETY: the helper takes any address; the value stays 0 where it cannot be read.
    unsafe { bpf_probe_read_user((&raw mut value).cast(), 4, pointer as *const _) };
    value as u64
}

#[inline(always)]
unsafe fn message(pointer: u64, call: &Call) -> MessageHeader {
    let mut header = MessageHeader { name: 0, name_bytes: 0, buffers: 0 };
    // A 32-bit caller's structure is another one.
    if call.flags & RecordHeader::COMPAT == 0 {
        // SAFETY: reads exactly the structure.
        unsafe { bpf_probe_read_user((&raw mut header).cast(), 24, pointer as *const _) };
    }
    header
}

#[inline(always)]
unsafe fn message_address(pointer: u64, call: &Call) -> (u64, u64) {
    // SAFETY: as `message`.
    let header = unsafe { message(pointer, call) };
    (header.name, at_most(header.name_bytes & 0xffff_ffff, ADDRESS_BYTES_MAX))
}

#[inline(always)]
unsafe fn message_data(pointer: u64, result: u64, call: &Call) -> (u64, u64) {
    // SAFETY: as `message`; a buffer is {base, length}.
    unsafe {
        let header = message(pointer, call);
        let mut buffer = [0_u64; 2];
        bpf_probe_read_user((&raw mut buffer).cast(), 16, header.buffers as *const _);
        (buffer[0], at_most(buffer[1], at_most(result, DATA_BYTES_MAX)))
    }
}
