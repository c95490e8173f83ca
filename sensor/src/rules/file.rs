//! Paths → bytes → text.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::place::Source;
use super::problem::{Code, Problem, Problems};
use super::yaml::Budget;

/// Bytes of one rule file. Upstream's largest is below 200 KiB; a list of 100,000 addresses has 2 MiB.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Files of one rule set.
const FILES_MAX: usize = 1_000;

/// Directories replaced by their rule files: `*.yaml` and `*.yml` by name, and not those of directories within, as in Falco.
pub(super) fn expand(paths: &[PathBuf], problems: &mut Problems) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let message = match yaml_files(path) {
            Ok(found) if !found.is_empty() => {
                files.extend(found);
                continue;
            }
            Ok(_) => "the directory holds no *.yaml or *.yml file".to_owned(),
            Err(error) => format!("cannot list the directory: {error}"),
        };
        problems.add(Problem::file(Code::FileRead, path, message));
    }
    if let Some(beyond) = files.get(FILES_MAX) {
        let message = format!("{} rule files, at most {FILES_MAX} are read", files.len());
        problems.add(Problem::file(Code::FileRead, beyond, message));
        files.truncate(FILES_MAX);
    }
    files
}

/// A directory's rule files, by name.
pub(crate) fn yaml_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// # Errors
///
/// Why the file cannot be read, in one sentence.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let too_large = || format!("the file is larger than {FILE_BYTES_MAX} bytes");
    let cannot = |error| format!("cannot read the file: {error}");
    let file = File::open(path).map_err(cannot)?;
    if file.metadata().map_err(cannot)?.len() > FILE_BYTES_MAX {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
}

/// # Errors
///
/// Why the bytes are no text, or more than the budget has, in one sentence.
pub(super) fn source(path: &Path, bytes: Vec<u8>, budget: &mut Budget) -> Result<Source, String> {
    budget.take_bytes(bytes.len())?;
    // The parser would take it for the end of the file.
    if let Some(position) = bytes.iter().position(|byte| *byte == 0) {
        return Err(format!("byte {position} of the file is NUL, which YAML does not allow"));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("the file is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))?;
    Ok(Source::new(path, text))
}

/// # Errors
///
/// Why the file cannot be read, in one sentence.
pub(crate) fn read(path: &Path, budget: &mut Budget) -> Result<Source, String> {
    source(path, bytes(path)?, budget)
}
