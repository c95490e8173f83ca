//! The system calls: which there are, what is taken of each, and what Falco calls the things that are.

mod numbers;
mod table;

use std::sync::LazyLock;

use tercel_sensor_abi::call::CAPTURES_MAX;
use tercel_sensor_abi::control::{NO_CALL, SOCKET_CALLS_MAX};
use tercel_sensor_abi::{CallSpec, Capture, InterestBitmap, RecordKind, SYSCALLS_MAX, What};

use super::EventType;
use super::parameter::Row;
use numbers::{NUMBERS, native};

/// One call that is more to Tercel than its number and result.
#[derive(Debug)]
pub(crate) struct Call {
    name: &'static str,
    pub(crate) kind: RecordKind,
    /// Where the flags of an open stand; see [`CallSpec`].
    open_flags: u8,
    failed_only: bool,
    captures: &'static [Capture],
    /// The descriptor that `fd.*` is about.
    pub(crate) subject: Subject,
    /// What `evt.arg` knows of it, in Falco's order.
    pub(crate) parameters: &'static [Row],
}

/// Which descriptor an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    None,
    /// The one that it made.
    Result,
    /// The one in this argument.
    Argument(u8),
}

impl Call {
    fn spec(&self) -> CallSpec {
        let mut captures = [Capture::default(); CAPTURES_MAX];
        captures[..self.captures.len()].copy_from_slice(self.captures);
        let flags = if self.failed_only { CallSpec::FAILED_ONLY } else { 0 };
        CallSpec { open_flags: self.open_flags, flags, ..CallSpec::new(self.kind, captures) }
    }

    /// The place among a record's strings of what the `nth` capture of these kinds took.
    pub(crate) fn string_of(&self, kinds: &[What], nth: usize) -> Option<usize> {
        let (mut string, mut found) = (0, 0);
        for capture in self.captures {
            let what = kinds.iter().find(|what| **what as u8 == capture.what);
            if what.is_some() && found == nth {
                return Some(string);
            }
            found += usize::from(what.is_some());
            string += strings_of(*capture);
        }
        None
    }

    /// The argument that the `nth` path starts from: `None` where it starts from the working directory.
    pub(crate) fn directory_of(&self, nth: usize) -> Option<u8> {
        let paths = self.captures.iter().filter(|capture| capture.what == What::Path as u8);
        paths.map(|capture| capture.with).nth(nth).filter(|argument| *argument != Capture::NOTHING)
    }
}

fn strings_of(capture: Capture) -> usize {
    const TWO: [u8; 2] = [What::Path as u8, What::Descriptor as u8];
    if TWO.contains(&capture.what) { 2 } else { usize::from(capture.what != 0) }
}

/// By number on this machine: the event's type and what else is known of the call.
struct Known {
    by_number: Vec<Option<(EventType, Option<&'static Call>)>>,
    by_type: Vec<Option<u32>>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let mut known = Known { by_number: vec![None; SYSCALLS_MAX], by_type: vec![None; super::NAMES.len()] };
    for row in NUMBERS {
        let (Some(number), Some(event_type)) = (native(row), EventType::find(row.0)) else { continue };
        known.by_number[number as usize] = Some((event_type, table::CALLS.iter().find(|call| call.name == row.0)));
        known.by_type[usize::from(event_type.0)] = Some(number);
    }
    known
});

/// The number of the call of this type; `None` for events that are none.
pub(super) fn number_of(event_type: EventType) -> Option<u32> {
    KNOWN.by_type.get(usize::from(event_type.0)).copied().flatten()
}

/// What is known of the call with this number.
pub(crate) fn of_number(number: u32) -> Option<(EventType, Option<&'static Call>)> {
    KNOWN.by_number.get(number as usize).copied().flatten()
}

/// What the kernel side is to take of every call that a rule may ask for, by number.
pub fn specs() -> Vec<(u32, CallSpec)> {
    let spec = |call: Option<&Call>| {
        call.map_or(CallSpec::new(RecordKind::Other, [Capture::default(); CAPTURES_MAX]), Call::spec)
    };
    (0..).zip(&KNOWN.by_number).filter_map(|(number, known)| Some((number, spec((*known)?.1)))).collect()
}

/// Calls inside of the 32-bit `socketcall`, by their number in it. send and recv are not among them: nobody asks for
/// them by their own numbers either.
const SOCKET_CALLS: [(usize, &str); 14] = [
    (1, "socket"),
    (2, "bind"),
    (3, "connect"),
    (4, "listen"),
    (5, "accept"),
    (8, "socketpair"),
    (11, "sendto"),
    (12, "recvfrom"),
    (13, "shutdown"),
    (14, "setsockopt"),
    (15, "getsockopt"),
    (16, "sendmsg"),
    (17, "recvmsg"),
    (18, "accept4"),
];

/// `socketcall` in the 32-bit table.
const SOCKETCALL: usize = 102;

/// For each place of the 32-bit table, and behind it of `socketcall`, the number of the 64-bit one.
pub fn compat_numbers() -> [u32; SYSCALLS_MAX + SOCKET_CALLS_MAX] {
    let mut numbers = [NO_CALL; SYSCALLS_MAX + SOCKET_CALLS_MAX];
    for (_, number, compat, _) in NUMBERS {
        for place in compat.iter().filter(|place| **place != NO_CALL) {
            numbers[*place as usize] = *number;
        }
    }
    for (place, name) in SOCKET_CALLS {
        if let Some((_, number, ..)) = NUMBERS.iter().find(|row| row.0 == name) {
            numbers[SYSCALLS_MAX + place] = *number;
        }
    }
    numbers
}

/// The bits of these types' calls, in the 64-bit table and in the 32-bit one.
pub fn interest(types: impl IntoIterator<Item = EventType>) -> (InterestBitmap, InterestBitmap) {
    let (mut native_bits, mut compat_bits) = (InterestBitmap::default(), InterestBitmap::default());
    let compat = if cfg!(target_arch = "x86_64") { &compat_numbers()[..] } else { &[] };
    for number in types.into_iter().filter_map(EventType::syscall) {
        set(&mut native_bits, number as usize);
        let places = compat.iter().enumerate().filter(|(_, translated)| **translated == number);
        places.for_each(|(place, _)| set(&mut compat_bits, if place < SYSCALLS_MAX { place } else { SOCKETCALL }));
    }
    (native_bits, compat_bits)
}

fn set(bits: &mut InterestBitmap, number: usize) {
    bits[number / 64] |= 1 << (number % 64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_in_the_table_has_a_number_and_at_most_as_many_captures_as_fit() {
        for call in table::CALLS {
            let event_type = EventType::find(call.name).unwrap_or_else(|| panic!("{} is no event", call.name));
            let number = number_of(event_type).unwrap_or_else(|| panic!("{} has no number", call.name));
            assert!(std::ptr::eq(of_number(number).unwrap().1.unwrap(), call));
            assert!(call.captures.len() <= CAPTURES_MAX, "{}", call.name);
        }
    }

    #[test]
    fn strings_are_found_behind_those_of_other_captures() {
        let (_, renameat) = of_number(number_of(EventType::find("renameat").unwrap()).unwrap()).unwrap();
        let renameat = renameat.unwrap();
        assert_eq!(renameat.string_of(&[What::Path], 0), Some(0));
        assert_eq!(renameat.string_of(&[What::Path], 1), Some(2));
        assert_eq!(renameat.string_of(&[What::Path], 2), None);
        assert_eq!((renameat.directory_of(0), renameat.directory_of(1)), (Some(0), Some(2)));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_32_bit_call_is_asked_for_by_its_own_number_and_through_socketcall() {
        let bits = |name: &str| interest(EventType::find(name));
        let has = |bits: InterestBitmap, number: usize| bits[number / 64] >> (number % 64) & 1 == 1;
        let (native, compat) = bits("mkdir");
        assert!(has(native, 83) && has(compat, 39) && !has(compat, 83));
        let (native, compat) = bits("connect");
        assert!(has(native, 42) && has(compat, 362) && has(compat, SOCKETCALL));
        assert_eq!(compat_numbers()[SYSCALLS_MAX + 3], 42);
        let (_, compat) = bits("fcntl");
        assert!(has(compat, 55) && has(compat, 221));
    }
}
