//! Reading a table page by page, over what does not read.
//!
//! An iterator of the engine is of no use after its first error, and one that lives long keeps removed records on the
//! disk. So every page is a new one.

use std::ops::Bound;

pub(super) type Key = Vec<u8>;
/// Key and stored value.
pub(super) type Record = (Key, Vec<u8>);

/// Records in the order of their keys, from a key on.
pub(super) trait Source: Fn(Bound<Key>) -> Box<dyn Iterator<Item = Result<Record, String>>> {}
impl<F: Fn(Bound<Key>) -> Box<dyn Iterator<Item = Result<Record, String>>>> Source for F {}

const PAGE_RECORDS: usize = 256;
const PAGE_BYTES: usize = 256 * 1024;
/// Gaps of one table beyond which it is read no further: a whole file of it must be broken.
const GAPS_MAX: usize = 1_000;
/// A key's place among all keys: its first bytes, as a number.
const PLACE_BYTES: usize = 16;

#[derive(Default)]
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    /// The page ends where something does not read.
    pub(super) gap: Option<String>,
}

/// Where a table is read on.
pub(super) struct Pages<S> {
    source: S,
    /// `None`: it is at its end.
    from: Option<Bound<Key>>,
    gaps: usize,
}

impl<S: Source> Pages<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, from: Some(Bound::Unbounded), gaps: 0 }
    }

    /// Reads on after a page that was read from another source of the same table.
    pub(super) fn resume(source: S, from: Bound<Key>) -> Self {
        Self { source, from: Some(from), gaps: 0 }
    }

    /// Where the next page begins; `None`: there is none.
    pub(super) fn position(self) -> Option<Bound<Key>> {
        self.from
    }

    fn read(&self, from: Bound<Key>) -> (Page, bool) {
        let (mut page, mut bytes) = (Page::default(), 0);
        for record in (self.source)(from) {
            match record {
                Ok((key, stored)) => {
                    bytes += key.len() + stored.len();
                    page.records.push((key, stored));
                }
                Err(cause) => {
                    page.gap = Some(cause);
                    return (page, false);
                }
            }
            if page.records.len() >= PAGE_RECORDS || bytes >= PAGE_BYTES {
                return (page, false);
            }
        }
        (page, true)
    }

    /// The first place from which it reads again, found by doubling and halving; `None`: nothing reads behind this key.
    fn behind_gap(&self, from: &Bound<Key>) -> Option<Bound<Key>> {
        let start = match from {
            Bound::Included(key) | Bound::Excluded(key) => place(key),
            Bound::Unbounded => 0,
        };
        let reads = |step: u128| start.checked_add(step).map(|place| self.reads(place));
        let mut step = 1;
        while !reads(step)? {
            step = step.checked_mul(2)?;
        }
        let (mut bad, mut good) = (step / 2, step);
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            *(if self.reads(start + middle) { &mut good } else { &mut bad }) = middle;
        }
        Some(Bound::Included((start + good).to_be_bytes().to_vec()))
    }

    fn reads(&self, place: u128) -> bool {
        let key = place.to_be_bytes().to_vec();
        (self.source)(Bound::Included(key)).next().is_none_or(|record| record.is_ok())
    }
}

impl<S: Source> Iterator for Pages<S> {
    type Item = Page;

    fn next(&mut self) -> Option<Page> {
        let from = self.from.take()?;
        let (page, ended) = self.read(from.clone());
        let last = page.records.last().map_or(from, |(key, _)| Bound::Excluded(key.clone()));
        if page.gap.is_some() {
            self.gaps += 1;
            self.from = if self.gaps < GAPS_MAX { self.behind_gap(&last) } else { None };
        } else if !ended {
            self.from = Some(last);
        }
        Some(page)
    }
}

fn place(key: &[u8]) -> u128 {
    let mut bytes = [0; PLACE_BYTES];
    let length = key.len().min(PLACE_BYTES);
    bytes[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 8-byte keys 0..count, of which those in the range do not read.
    fn source(count: u64, broken: std::ops::Range<u64>) -> impl Source {
        move |from: Bound<Key>| -> Box<dyn Iterator<Item = Result<Record, String>>> {
            let broken = broken.clone();
            let keys = (0..count).map(|id| id.to_be_bytes().to_vec()).filter(move |key| match &from {
                Bound::Included(from) => key >= from,
                Bound::Excluded(from) => key > from,
                Bound::Unbounded => true,
            });
            Box::new(keys.map(move |key| {
                let id = u64::from_be_bytes(key.clone().try_into().unwrap());
                if broken.contains(&id) { Err("broken".to_owned()) } else { Ok((key, Vec::new())) }
            }))
        }
    }

    fn ids(pages: impl Iterator<Item = Page>) -> Vec<u64> {
        let records = pages.flat_map(|page| page.records);
        records.map(|(key, _)| u64::from_be_bytes(key.try_into().unwrap())).collect()
    }

    #[test]
    fn pages_hold_every_record_once_and_in_order() {
        for count in [0, 1, 255, 256, 257, 1_000] {
            assert_eq!(ids(Pages::new(source(count, 0..0))), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn exactly_what_does_not_read_is_left_out() {
        for broken in [0..1, 0..7, 5..6, 250..260, 300..600, 999..1_000, 0..1_000] {
            let expected: Vec<u64> = (0..1_000).filter(|id| !broken.contains(id)).collect();
            assert_eq!(ids(Pages::new(source(1_000, broken.clone()))), expected, "{broken:?}");
            assert_eq!(Pages::new(source(1_000, broken)).filter(|page| page.gap.is_some()).count(), 1);
        }
    }
}
