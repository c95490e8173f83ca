//! Looking through an archive: its file and the older ones that rotation left. Reads files, so it blocks.

use std::collections::{HashSet, VecDeque};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use prometheus::IntCounter;
use tercel_alert::Alert;

use crate::condition::Condition;
use crate::rotate::{KEEP_MAX, compressed, older};

/// Alerts that one search gives.
pub(crate) const FOUND_MAX: usize = 1_000;

/// Bytes of one file's alerts, beyond which only the newest are given.
const FOUND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A longer line is none of an archive.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Which alerts are looked for: those that all of these want.
pub(crate) struct Wanted {
    pub(crate) when: Option<Condition>,
    /// From this time of the alert on.
    pub(crate) since: Option<Timestamp>,
    /// Before this time.
    pub(crate) until: Option<Timestamp>,
    /// So many, the newest.
    pub(crate) count: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// As they stand in the archive, in the order of their arrival.
    pub(crate) lines: VecDeque<String>,
    bytes: usize,
    /// There may be older ones.
    pub(crate) is_cut: bool,
    /// Lines that are no alerts.
    pub(crate) senseless: u64,
}

/// Seconds by which the clocks of senders are ahead at most, for a search that leaves whole files out.
const CLOCKS_APART_MAX: i64 = 24 * 60 * 60;

/// Searches the file `archive` and its older ones, from the newest on. An archive that is not there is empty.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn search(archive: &Path, wanted: &Wanted, mismatches: &IntCounter) -> io::Result<Found> {
    let (mut found, mut seen) = (Found::default(), HashSet::new());
    for number in 0..=KEEP_MAX {
        let Part { input, metadata, bytes } = match open(archive, number) {
            Ok(file) => file,
            // After a rotation the file itself comes with the next alert.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        // What was written last long before that time has no alert of a later one, nor have the files before it.
        if wanted.since.is_some_and(|since| metadata.mtime() + CLOCKS_APART_MAX < since.as_second()) {
            break;
        }
        // A rotation in the meantime gives a file that was read another name, and compression another inode.
        let is_known = !seen.insert(Seen::Inode(metadata.dev(), metadata.ino()));
        if !seen.insert(Seen::Content(metadata.mtime(), metadata.mtime_nsec(), bytes)) || is_known {
            continue;
        }
        if found.lines.len() >= wanted.count || found.bytes >= FOUND_BYTES_MAX {
            found.is_cut = true;
            break;
        }
        let count = wanted.count - found.lines.len();
        found.put_before(read(input, wanted, count, mismatches)?);
    }
    Ok(found)
}

/// One file of an archive.
struct Part {
    input: Box<dyn Read>,
    metadata: Metadata,
    /// Of its lines; modulo 2^32.
    bytes: u32,
}

/// By what a file is known again.
#[derive(PartialEq, Eq, Hash)]
enum Seen {
    Inode(u64, u64),
    /// The time of its last change, which compression keeps, and how many bytes its lines have.
    Content(i64, i64, u32),
}

/// The file that was the archive so many rotations ago, in whichever form it is.
fn open(archive: &Path, number: u32) -> io::Result<Part> {
    let plain = older(archive, number);
    let file = match File::open(&plain) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && number > 0 => {
            return open_compressed(&compressed(&plain));
        }
        other => other?,
    };
    let metadata = file.metadata()?;
    let bytes = u32::try_from(metadata.len() & u64::from(u32::MAX)).unwrap_or_default();
    Ok(Part { input: Box::new(file), metadata, bytes })
}

fn open_compressed(path: &Path) -> io::Result<Part> {
    let mut file = File::open(path)?;
    // Its last four bytes (RFC 1952).
    let mut bytes = [0; 4];
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut bytes)?;
    file.rewind()?;
    let (metadata, bytes) = (file.metadata()?, u32::from_le_bytes(bytes));
    Ok(Part { input: Box::new(MultiGzDecoder::new(BufReader::new(file))), metadata, bytes })
}

/// What is wanted of one file, the newest `count` of it.
fn read(file: Box<dyn Read>, wanted: &Wanted, count: usize, mismatches: &IntCounter) -> io::Result<Found> {
    let (mut input, mut line, mut found) = (BufReader::new(file), Vec::new(), Found::default());
    loop {
        line.clear();
        if (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        let Ok(alert) = serde_json::from_slice::<Alert>(&line) else {
            found.senseless += 1;
            continue;
        };
        if wanted.wants(&alert, mismatches) {
            found.push(String::from_utf8_lossy(&line).trim_end().to_owned(), count);
        }
    }
}

impl Wanted {
    fn wants(&self, alert: &Alert, mismatches: &IntCounter) -> bool {
        self.since.is_none_or(|since| alert.time >= since)
            && self.until.is_none_or(|until| alert.time < until)
            && self.when.as_ref().is_none_or(|when| when.matches(alert, mismatches))
    }
}

impl Found {
    fn push(&mut self, line: String, count: usize) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > count || (self.bytes > FOUND_BYTES_MAX && self.lines.len() > 1) {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
            self.is_cut = true;
        }
    }

    fn put_before(&mut self, mut older: Self) {
        older.lines.append(&mut self.lines);
        self.lines = older.lines;
        self.bytes += older.bytes;
        self.is_cut |= older.is_cut;
        self.senseless += older.senseless;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(hour: usize) -> String {
        format!("{{\"time\":\"2026-01-01T{hour:02}:00:00Z\",\"rule\":\"r{hour}\",\"priority\":\"error\"}}\n")
    }

    /// Three files of two alerts each; the oldest ends with half a line.
    fn archive() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.ndjson");
        std::fs::write(older(&archive, 2), line(0) + &line(1) + "{\"half").unwrap();
        std::fs::write(older(&archive, 1), line(2) + &line(3)).unwrap();
        std::fs::write(&archive, line(4) + &line(5)).unwrap();
        // A file system tells only some hundred moments a second apart.
        for number in 0..3 {
            let time = std::time::SystemTime::now() - std::time::Duration::from_secs(number.into());
            let file = File::options().append(true).open(older(&archive, number)).unwrap();
            file.set_times(std::fs::FileTimes::new().set_modified(time)).unwrap();
        }
        (folder, archive)
    }

    fn wanted(when: &str, count: usize) -> Wanted {
        let when = Some(when).filter(|when| !when.is_empty()).map(|when| Condition::parse(when).unwrap());
        Wanted { when, since: None, until: None, count }
    }

    #[track_caller]
    fn check(archive: &Path, wanted: &Wanted, hours: &[usize], is_cut: bool) -> Found {
        let found = search(archive, wanted, &IntCounter::new("m", "m").unwrap()).unwrap();
        let expected: Vec<_> = hours.iter().map(|hour| line(*hour).trim_end().to_owned()).collect();
        assert_eq!((&Vec::from(found.lines.clone()), found.is_cut), (&expected, is_cut));
        found
    }

    #[test]
    fn all_files_are_searched_and_what_is_no_alert_is_counted() {
        let (_folder, archive) = archive();
        assert_eq!(check(&archive, &wanted("", 10), &[0, 1, 2, 3, 4, 5], false).senseless, 1);
        check(&archive, &wanted("rule in (r1, r4)", 10), &[1, 4], false);
    }

    #[test]
    fn compressed_files_are_searched_as_well() {
        let (_folder, archive) = archive();
        for number in [1, 2] {
            let plain = older(&archive, number);
            let (text, modified) = (std::fs::read(&plain).unwrap(), plain.metadata().unwrap().modified().unwrap());
            let file = File::create(compressed(&plain)).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            std::io::Write::write_all(&mut encoder, &text).unwrap();
            encoder.finish().unwrap().set_times(std::fs::FileTimes::new().set_modified(modified)).unwrap();
            if number == 2 {
                // One that was just compressed is there in both forms for a moment.
                std::fs::remove_file(plain).unwrap();
            }
        }
        check(&archive, &wanted("", 10), &[0, 1, 2, 3, 4, 5], false);
    }

    #[test]
    fn the_newest_are_given_where_there_are_too_many() {
        let (_folder, archive) = archive();
        check(&archive, &wanted("", 3), &[3, 4, 5], true);
        check(&archive, &wanted("", 2), &[4, 5], true);
        check(&archive, &wanted("", 6), &[0, 1, 2, 3, 4, 5], false);
    }

    #[test]
    fn a_time_range_is_from_since_to_before_until() {
        let (_folder, archive) = archive();
        let time = |hour: &str| Some(format!("2026-01-01T{hour}:00:00Z").parse().unwrap());
        check(&archive, &Wanted { since: time("01"), until: time("04"), ..wanted("", 10) }, &[1, 2, 3], false);
        let later = Some(Timestamp::now() + jiff::SignedDuration::from_hours(1));
        check(&archive, &Wanted { since: later, ..wanted("", 10) }, &[], false);
    }

    #[test]
    fn an_archive_that_was_just_rotated_or_is_not_there_yet_is_no_failure() {
        let (_folder, archive) = archive();
        std::fs::remove_file(&archive).unwrap();
        check(&archive, &wanted("", 10), &[0, 1, 2, 3], false);
        check(Path::new("/nowhere/a.ndjson"), &wanted("", 10), &[], false);
    }
}
