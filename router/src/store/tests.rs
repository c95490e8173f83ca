//! The store on a real disk.

use std::path::Path;

use super::*;

mod damage;
mod kill;
mod space;

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("store"), Options { fsync: false, ..Options::default() }).unwrap()
}

fn key(id: u64) -> [u8; 8] {
    id.to_be_bytes()
}

/// One alert with two deliveries and a window, as a commit has them.
fn group(ids: std::ops::Range<u64>, body: &[u8]) -> Batch {
    let mut batch = Batch::new();
    for id in ids.clone() {
        batch.put(Table::Alerts, &key(id), body.to_vec());
        batch.put(Table::Deliveries, &key(2 * id), b"first".to_vec());
        batch.put(Table::Deliveries, &key(2 * id + 1), b"second".to_vec());
    }
    batch.put(Table::Windows, b"window", ids.end.to_string().into_bytes());
    batch
}

fn removal(ids: std::ops::Range<u64>) -> Batch {
    let mut batch = Batch::new();
    for id in ids {
        batch.remove(Table::Alerts, &key(id));
        batch.remove(Table::Deliveries, &key(2 * id));
        batch.remove(Table::Deliveries, &key(2 * id + 1));
    }
    batch
}

fn ids(store: &Store, table: Table) -> Vec<u64> {
    store.scan(table).map(|record| u64::from_be_bytes(record.unwrap().0.try_into().unwrap())).collect()
}

/// The bytes of `needle` in the files of a folder.
fn find(folder: &Path, needle: &[u8]) -> Vec<(std::path::PathBuf, usize)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find(&path, needle));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let at = bytes.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle);
            found.extend(at.map(|(at, _)| (path.clone(), at)));
        }
    }
    found
}

#[test]
fn what_was_committed_is_there_after_a_restart_in_the_order_of_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for start in [300, 0, 100, 200] {
        store.commit(group(start..start + 100, b"body"), Durability::Synced).unwrap();
    }
    store.commit(removal(50..60), Durability::Written).unwrap();
    let bytes = store.bytes();
    drop(store);

    let store = open(folder.path());
    let expected: Vec<u64> = (0..400).filter(|id| !(50..60).contains(id)).collect();
    assert_eq!(ids(&store, Table::Alerts), expected);
    assert_eq!(ids(&store, Table::Deliveries).len(), 780);
    assert_eq!(store.get(Table::Alerts, &key(7)).unwrap().as_deref(), Some(&b"body"[..]));
    assert_eq!(store.get(Table::Alerts, &key(55)).unwrap(), None);
    assert_eq!(store.get(Table::Windows, b"window").unwrap().as_deref(), Some(&b"300"[..]));
    assert_eq!(store.scan(Table::Dead).count(), 0);
    assert!(store.bytes().abs_diff(bytes) < bytes / 100, "{bytes} as it grew, {} counted anew", store.bytes());
}

#[test]
fn of_several_changes_of_one_record_in_a_batch_the_last_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut batch = Batch::new();
    batch.put(Table::Seen, b"a", b"1".to_vec());
    batch.remove(Table::Seen, b"a");
    batch.put(Table::Seen, b"b", b"1".to_vec());
    batch.put(Table::Seen, b"b", b"22".to_vec());
    batch.remove(Table::Digests, b"b");
    store.commit(batch, Durability::Written).unwrap();
    assert_eq!(store.scan(Table::Seen).map(Result::unwrap).collect::<Vec<_>>(), [(b"b".to_vec(), b"22".to_vec())]);
    drop(store);
    assert_eq!(open(folder.path()).get(Table::Seen, b"b").unwrap().as_deref(), Some(&b"22"[..]));
}

#[test]
fn bytes_follow_what_is_put_replaced_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), Options { fsync: false, bytes_max: 100_000 }).unwrap();
    assert_eq!(store.bytes(), 0);
    let put = |bytes: usize| {
        let mut batch = Batch::new();
        batch.put(Table::Windows, b"key", vec![0; bytes]);
        store.commit(batch, Durability::Written).unwrap();
        store.bytes()
    };
    let small = put(1_000);
    assert_eq!(put(51_000) - small, 50_000);
    assert!((0.5..0.52).contains(&store.fullness()), "{}", store.fullness());
    assert_eq!(put(1_000), small);
    let mut batch = Batch::new();
    batch.remove(Table::Windows, b"key");
    batch.remove(Table::Windows, b"nothing");
    store.commit(batch, Durability::Written).unwrap();
    assert_eq!(store.bytes(), 0);
}

#[test]
fn every_synced_commit_is_one_fsync_and_no_written_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
    for _ in 0..3 {
        store.commit(group(0..1, b"x"), Durability::Synced).unwrap();
        store.commit(group(0..1, b"x"), Durability::Written).unwrap();
    }
    assert_eq!(store.statistics().fsync.unwrap().get_sample_count(), 3);
}

#[test]
fn a_second_store_in_the_same_folder_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let error = Store::open(&folder.path().join("store"), Options::default()).err().unwrap();
    let expected = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    drop(store);
    open(folder.path());
}
