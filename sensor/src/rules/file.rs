//! Paths → bytes → text.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::place::Source;
use super::problem::{Code, Problem, Problems};
use super::yaml::Budget;

/// Bytes of one rule file. Upstream's largest is below 200 KiB; a list of 100,000 addresses has 2 MiB.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long a pipe, or a terminal, may take to be written.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);

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
    let bytes = if metadata.is_file() {
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map(|_| bytes)
    } else {
        read_stream(&file, STREAM_TIMEOUT)
    };
    let bytes = bytes.map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
}

/// Waits for what is written, but not for ever: `<(…)` of a shell is such a file, and one that nobody writes to.
fn read_stream(file: &File, timeout: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + timeout;
    let mut stream = file.take(FILE_BYTES_MAX + 1);
    let mut bytes = Vec::new();
    while wait(file, deadline)? {
        // Keeps what it read before there is nothing more for now.
        match stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result.map(|_| bytes),
        }
    }
    let message = format!("nobody writes it to its end within {timeout:?}");
    Err(io::Error::new(io::ErrorKind::TimedOut, message))
}

/// Whether there is something to read, or the end, before it is too late.
fn wait(file: &File, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            result => return Ok(result? > 0),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::OwnedFd;

    use super::*;

    /// What is read of a pipe whose writer does this, within a time that is short where nobody writes.
    fn read_pipe(timeout: Duration, write: impl FnOnce(File) + Send + 'static) -> io::Result<Vec<u8>> {
        let (reader, writer) = io::pipe()?;
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        let writing = std::thread::spawn(move || write(OwnedFd::from(writer).into()));
        let result = read_stream(&OwnedFd::from(reader).into(), timeout);
        writing.join().unwrap();
        result
    }

    #[test]
    fn a_pipe_is_read_to_its_end_however_slowly_it_is_written() {
        let long = Duration::from_mins(1);
        let parts = |mut pipe: File| {
            for part in ["- list: l", "\n", "  items: []\n"] {
                pipe.write_all(part.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        assert_eq!(read_pipe(long, parts).unwrap(), b"- list: l\n  items: []\n");
        assert_eq!(read_pipe(long, drop).unwrap(), b"");
    }

    #[test]
    fn a_pipe_that_nobody_writes_or_closes_is_given_up() {
        let silent = |_: File| std::thread::sleep(Duration::from_millis(300));
        let error = read_pipe(Duration::from_millis(50), silent).unwrap_err();
        assert_eq!(error.to_string(), "nobody writes it to its end within 50ms");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        let error = read_stream(&file.into(), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
