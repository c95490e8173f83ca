//! Where damaged records go: a file of lines beside the store, to be looked at by people.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;

/// Bytes of the file beyond which damaged records are counted only.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What of one damaged record or stretch is kept.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

pub(super) struct Quarantine {
    path: PathBuf,
}

impl Quarantine {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Keeps bytes that are no record any more; `what` and `place` say where they were. False: there is no room left.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self, what: &str, place: &str, problem: &str, bytes: &[u8]) -> io::Result<bool> {
        let mut file = File::options().append(true).create(true).open(&self.path)?;
        if file.metadata()?.len() >= FILE_BYTES_MAX {
            return Ok(false);
        }
        let kept = &bytes[..bytes.len().min(RECORD_BYTES_MAX)];
        let line = json!({
            "time": Timestamp::now().to_string(),
            "of": what,
            "at": place,
            "problem": problem,
            "bytes": bytes.len(),
            "base64": STANDARD.encode(kept),
        });
        file.write_all(format!("{line}\n").as_bytes())?;
        Ok(true)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A key as it is shown.
pub(super) fn hexadecimal(key: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    key.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_read_again_and_the_file_has_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(folder.path().join("q.ndjson"));
        assert!(quarantine.keep("alerts", "0a", "broken", b"\x00\xff").unwrap());
        let text = std::fs::read_to_string(quarantine.path()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(STANDARD.decode(line["base64"].as_str().unwrap()).unwrap(), b"\x00\xff");
        assert_eq!((line["of"].as_str(), line["bytes"].as_u64()), (Some("alerts"), Some(2)));

        File::options().write(true).open(quarantine.path()).unwrap().set_len(FILE_BYTES_MAX).unwrap();
        assert!(!quarantine.keep("alerts", "0a", "broken", b"x").unwrap());
        assert_eq!(std::fs::metadata(quarantine.path()).unwrap().len(), FILE_BYTES_MAX);
    }
}
