//! Which opens can no rule match? The kernel side asks that before it reports one.
//!
//! Of an open the kernel knows soon how the file is to be used, whether the call succeeded, and the path as the caller wrote
//! it. From the conditions of the rules follows what these must be for a rule to have a chance ([`tercel_filter::Question`]);
//! everything else that a condition asks for is taken to be as it likes. So nothing that a rule matches is ever held back.
//!
//! The path counts only where it is *plain* ([`is_plain`]): what rules compare is then the same text. Any other path may be
//! anything.

mod question;

use std::collections::BTreeMap;

use tercel_filter::{Beginnings, Condition};
use tercel_sensor_abi::control::open_bit;
pub use tercel_sensor_abi::control::{PLAIN_PATH_BYTES_MAX, PREFIX_BYTES_MAX, PREFIXES_MAX};

use crate::detect::{Detector, Rule};
use crate::event::EventType;
use crate::fields::find;
use question::Opening;

/// How many bits there are ([`open_bit`]): four access modes, each for a call that succeeded and for one that failed.
const BITS: u8 = 8;

/// Number of an access mode, as the kernel has it in an open's flags.
const WRITE_ONLY: u8 = 1;

/// What is added to an access mode's number where the call failed.
const FAILED: u8 = 4;

/// The fourth access mode, which no rule knows. Such opens are rare, and always sent.
pub const UNKNOWN_ACCESS: u8 = open_bit(3, false) | open_bit(3, true);

/// The fields that come from the kernel's walk from the opened file up to the root.
const KERNEL_PATH_FIELDS: [&str; 1] = ["fd.realpath"];

/// Which opens are sent. Bits are those of [`open_bit`], without those of [`UNKNOWN_ACCESS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenFilter {
    /// Bits for which some rule may match whatever the path is: always sent.
    pub any_path: u8,
    /// Bits for which only plain paths with one of these prefixes, or paths that are not plain, can match.
    pub by_prefix: u8,
    /// Sorted; at most [`PREFIXES_MAX`] of 2 to [`PREFIX_BYTES_MAX`] bytes. The bits of a longer prefix include those of
    /// every shorter prefix of it, so that the longest one that a path has is the only one to look at.
    pub prefixes: Vec<(Box<[u8]>, u8)>,
    /// Prefixes that there was no room for: opens of their bits are sent whatever the path.
    pub refused: usize,
    /// Whether some rule that an open can match asks for the kernel's own path, in its condition or its output.
    pub needs_kernel_path: bool,
}

impl OpenFilter {
    /// What the rules in force leave to be sent.
    pub fn new(detector: &Detector) -> Self {
        let mut needs = Needs::default();
        for event_type in EventType::OPENS {
            for (rule, condition) in detector.candidates(event_type) {
                needs.add(event_type, rule, condition);
            }
        }
        needs.into_filter()
    }

    /// Whether the kernel side sends such an open, the path being as the caller wrote it. `bit`: of [`open_bit`], which for
    /// a creat, that has no flags, is the one of opens that write only.
    pub fn passes(&self, bit: u8, path: &[u8]) -> bool {
        if (self.any_path | UNKNOWN_ACCESS) & bit != 0 {
            return true;
        }
        self.by_prefix & bit != 0 && (!is_plain(path) || self.bits_of(path) & bit != 0)
    }

    /// The bits of the longest prefix.
    fn bits_of(&self, path: &[u8]) -> u8 {
        let longest = path.len().min(PREFIX_BYTES_MAX);
        let place = |length| self.prefixes.binary_search_by(|(prefix, _)| (**prefix).cmp(&path[..length])).ok();
        (0..=longest).rev().find_map(place).map_or(0, |place| self.prefixes[place].1)
    }
}

/// Whether a path is, as it was written, the one that rules compare: absolute, at most [`PLAIN_PATH_BYTES_MAX`] bytes, without
/// `//`, `./` and `..`, and with neither a slash nor a full stop at the end (so `/` is none).
pub fn is_plain(path: &[u8]) -> bool {
    let ends_well = !matches!(path.last(), None | Some(b'/' | b'.'));
    path.len() <= PLAIN_PATH_BYTES_MAX && path.starts_with(b"/") && ends_well && !has_neighbours(path)
}

/// Whether two neighbours are both a slash or a full stop, but for the beginning of a hidden file's name. What follows that
/// is another pair if the name is `.` or `..`.
fn has_neighbours(text: &[u8]) -> bool {
    let is_one = |byte: &u8| matches!(byte, b'/' | b'.');
    text.windows(2).any(|pair| pair.iter().all(is_one) && pair != b"/.")
}

/// The numbers of the bits that a call can have, as far as rules know its access mode.
fn bits_of_type(event_type: EventType) -> impl Iterator<Item = u8> {
    let known = (0..BITS).filter(|bit| UNKNOWN_ACCESS >> bit & 1 == 0);
    known.filter(move |bit| event_type != EventType::CREAT || bit % FAILED == WRITE_ONLY)
}

/// What all rules together need.
#[derive(Default)]
struct Needs {
    /// By bit: what a plain path must begin with.
    plain: [Beginnings; BITS as usize],
    /// Bits with which a path that is not plain can be matched.
    other: u8,
    kernel_path: bool,
}

impl Needs {
    fn add(&mut self, event_type: EventType, rule: &Rule, condition: Condition<'_>) {
        let mut can_match = false;
        for bit in bits_of_type(event_type) {
            let opening = Opening::new(event_type, bit);
            let plain = condition.necessary(&opening.with_plain_path());
            let other = !condition.necessary(&opening).is_none();
            can_match |= other || !plain.is_none();
            self.other |= u8::from(other) << bit;
            // An open by handle has no path.
            if opening.has_path() {
                let all = &mut self.plain[usize::from(bit)];
                *all = std::mem::take(all).union(&plain);
            }
        }
        self.kernel_path |= can_match && asks_for_kernel_path(rule, condition);
    }

    fn into_filter(self) -> OpenFilter {
        let mut plain = self.plain.map(|beginnings| shortened(&beginnings));
        let mut prefixes = with_bits(&plain);
        let wanted = prefixes.len();
        while prefixes.len() > PREFIXES_MAX {
            let most = plain.iter_mut().max_by_key(|beginnings| beginnings.iter().count());
            let Some(most) = most else { break };
            tracing::warn!(
                prefixes = most.iter().count(),
                "rules name so many paths that the kernel side reports some opens whatever their path: at most {PREFIXES_MAX} \
                 prefixes are told apart"
            );
            *most = Beginnings::all();
            prefixes = with_bits(&plain);
        }
        let any_path = mask(|bit| plain[usize::from(bit)].is_all());
        let by_prefix = self.other & !any_path | mask(|bit| !plain[usize::from(bit)].is_none()) & !any_path;
        let refused = wanted - prefixes.len();
        OpenFilter { any_path, by_prefix, prefixes, refused, needs_kernel_path: self.kernel_path }
    }
}

fn mask(is_set: impl Fn(u8) -> bool) -> u8 {
    (0..BITS).filter(|bit| is_set(*bit)).fold(0, |mask, bit| mask | 1 << bit)
}

/// With none longer than a prefix may be. What is on every path's beginning says nothing.
fn shortened(beginnings: &Beginnings) -> Beginnings {
    let cut = |text: &[u8]| if text == b"/" { Box::default() } else { text[..text.len().min(PREFIX_BYTES_MAX)].into() };
    beginnings.iter().map(cut).collect()
}

/// Each prefix with its bits and those of all shorter ones.
fn with_bits(by_bit: &[Beginnings]) -> Vec<(Box<[u8]>, u8)> {
    let mut prefixes: BTreeMap<Box<[u8]>, u8> = BTreeMap::new();
    let told_apart = by_bit.iter().filter(|beginnings| !beginnings.is_all());
    for text in told_apart.flat_map(Beginnings::iter) {
        prefixes.entry(text.into()).or_insert_with(|| {
            (0..).zip(by_bit).fold(0, |bits, (bit, beginnings)| {
                let is_in = !beginnings.is_all() && beginnings.contain(text);
                bits | u8::from(is_in) << bit
            })
        });
    }
    prefixes.into_iter().collect()
}

fn asks_for_kernel_path(rule: &Rule, condition: Condition<'_>) -> bool {
    let fields = condition.fields();
    let mut asked = KERNEL_PATH_FIELDS.iter().filter_map(|name| Some(find(name)?.0));
    asked.any(|field| fields.contains(&field) || rule.output.reads(field))
}

#[cfg(test)]
mod tests;
