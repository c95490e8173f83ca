//! Paths → bytes → text.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::place::Source;
use super::problem::{Code, Problem, Problems};
use super::yaml::Budget;

/// Bytes of one rule file. Upstream's largest is below 200 KiB; a list of 100,000 addresses has 2 MiB.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long a pipe may take to be written.
const PIPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks at a pipe that has nothing to read.
const PIPE_PAUSE: Duration = Duration::from_millis(10);

const PIPE_CHUNK_BYTES: usize = 64 * 1024;

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
        // A link to nothing is no file, and is told when it is read.
        let is_file = fs::metadata(&file).map_or(true, |metadata| metadata.is_file());
        if is_yaml && is_file {
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
    // A pipe without a writer would keep us for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| cannot(error.into()))?;
    let file = File::from(descriptor);
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    if metadata.file_type().is_fifo() {
        read_pipe(&file, &mut bytes).map_err(cannot)?;
    } else {
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
}

/// Waits for what is written, but not for ever: `<(…)` of a shell is such a file, and one that nobody writes to.
fn read_pipe(mut pipe: &File, bytes: &mut Vec<u8>) -> io::Result<()> {
    let deadline = Instant::now() + PIPE_TIMEOUT;
    let mut chunk = vec![0; PIPE_CHUNK_BYTES];
    while bytes.len() as u64 <= FILE_BYTES_MAX {
        match pipe.read(&mut chunk) {
            // Before a writer opens it, a pipe is at its end too.
            Ok(0) if !bytes.is_empty() => return Ok(()),
            Ok(0) => thread::sleep(PIPE_PAUSE),
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PIPE_PAUSE),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if Instant::now() > deadline {
            let message = format!("it is a pipe that nobody has written to its end within {PIPE_TIMEOUT:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
    }
    Ok(())
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
