//! A recording: what the kernel reported on one machine, in a file, with what it takes to understand it on another.
//!
//! ```text
//! magic (8) │ format (u32) │ ABI version (u32) │ item │ item │ …
//! item: kind (u32) │ length (u32) │ that many bytes
//! ```
//!
//! Numbers are little-endian but for those inside of records, which are as the recording machine's kernel wrote them. The
//! items come in the order in which they hold:
//!
//! | Kind | | Bytes |
//! |---|---|---|
//! | 1 | the machine, first of all | kernel release, architecture, hostname, version of the sensor |
//! | 2 | the clock, again whenever it is set | nanoseconds from `CLOCK_BOOTTIME` to 1970 |
//! | 3, 4 | a user, a group | a line of `/etc/passwd`, `/etc/group` without what is private |
//! | 5 | a process that the records do not tell of | see `enrich/process/recorded.rs` |
//! | 6 | a cgroup | its id, the container |
//! | 7 | the environment of a process | its number and start, the variables |
//! | 8 | a record | as it was in the ring |
//! | 10 | a container | its id, what its runtime told as JSON; nothing: that it was asked for then |
//! | 9 | the end, last of all | what was lost |
//!
//! A recording is untrusted: every length is checked before memory is taken for it, and whatever is wrong is told with
//! the item and the byte where it stands.

pub(crate) mod bytes;
mod item;
mod read;
mod redact;
mod write;

pub use item::{End, Item, Machine};
pub use read::Reader;
pub(crate) use redact::{redacted_environment, redacted_record};
pub use write::Writer;

/// The first bytes of every recording.
const MAGIC: [u8; 8] = *b"tercelrc";

/// Changes with the layout of items; that of records is the ABI's.
const FORMAT_VERSION: u32 = 1;

/// Bytes of one item. The longest is a process with arguments, environment and paths of some KiB each.
pub const ITEM_BYTES_MAX: usize = 256 << 10;

/// A recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {file}")]
    Read { file: String, source: std::io::Error },
    #[error("{file}: this is no recording of `tercel-sensor record`")]
    NoRecording { file: String },
    #[error("{file}: {what} {found}, and this tercel-sensor reads {own}; replay it with the version that recorded it")]
    Version { file: String, what: &'static str, found: u32, own: u32 },
    #[error("{file}: recorded on {found}, and this tercel-sensor is of {own}; replay it on a machine of that kind")]
    Architecture { file: String, found: String, own: &'static str },
    #[error("{file}: item {number} at byte {offset}: {problem}")]
    Item { file: String, number: u64, offset: u64, problem: Problem },
}

/// What is wrong with an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the recording breaks off; was the recorder killed?")]
    CutOff,
    #[error("{0} bytes long, an item has at most {ITEM_BYTES_MAX}")]
    TooLong(u32),
    #[error("unknown kind {0}")]
    UnknownKind(u32),
    #[error("not {0}")]
    Malformed(&'static str),
    #[error("{0} in front of the machine and its clock")]
    OutOfOrder(&'static str),
    #[error("no room for more {0}")]
    TooMany(&'static str),
    #[error("something behind the recording's end")]
    AfterEnd,
}

#[cfg(test)]
pub(crate) mod tests;
