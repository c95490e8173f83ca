//! Looking through an archive: its file and the older ones that rotation left. Reads files, so it blocks.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use prometheus::IntCounter;
use tercel_alert::Alert;

use crate::condition::Condition;
use crate::rotate::{KEEP_MAX, older};

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

/// Searches the file `archive` and its older ones, from the newest on. An archive that is not there is empty.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn search(archive: &Path, wanted: &Wanted, mismatches: &IntCounter) -> io::Result<Found> {
    let (mut found, mut seen) = (Found::default(), HashSet::new());
    for number in 0..=KEEP_MAX {
        let file = match File::open(older(archive, number)) {
            Ok(file) => file,
            // After a rotation the file itself comes with the next alert.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        // What was written last before that time has no alert of a later one, nor have the files before it.
        if wanted.since.is_some_and(|since| metadata.mtime() < since.as_second()) {
            break;
        }
        // A rotation in the meantime gives a file that was read another name.
        if !seen.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        if found.lines.len() >= wanted.count || found.bytes >= FOUND_BYTES_MAX {
            found.is_cut = true;
            break;
        }
        let count = wanted.count - found.lines.len();
        found.put_before(read(file, wanted, count, mismatches)?);
    }
    Ok(found)
}

/// What is wanted of one file, the newest `count` of it.
fn read(file: File, wanted: &Wanted, count: usize, mismatches: &IntCounter) -> io::Result<Found> {
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
