//! The repository's files as such.

use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::harness::{read, skipped, workspace};

const OBJECT: &str = "sensor/bpf/tercel.bpf.o";

/// Folders of the machines on which Tercel is written, and of nobody who uses it.
const PRIVATE_FOLDERS: [&str; 3] = ["/Users/", "/.cargo/registry/", "/.rustup/toolchains/"];

#[test]
fn the_kernel_object_is_the_one_whose_checksum_is_committed() {
    let object = std::fs::read(workspace().join(OBJECT)).unwrap();
    let digits = Sha256::digest(object).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let found: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
    let stated = read(format!("{OBJECT}.sha256"));
    let stated = stated.split_whitespace().next().unwrap_or_default();
    assert_eq!(stated, found, "{OBJECT}.sha256 is not of {OBJECT}; `cargo xtask ebpf` writes both");
}

#[test]
fn no_file_holds_the_paths_of_a_machine() {
    let mut forbidden: Vec<String> = PRIVATE_FOLDERS.map(str::to_owned).into();
    forbidden.push(format!("{}/", workspace().display()));
    for file in tracked_files() {
        if file.ends_with(file!()) {
            continue;
        }
        let bytes = std::fs::read(workspace().join(&file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        for path in &forbidden {
            assert!(!text.contains(path.as_str()), "{}: holds {path}", file.display());
        }
    }
}

/// What git tracks; the folder may also be an unpacked archive without git, then there is nothing to look at.
fn tracked_files() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(workspace()).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(PathBuf::from).collect()
        }
        _ => {
            skipped("git does not list the files of this folder");
            Vec::new()
        }
    }
}
