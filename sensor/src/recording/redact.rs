//! Values of environment variables are secrets more often than not: only that a variable is set goes into a recording.

use tercel_sensor_abi::process::ExecArguments;
use tercel_sensor_abi::{RecordHeader, RecordKind};

use crate::ring::Record;

/// Stands for every value, so that nobody takes it for one.
const REDACTED: &[u8] = b"<redacted>";

/// `A=secret␀B=␀` → `A=<redacted>␀B=<redacted>␀`. What has no name is no variable, and wholly replaced.
pub(crate) fn redacted_environment(variables: &[u8]) -> Vec<u8> {
    let mut redacted = Vec::with_capacity(variables.len());
    for variable in variables.strip_suffix(&[0]).unwrap_or(variables).split(|byte| *byte == 0) {
        let name = variable.iter().position(|byte| *byte == b'=').map_or(0, |equals| equals + 1);
        redacted.extend_from_slice(&variable[..name]);
        redacted.extend_from_slice(if variable.is_empty() { b"" } else { REDACTED });
        redacted.push(0);
    }
    if variables.is_empty() { Vec::new() } else { redacted }
}

/// The record with its environment redacted; `None` where it has none.
pub(crate) fn redacted_record(record: &Record<'_>) -> Option<Vec<u8>> {
    let environment = record.string(ExecArguments::STRING_ENVIRONMENT);
    if record.kind != RecordKind::Exec || environment.is_empty() {
        return None;
    }
    let redacted = redacted_environment(environment);
    let mut bytes = record.bytes()[..size_of::<RecordHeader>()].to_vec();
    for (index, string) in record.strings().enumerate() {
        put_string(&mut bytes, if index == ExecArguments::STRING_ENVIRONMENT { &redacted } else { string });
    }
    // The first member of the header.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[..size_of_val(&length)].copy_from_slice(&length.to_ne_bytes());
    Some(bytes)
}

/// As the kernel side writes them: a length, the bytes, and one more where they are odd.
fn put_string(bytes: &mut Vec<u8>, string: &[u8]) {
    let length = u16::try_from(string.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend_from_slice(&string[..usize::from(length)]);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
}
