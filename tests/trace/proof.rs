//! From the calls to the promise: before the first byte of a 202 leaves, all of the commit that it speaks of is written to a
//! journal, a sync of that journal that began afterwards has returned, and so has one of each folder on the way to it that
//! got a new entry.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use super::calls::Call;

/// The end of each batch in fjall's journals.
const BATCH_END: &[u8] = b"FJL\x03";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 ";

/// What stands before an alert's id, in requests and in journals.
const ID_KEY: &[u8] = b"\"uuid\":\"";
const ID_BYTES: usize = 36;

/// What was proved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Proved {
    pub(super) answers: usize,
    /// Ids of the alerts that were acknowledged.
    pub(super) alerts: BTreeSet<String>,
    pub(super) journals: BTreeSet<String>,
    /// Folders of which a new entry was synced.
    pub(super) folders: BTreeSet<String>,
    pub(super) failed_syncs: usize,
}

/// Looks at every 202 of a trace. `folder`: what was there before the trace began.
///
/// # Errors
/// The first thing that was acknowledged and not safe.
pub(super) fn prove(calls: &[Call], folder: &str) -> Result<Proved, String> {
    let mut entries = Entries { above: folder.to_owned(), of: BTreeMap::new() };
    let (mut journals, mut asked) = (Vec::<Journal>::new(), BTreeMap::<&str, Vec<u8>>::new());
    let mut proved = Proved::default();
    for call in in_order(calls) {
        entries.take(call);
        match call.name.as_str() {
            "write" if call.target.ends_with(".jnl") || call.target.ends_with(".mended") => {
                match journals.iter_mut().find(|journal| journal.is_of(call)) {
                    Some(journal) => journal.write(call),
                    None => journals.push(Journal::begin(call)),
                }
            }
            "fsync" | "fdatasync" => {
                proved.failed_syncs += usize::from(call.result != 0);
                journals.iter_mut().filter(|journal| journal.is_of(call)).for_each(|journal| journal.sync(call));
            }
            "rename" if call.result == 0 => rename(&mut journals, &call.path(0), &call.path(1)),
            "read" | "recvfrom" => asked.entry(&call.target).or_default().extend_from_slice(call.moved()),
            _ if is_accepted(call) => {
                let body = asked.remove(call.target.as_str()).unwrap_or_default();
                for id in ids(&body) {
                    let journal = safe_in(&journals, &id, call.begin)?;
                    proved.folders.extend(entries.check(journal, call.begin)?);
                    proved.journals.insert(journal.to_owned());
                    proved.alerts.insert(id);
                }
                proved.answers += 1;
            }
            _ => {}
        }
    }
    Ok(proved)
}

/// By the moment that counts: what an answer says is said when it begins, all else is true when it has ended.
fn in_order(calls: &[Call]) -> Vec<&Call> {
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by_key(|call| if is_accepted(call) { call.begin } else { call.end });
    calls
}

fn is_accepted(call: &Call) -> bool {
    let writes = matches!(call.name.as_str(), "write" | "writev" | "sendto" | "sendmsg");
    writes && call.target.starts_with("TCP") && call.texts.iter().any(|text| text.starts_with(ACCEPTED))
}

fn ids(body: &[u8]) -> Vec<String> {
    let keys = body.windows(ID_KEY.len()).enumerate().filter(|(_, window)| *window == ID_KEY);
    let ids = keys.filter_map(|(at, _)| body.get(at + ID_KEY.len()..at + ID_KEY.len() + ID_BYTES));
    ids.map(|id| String::from_utf8_lossy(id).into_owned()).collect()
}

/// The journal with the whole of the batch that this alert is in.
fn safe_in<'a>(journals: &'a [Journal], id: &str, at: usize) -> Result<&'a str, String> {
    // It was written a moment ago.
    let found = journals.iter().rev().find_map(|journal| Some((journal, journal.batch(id)?)));
    match found {
        Some((journal, batch)) if journal.is_safe(&batch) => Ok(&journal.path),
        Some(_) => Err(format!("line {}: alert {id} is acknowledged and its journal is not synced", at + 1)),
        None => Err(format!("line {}: alert {id} is acknowledged and in no journal", at + 1)),
    }
}

/// One that is written anew takes the place of the old one.
fn rename(journals: &mut Vec<Journal>, old: &str, new: &str) {
    if journals.iter().any(|journal| journal.path == old) {
        journals.retain(|journal| journal.path != new);
    }
    journals.iter_mut().filter(|journal| journal.path == old).for_each(|journal| new.clone_into(&mut journal.path));
}

struct Journal {
    path: String,
    bytes: Vec<u8>,
    /// After each write: the line at which it ended, and the length by then.
    writes: Vec<(usize, usize)>,
    /// So many bytes are on the disk, but for those of syncs that failed: the kernel takes them for written afterwards.
    synced: usize,
    lost: Vec<Range<usize>>,
}

impl Journal {
    fn begin(call: &Call) -> Self {
        let mut journal =
            Self { path: call.target.clone(), bytes: Vec::new(), writes: Vec::new(), synced: 0, lost: Vec::new() };
        journal.write(call);
        journal
    }

    fn is_of(&self, call: &Call) -> bool {
        self.path == call.target
    }

    fn write(&mut self, call: &Call) {
        self.bytes.extend_from_slice(call.moved());
        self.writes.push((call.end, self.bytes.len()));
    }

    /// A sync is about what was written when it began.
    fn sync(&mut self, call: &Call) {
        let written = self.writes.iter().rev().find(|(end, _)| *end < call.begin).map_or(0, |(_, length)| *length);
        if call.result != 0 {
            self.lost.push(self.synced..self.bytes.len());
        }
        self.synced = self.synced.max(written);
    }

    /// Where the batch is that has this alert, from its id; `None`: it is not there, or not as a whole.
    fn batch(&self, id: &str) -> Option<Range<usize>> {
        let key = [ID_KEY, id.as_bytes()].concat();
        let start = self.bytes.windows(key.len()).rposition(|window| window == key)?;
        let end = self.bytes[start..].windows(BATCH_END.len()).position(|window| window == BATCH_END)?;
        Some(start..start + end + BATCH_END.len())
    }

    fn is_safe(&self, batch: &Range<usize>) -> bool {
        batch.end <= self.synced && self.lost.iter().all(|lost| lost.end <= batch.start || batch.end <= lost.start)
    }
}

/// New names in folders, with the line from which each was on the disk.
struct Entries {
    above: String,
    of: BTreeMap<String, Entry>,
}

struct Entry {
    made: usize,
    synced: Option<usize>,
}

impl Entries {
    fn take(&mut self, call: &Call) {
        match call.name.as_str() {
            "mkdir" if call.result == 0 => self.add(call.path(0), call.end),
            "openat" if call.result >= 0 && call.arguments.contains("O_CREAT") => self.add(call.path(0), call.end),
            "rename" if call.result == 0 => self.rename(&call.path(0), &call.path(1), call.end),
            "fsync" | "fdatasync" if call.result == 0 => self.sync(call),
            _ => {}
        }
    }

    fn add(&mut self, path: String, made: usize) {
        self.of.entry(path).or_insert(Entry { made, synced: None });
    }

    fn rename(&mut self, old: &str, new: &str, made: usize) {
        let moved: Vec<_> = self.of.keys().filter(|path| Path::new(path).starts_with(old)).cloned().collect();
        for path in moved {
            if let Some(entry) = self.of.remove(&path) {
                self.of.insert(path.replacen(old, new, 1), entry);
            }
        }
        self.of.insert(new.to_owned(), Entry { made, synced: None });
    }

    fn sync(&mut self, call: &Call) {
        let own = self.of.iter_mut().filter(|(path, _)| parent(path) == call.target);
        for (_, entry) in own.filter(|(_, entry)| entry.made < call.begin) {
            entry.synced.get_or_insert(call.end);
        }
    }

    /// The folders on the way to this file whose new entries are safe.
    fn check(&self, file: &str, at: usize) -> Result<BTreeSet<String>, String> {
        let mut folders = BTreeSet::new();
        for path in Path::new(file).ancestors().filter_map(Path::to_str).take_while(|path| *path != self.above) {
            let Some(entry) = self.of.get(path) else { continue };
            if entry.synced.is_none() {
                return Err(format!("line {}: {path} is new, needed for a 202, and its folder is not synced", at + 1));
            }
            folders.insert(parent(path).to_owned());
        }
        Ok(folders)
    }
}

fn parent(path: &str) -> &str {
    Path::new(path).parent().and_then(Path::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a4c1b8-0000-7000-8000-000000000001";
    const JOURNAL: &str = "/state/store/0.jnl";
    const SOCKET: &str = "TCP:[127.0.0.1:1->127.0.0.1:2]";

    /// As the text of a call: it fails.
    const FAILS: &[u8] = b"fails";

    /// A trace of calls that each end before the next one begins.
    fn proved(steps: &[(&str, &str, &[u8])]) -> Result<Proved, String> {
        let calls = steps.iter().enumerate().map(|(number, (name, target, text))| Call {
            name: (*name).to_owned(),
            target: (*target).to_owned(),
            texts: vec![
                text.to_vec(),
                if text.ends_with(b".mended") { JOURNAL.into() } else { b"/state/store".to_vec() },
            ],
            arguments: "O_CREAT".to_owned(),
            result: match *name {
                "write" | "recvfrom" => text.len().try_into().unwrap(),
                "fdatasync" if *text == FAILS => -1,
                _ => 0,
            },
            begin: 2 * number,
            end: 2 * number + 1,
        });
        prove(&calls.collect::<Vec<_>>(), "/state")
    }

    #[test]
    fn an_answer_is_proved_only_after_batch_sync_and_folder() {
        let body = [ID_KEY, ID.as_bytes(), b"\""].concat();
        let batch = [&body[..], BATCH_END].concat();
        let journal = JOURNAL;
        let all: [(&str, &str, &[u8]); 8] = [
            ("mkdir", "", b"/state/new"),
            ("openat", "", b"/state/new/0.jnl"),
            ("fsync", "/state/new", b""),
            ("rename", "", b"/state/new"),
            ("fsync", "/state", b""),
            ("recvfrom", SOCKET, &body),
            ("write", journal, &batch),
            ("fdatasync", journal, b""),
        ];
        let answer: (&str, &str, &[u8]) = ("sendto", SOCKET, b"HTTP/1.1 202 Accepted");
        let good = proved(&[&all[..], &[answer]].concat()).unwrap();
        assert_eq!((good.answers, good.alerts.len(), good.folders.len()), (1, 1, 2), "{good:?}");
        for (missing, fault) in
            [(2, "0.jnl is new"), (4, "/state/store is new"), (6, "in no journal"), (7, "not synced")]
        {
            let mut steps = all.to_vec();
            steps.remove(missing);
            steps.push(answer);
            let error = proved(&steps).unwrap_err();
            assert!(error.contains(fault), "without step {missing}: {error}");
        }
        let mut early = all.to_vec();
        early.insert(7, answer);
        assert!(proved(&early).unwrap_err().contains("not synced"));
        let mut torn = all.to_vec();
        torn[6].2 = &body;
        torn.push(answer);
        assert!(proved(&torn).unwrap_err().contains("in no journal"));
        let mut failed = all.to_vec();
        failed.insert(7, ("fdatasync", journal, FAILS));
        let again = [&failed[..], &[answer]].concat();
        assert!(proved(&again).unwrap_err().contains("not synced"), "the second sync says nothing about those bytes");
        let anew: [(&str, &str, &[u8]); 4] = [
            ("write", "/state/store/0.mended", &batch),
            ("fsync", "/state/store/0.mended", b""),
            ("rename", "", b"/state/store/0.mended"),
            ("fsync", "/state/store", b""),
        ];
        let mended = [&failed[..], &anew[..], &[answer]].concat();
        assert_eq!(proved(&mended).map(|proved| proved.answers), Ok(1));
    }
}
